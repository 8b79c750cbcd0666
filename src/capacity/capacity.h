/* SPDX-License-Identifier: BSD-3-Clause */
/* The heart: which memory is offered, accepted, draining; by which device; under which tag. */
#ifndef CAPACITY_CAPACITY_H
#define CAPACITY_CAPACITY_H

/*
 * Design. One Capacity is a pool: backends, their tags, and the dynamic capacity of the pool's
 * devices (DcDevice). It knows no registers, sockets or JSON. All calls come from one thread.
 * What has to happen elsewhere goes out through CapacityOps and DcDeviceOps; each such request
 * carries a number and is answered exactly once by the matching *_done() call, at once (from inside
 * the request) or later. Time comes in through now_us() and capacity_tick(), so tests own the
 * clock.
 *
 * Two kinds of failure: operators get a GError (CAPACITY_ERROR), a host gets an enum cxl_rc.
 */

#include "capacity/backend.h"
#include "capacity/rows.h"
#include "cxl/cci.h"

typedef struct Capacity Capacity;
typedef struct DcDevice DcDevice;

#define CAPACITY_ERROR (capacity_error_quark())
GQuark capacity_error_quark(void);
typedef enum CapacityError {
	CAPACITY_ERROR_INVALID,   /* the request is malformed: alignment, bounds, order, overflow */
	CAPACITY_ERROR_NOT_FOUND, /* no such tag, backend, offer, extent */
	CAPACITY_ERROR_BUSY,      /* in use, reserved, draining, quarantined */
	CAPACITY_ERROR_LIMIT,     /* a limit would be passed: extents, offers, log records, chain */
	CAPACITY_ERROR_FAILED,    /* the system refused (memory, file) */
} CapacityError;

#define DC_MAX_REGIONS  8
#define DC_REGION_ALIGN (UINT64_C(256) << 20) /* base and length of a region, bytes */

typedef struct DcRegionConfig {
	uint64_t len;        /* bytes, multiple of 256 MiB */
	uint64_t block_size; /* bytes, power of two, >= 4 KiB, divides len; default 2 MiB */
	bool sharable;
	bool read_only;
	bool sanitize_on_release;
	bool non_volatile;
} DcRegionConfig;

typedef struct DcRegion {
	DcRegionConfig config;
	uint64_t base; /* DPA */
} DcRegion;

typedef struct DcDeviceConfig {
	const char *name;
	uint64_t static_len; /* bytes of ram + pmem before region 0; multiple of 256 MiB */
	const DcRegionConfig *regions;
	unsigned n_regions; /* 0..8 */
	/* 0 = default */
	uint32_t max_extents;      /* 65536 */
	uint32_t max_offers;       /* 1024 */
	uint32_t max_chain;        /* 100: Linux drops longer ones */
	uint32_t chains_in_flight; /* 1 */
	bool hold_off; /* deliver without waiting for events enabled + 4801h read + 1 s */
	/* The pool layer's own settings, kept with the device's row; copied; NULL = none */
	const char *pool_config;
} DcDeviceConfig;

/* A range of DPA as a host names it in 4802h and 4803h; untrusted. */
typedef struct DcRange {
	uint64_t dpa;
	uint64_t len;
} DcRange;

/* One direct mapping the host side is asked to make ready. A map keeps its id for life; parts may
 * be revoked one by one. Ids are never used twice. */
typedef struct DcMap {
	uint64_t id;
	uint64_t dpa;
	uint64_t len;
	uint64_t offset; /* into file */
	uint64_t incarnation;
	MemFile *file; /* borrowed for the length of the call; the callee opens it for the host */
	bool writable;
} DcMap;

typedef struct DcMapPart {
	uint64_t map_id;
	uint64_t dpa;
	uint64_t len;
} DcMapPart;

typedef enum DcEventType {
	DC_EVENT_ADD = 0,
	DC_EVENT_RELEASE = 1,
	DC_EVENT_FORCED_RELEASE = 2,
	DC_EVENT_CONFIG_UPDATED = 3,
} DcEventType;

/* One record for the host's Dynamic Capacity event log. */
typedef struct DcEvent {
	uint64_t cookie; /* same for all records of one chain or release request */
	DcEventType type;
	uint8_t region;
	bool more;
	uint64_t dpa;
	uint64_t len;
	Uuid tag;
	uint16_t shared_seq;
	uint32_t available_extents;
	uint32_t available_tags;
} DcEvent;

/* Where a DcDevice's effects go. All functions are required unless said otherwise. */
typedef struct DcDeviceOps {
	/*
	 * The host side of the memory. Each call is answered once by dc_device_effect_done(dev,
	 * req, ok), possibly before it returns. prepare: nothing may become reachable; false = none
	 * of the maps is held by the host's window (those made ready are to be dropped, the core
	 * says so). expose: all reachable, or false. revoke and drop: true only when the host
	 * confirmed that it can no longer reach the ranges; they are never answered false: a host
	 * that does not confirm leaves them open until dc_device_host_gone().
	 */
	void (*prepare)(void *opaque, uint64_t req, const DcMap *maps, size_t n);
	void (*expose)(void *opaque, uint64_t req, const uint64_t *map_ids, size_t n);
	void (*revoke)(void *opaque, uint64_t req, const DcMapPart *parts, size_t n);
	void (*drop)(void *opaque, uint64_t req, const uint64_t *map_ids, size_t n);

	/* The DC event log. Room is reserved first (false: does not fit), used up by post. */
	bool (*log_reserve)(void *opaque, uint32_t n);
	void (*log_unreserve)(void *opaque, uint32_t n);
	void (*log_post)(void *opaque, const DcEvent *event);
	/* Takes the not yet read records with this cookie out of the log again. */
	void (*log_withdraw)(void *opaque, uint64_t cookie);
	/* What dc_device_owes_static() says may have changed. May be NULL. */
	void (*static_mapped)(void *opaque);
} DcDeviceOps;

typedef enum CapacityNoticeType {
	NOTICE_OFFERED,   /* placed, reserved, and so recorded */
	NOTICE_DELIVERED, /* its records are in the event log */
	NOTICE_ACCEPTED,
	NOTICE_DECLINED,
	NOTICE_WITHDRAWN,
	NOTICE_RELEASE_REQUESTED,
	NOTICE_RELEASED, /* left the extent list; draining */
	NOTICE_FREED,    /* revoked and wiped (or kept): available again */
	NOTICE_QUARANTINED,
	NOTICE_FORCED,
	NOTICE_OFFER_FAILED,  /* the journal could not keep the offer: it is gone again */
	NOTICE_CONTENTS_LOST, /* of a backend, or (OFFER set) of an untagged offer, at a restart */
	NOTICE_N_TYPES
} CapacityNoticeType;

typedef struct CapacityNotice {
	CapacityNoticeType type;
	DcDevice *device; /* may be NULL */
	Backend *backend; /* may be NULL */
	uint64_t offer;   /* 0 = none */
	uint64_t dpa;
	uint64_t len;
	Uuid tag;
} CapacityNotice;

/*
 * A wipe to run where blocking is allowed: wipe_job_run() there, then wipe_job_finish() on the
 * core's thread, once. The job owns references to what it touches. A job finished without having
 * run counts as failed: its memory stays quarantined.
 */
typedef struct WipeJob WipeJob;
void wipe_job_run(WipeJob *job);    /* any thread, blocks */
void wipe_job_finish(WipeJob *job); /* core's thread; frees the job */

/* What a job that has run has done. */
typedef struct WipeInfo {
	const Backend *backend; /* NULL: memory of an untagged offer, */
	uint64_t offer;         /* which is this one; else 0 */
	uint64_t len;           /* bytes to be wiped */
	int result;             /* 0 or -errno */
} WipeInfo;
/* Core's thread, before wipe_job_finish(). False: the pool has been given up. */
bool wipe_job_describe(const WipeJob *job, WipeInfo *ret);

/* Broken on purpose, so that tests can prove they would notice (softdcd demo --self-test). */
typedef enum CapacityFault {
	CAPACITY_FAULT_WIPE_SKIPPED = 1 << 0,   /* wipe_job_run() touches nothing and says it did */
	CAPACITY_FAULT_WIPE_FAILS = 1 << 1,     /* wipe_job_run() touches nothing and fails */
	CAPACITY_FAULT_REVOKE_SKIPPED = 1 << 2, /* revoke is not sent and counts as confirmed */
} CapacityFault;

typedef struct CapacityOps {
	uint64_t (*now_us)(void *opaque);         /* monotonic */
	void (*wipe)(void *opaque, WipeJob *job); /* NULL: run and finish at once */
	/* Make durable, then capacity_journal_done(cap, req, ok); rows.h says what is owed. Records
	 * come in order. Take a reference to keep one. NULL: nothing is kept. */
	void (*journal)(void *opaque, uint64_t req, RowRecord *record);
	uint64_t (*wall_us)(void *opaque); /* since 1970, UTC; for rows. NULL: now_us */
	void (*notify)(void *opaque, const CapacityNotice *notice); /* may be NULL */
	/* capacity_next_deadline_us() became earlier; may be NULL */
	void (*deadline_changed)(void *opaque);
	unsigned faults; /* CapacityFault bits; 0 */
} CapacityOps;

Capacity *capacity_new(const CapacityOps *ops, void *opaque);
/*
 * Works in any state, as a kill would: nothing is wiped, released, told or journaled. Backends and
 * devices still in it are freed; static partitions stay the caller's. Wipe jobs that are out may
 * still be finished: they touch the core no more.
 */
void capacity_free(Capacity *cap);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Capacity, capacity_free)

/* Runs what is due: response deadlines, hold, re-issue of release requests. */
void capacity_tick(Capacity *cap);
/* Absolute, same clock as now_us(); UINT64_MAX = nothing due. */
uint64_t capacity_next_deadline_us(const Capacity *cap);
void capacity_journal_done(Capacity *cap, uint64_t req, bool ok);
void capacity_counters(const Capacity *cap, CapacityCounters *ret); /* bytes of all backends */

/* ---- backends ---- */
/* Takes ownership on success. Refuses a name or tag already there. */
bool capacity_add_backend(Capacity *cap, Backend *backend, GError **error);
/* Gives ownership back; refused (BUSY) unless all of it is free. */
Backend *capacity_remove_backend(Capacity *cap, const char *name, GError **error);
Backend *capacity_peek_backend(const Capacity *cap, const char *name);
Backend *capacity_peek_backend_by_tag(const Capacity *cap, const Uuid *tag);
/* Operator's word that quarantined memory may be used again. */
bool capacity_reclaim_backend(Capacity *cap, const char *name, GError **error);
void capacity_foreach_backend(Capacity *cap, void (*func)(Backend *, void *), void *opaque);

/* ---- devices ---- */
DcDevice *capacity_add_device(Capacity *cap, const DcDeviceConfig *config, const DcDeviceOps *ops,
			      void *opaque, GError **error);
/* Refused (BUSY) while it has accepted or draining extents; withdraws its offers. */
bool capacity_remove_device(Capacity *cap, DcDevice *dev, GError **error);
const char *dc_device_name(const DcDevice *dev);
unsigned dc_device_n_regions(const DcDevice *dev);
const DcRegion *dc_device_region(const DcDevice *dev, unsigned index);
uint64_t dc_device_static_len(const DcDevice *dev);
void dc_device_counters(const DcDevice *dev, CapacityCounters *ret);
void dc_device_effect_done(DcDevice *dev, uint64_t req, bool ok);

/* ---- the host at the other end ---- */
typedef struct DcHost {
	uint64_t serial;   /* never reused within a pool; 0 = none */
	bool control_only; /* has no memory link: nothing to map, revocation is trivially confirmed
			    */
	bool same_uid;     /* runs under the pool's own uid */
	bool new_session; /* of a process that may have had others before: static ram begins anew */
	uint32_t max_maps; /* what it can hold at once; UINT32_MAX = no limit of its own */
	/* The process, only for the ledger: how a restart finds it again */
	int64_t pid;
	uint64_t start_time; /* clock ticks since boot */
	uint32_t uid;
} DcHost;

/* What a resuming host says it still holds. */
typedef struct DcHeldMap {
	uint64_t map_id;
	uint64_t dpa;
	uint64_t len;
	uint64_t incarnation;
} DcHeldMap;

/*
 * A host attaches. HELD is what it kept from before (same session; empty for a new one): parts the
 * core does not know as accepted are revoked, accepted extents and static partitions it does not
 * hold are prepared and exposed. A serial equal to the detached host's means the same process.
 */
void dc_device_attach_host(DcDevice *dev, const DcHost *host, const DcHeldMap *held, size_t n_held);
/* Its link or connection is gone, it may still hold its mappings: open revokes stay open, accepted
 * extents stay accepted, undelivered offers wait for the next host's 4801h. */
void dc_device_detach_host(DcDevice *dev);
/*
 * Whether the host, which maps memory, does not yet reach a static partition in this range: they
 * are mapped some time after it has attached.
 */
bool dc_device_owes_static(const DcDevice *dev, uint64_t dpa, uint64_t len);
/* The host process with this serial has provably ended: all its open revokes and drops count as
 * confirmed, what was quarantined because of it is freed. */
void capacity_host_gone(Capacity *cap, uint64_t serial);
/* What 0103h says about the DC log, and a 4801h read to its end: both feed the delivery hold. */
void dc_device_set_events_enabled(DcDevice *dev, bool enabled);
void dc_device_list_was_read(DcDevice *dev);
/* The event log: a record was first returned by 0100h; cleared by 0101h. */
void dc_device_record_read(DcDevice *dev, uint64_t cookie);
void dc_device_record_cleared(DcDevice *dev, uint64_t cookie);

/*
 * FLR: command in flight rolled back (its done() gets CXL_RC_ABORTED), collected parts dropped.
 * Conventional: also unanswered offers are re-queued until the next 4801h, and the DPA quarantine
 * of forced releases ends. The host keeps its maps: nothing is reachable through them until the
 * HDM decoders, which this reset clears, are committed again. Forget: also everything accepted is
 * force-released and offers are withdrawn.
 */
typedef enum DcReset {
	DC_RESET_FLR,
	DC_RESET_CONVENTIONAL,
	DC_RESET_FORGET
} DcReset;
void dc_device_reset(DcDevice *dev, DcReset kind);

typedef void (*DcResponseDone)(void *opaque, enum cxl_rc rc);
/*
 * 4802h and 4803h. MORE set: parts are collected and acted on with the last one. DONE is called
 * exactly once per call, maybe before it returns, at the latest 1 s later.
 */
void dc_device_add_response(DcDevice *dev, const DcRange *ranges, size_t n, bool more,
			    DcResponseDone done, void *opaque);
void dc_device_release_response(DcDevice *dev, const DcRange *ranges, size_t n, bool more,
				DcResponseDone done, void *opaque);

/* ---- extents: what 4800h and 4801h and queries read ---- */
typedef struct DcExtent {
	uint64_t dpa;
	uint64_t len;
	Uuid tag;
	uint16_t shared_seq; /* as on the wire: 0 unless the region is sharable */
	uint32_t order;      /* place in the tag's assembly order */
	uint8_t region;
	uint64_t alloc;   /* the offer it came from; groups and orders the list */
	uint64_t map_id;  /* 0 = not mapped (control only) */
	Backend *backend; /* NULL for untagged: their file belongs to the offer */
	uint64_t backend_offset;
} DcExtent;

uint32_t dc_device_generation(const DcDevice *dev);
size_t dc_device_n_extents(const DcDevice *dev);
/* Copies up to N extents from list position START on; O(log n + N). Returns how many. */
size_t dc_device_extents(const DcDevice *dev, size_t start, DcExtent *ret, size_t n);
bool dc_device_find_extent(const DcDevice *dev, uint64_t dpa, DcExtent *ret);
/* supported: the smaller of the device's and the host's limit; available: that minus accepted
 * and pending. Tags likewise. */
void dc_device_limits(const DcDevice *dev, uint32_t *ret_extents, uint32_t *ret_extents_available,
		      uint32_t *ret_tags, uint32_t *ret_tags_available);

/* ---- offers ---- */
typedef enum OfferPolicy {
	OFFER_FREE,
	OFFER_CONTIGUOUS,
	OFFER_PRESCRIPTIVE,
	OFFER_ENABLE_SHARED_ACCESS,
} OfferPolicy;

typedef enum OfferState {
	OFFER_QUEUED,
	OFFER_OFFERED,
	OFFER_ACCEPTING
} OfferState;

typedef struct OfferExtent {
	uint64_t offset; /* bytes from the region's base */
	uint64_t len;
} OfferExtent;

typedef struct OfferRequest {
	uint8_t region;
	Uuid tag; /* all zero = untagged */
	OfferPolicy policy;
	const OfferExtent *extents; /* prescriptive */
	size_t n_extents;
	uint64_t len; /* free and contiguous, untagged: bytes; tagged: 0 or the backend's size */
} OfferRequest;

typedef struct OfferInfo {
	uint64_t id;
	OfferState state;
	uint8_t region;
	Uuid tag;
	size_t n_extents;
	uint64_t len;
	const char *waits_for; /* static text: why it is queued; NULL when delivered */
} OfferInfo;

/* All checks come before any change; success means every event record has its room. */
bool capacity_offer(Capacity *cap, DcDevice *dev, const OfferRequest *request, uint64_t *ret_offer,
		    GError **error);
/* Queued or offered groups; by id, or by tag with id 0. Refused while it is being accepted. */
bool capacity_withdraw(Capacity *cap, DcDevice *dev, uint64_t offer, const Uuid *tag,
		       GError **error);
void dc_device_foreach_offer(DcDevice *dev, void (*func)(const OfferInfo *, void *), void *opaque);

/* ---- release requests ---- */
typedef enum ReleaseState {
	RELEASE_QUEUED,
	RELEASE_DELIVERED,
	RELEASE_CLEARED_UNANSWERED,
	RELEASE_RESENT,
	RELEASE_DONE,
	RELEASE_TIMED_OUT,
	RELEASE_FORCED,
	RELEASE_FAILED, /* forced, and the journal refused it: nothing changed */
} ReleaseState;

typedef struct ReleaseRequest {
	uint8_t region;
	Uuid tag;                   /* set: all accepted extents with this tag in this region */
	const OfferExtent *extents; /* or these ranges */
	size_t n_extents;
	bool forced;
	bool sanitize;
	uint64_t timeout_us; /* 0 = none */
} ReleaseRequest;

typedef struct ReleaseInfo {
	uint64_t id;
	ReleaseState state;
	uint32_t n_resent;
	Uuid tag;
	uint64_t len; /* bytes still accepted */
	uint64_t created_us, changed_us;
} ReleaseInfo;

bool capacity_release(Capacity *cap, DcDevice *dev, const ReleaseRequest *request, uint64_t *ret_id,
		      GError **error);
bool dc_device_release_info(const DcDevice *dev, uint64_t id, ReleaseInfo *ret);
void dc_device_foreach_release(DcDevice *dev, void (*func)(const ReleaseInfo *, void *),
			       void *opaque);

/* ---- static partitions (ram, pmem): mapped whenever a host is attached ---- */
/* DPA 0.. for ram, then pmem; BACKEND stays the caller's. FRESH_PER_SESSION: a new host session
 * gets a fresh file (ram); the old one is revoked and dropped. Call before the first attach. */
bool dc_device_add_static(DcDevice *dev, uint64_t dpa, Backend *backend, bool fresh_per_session,
			  GError **error);

#endif
