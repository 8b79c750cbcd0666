/* SPDX-License-Identifier: BSD-3-Clause */
/* The core's own structures and the calls between its files. */
#ifndef CAPACITY_PRIV_H
#define CAPACITY_PRIV_H

/*
 * Re-entrancy. No callback is ever made from the middle of a change: whatever goes out is queued
 * (capacity_queue, capacity_tell) and leaves when the outermost public call ends (capacity_leave).
 * A callback may therefore call anything; its own effects queue up behind. The one exception is
 * log_reserve, which has to answer on the spot and must not call back.
 *
 * Lifetimes. An Offer lives until its last Extent ends; a device and a backend can only be removed
 * when nothing of theirs is left. A queued call may name an effect that is gone: it looks it up.
 */

#include "capacity/byte_states.h"
#include "capacity/capacity.h"
#include "capacity/dpa_space.h"
#include "capacity/extent_list.h"
#include "capacity/restore.h"

#define RESPONSE_DEADLINE_US (UINT64_C(1) * G_USEC_PER_SEC)
#define HOLD_US              (UINT64_C(1) * G_USEC_PER_SEC)
#define RETRY_MIN_US         (UINT64_C(1) * G_USEC_PER_SEC)
#define RETRY_MAX_US         (UINT64_C(60) * G_USEC_PER_SEC)
#define NEVER                UINT64_MAX

typedef struct Offer Offer;
typedef struct Effect Effect;
typedef struct Accept Accept;
typedef struct Drain Drain;
typedef struct Release Release;
typedef struct Request Request;

/* ---- the pool ---- */

typedef struct Work Work;
typedef void (*WorkFunc)(Capacity *cap, const Work *work);
struct Work {
	WorkFunc run;
	void *object;
	void *opaque;
	uint64_t number;
	union {
		DcResponseDone response_done;
		void (*effect_done)(void *context, bool ok);
	};
};

typedef struct Restore Restore;

struct Capacity {
	CapacityOps ops;
	void *opaque;
	GHashTable *backends_by_name; /* owns the backends */
	GHashTable *backends_by_tag;
	GQueue memories;     /* every Backend in use: named, untagged, static */
	GHashTable *devices; /* name -> DcDevice */
	GHashTable *hosts;   /* serial -> DcHost, until it is gone */
	GQueue jobs;         /* WipeJobs that are out */
	CapacityCounters bytes;
	uint64_t next_id; /* offers and release requests: cookies of one number space */
	uint64_t next_map;
	uint64_t next_req; /* effects and journal */
	uint64_t last_serial;
	Restore *restore; /* between its begin and its end */

	/* The journal */
	GHashTable *journal; /* req -> JournalWait */
	RowRecord *changes;  /* what has happened and is not written yet; NULL = nothing */
	uint64_t epoch;
	uint64_t saved_map; /* next_map in the journal */
	bool behind;        /* it lacks something that has happened */
	bool replacing;     /* a record that replaces everything is on its way */
	uint64_t replace_us;

	uint64_t announced_deadline_us;
	unsigned depth; /* public calls on the stack */
	GArray *work;   /* Work; the first N_WORK_DONE have run */
	guint n_work_done;
	GArray *notices; /* CapacityNotice */
	guint n_notices_done;
};

/* A copy that survives changes of the table; caller owns the array. */
GPtrArray *hash_table_values(GHashTable *table);

/* Arrays that few objects need are made when they do. */
static inline guint array_len(const GArray *array)
{
	return array ? array->len : 0;
}

void capacity_enter(Capacity *cap);
void capacity_leave(Capacity *cap);
void capacity_queue(Capacity *cap, WorkFunc run, void *object, uint64_t number);
void capacity_queue_work(Capacity *cap, const Work *work);
void capacity_tell(Capacity *cap, CapacityNoticeType type, const Offer *offer, uint64_t dpa,
		   uint64_t len);
void capacity_tell_backend(Capacity *cap, CapacityNoticeType type, Backend *backend);
uint64_t capacity_now_us(const Capacity *cap);

/* ---- journal.c ---- */

/* For what has not happened yet: a record to be filled in and submitted. NULL: none is wanted;
 * journal_submit() knows why. */
RowRecord *journal_new(Capacity *cap, RowReason reason);
/*
 * Owns RECORD. DONE, which may be NULL, is never called from inside. MUST: it describes what has
 * happened or will in any case, so that failing leaves the journal behind.
 */
void journal_submit(Capacity *cap, RowRecord *record, bool must,
		    void (*done)(void *context, bool ok), void *context);
/* For what has happened: the record to add it to at once; it goes out before any other. NULL: not
 * wanted. */
RowRecord *journal_changes(Capacity *cap);
bool journal_refuses(const Capacity *cap, GError **error); /* behind: grant nothing */
/* Something has happened although the journal did not keep it. */
void journal_lost(Capacity *cap);
void journal_free(Capacity *cap);
void journal_tick(Capacity *cap, uint64_t now_us);
uint64_t journal_deadline_us(const Capacity *cap);

/* ---- memory: backends and the files of untagged offers ---- */

/* A host that was given a descriptor of the present file. */
typedef struct Holder {
	uint64_t serial;
	bool same_uid;
	bool ghost; /* no longer the device's host, and never confirmed that it let go */
	bool wiped; /* what it may have written has been wiped since */
	bool gone;  /* its process has ended; what it wrote may still be there */
	/* Since a restart: may hold maps of an acceptance that never came to be, until it is back
	 * and says what it holds */
	bool uncertain;
} Holder;

typedef enum MemoryState {
	MEMORY_READY,
	MEMORY_WIPING,      /* the whole of it, nobody uses it */
	MEMORY_QUARANTINED, /* a former user can still reach it, or the wipe failed */
} MemoryState;

struct Backend {
	char *name;
	BackendType type;
	uint64_t size;
	uint64_t page_size; /* asked for */
	char *path;
	Uuid tag;
	bool share;
	bool shareable;
	bool read_only;
	bool prealloc;
	bool wipes;    /* on release */
	MemFile *file; /* NULL: of an untagged offer, not needed yet */
	uint64_t incarnation;
	bool dirty; /* a descriptor of the file has left the pool, or is about to */

	/* In a pool */
	Capacity *cap;
	GList link;     /* in cap->memories */
	bool untagged;  /* belongs to one offer, goes with it */
	uint64_t owner; /* that offer's id */
	bool is_static; /* belongs to the caller; in no counter */
	CapacityCounters bytes;
	ByteStates *shared; /* shareable only */
	GQueue offers;      /* Offers with memory here */
	size_t n_extents[BYTES_N_STATES];
	GArray *holders;      /* Holder; NULL until there is one */
	GHashTable *sanitize; /* offset -> length to wipe although the rest is kept; may be NULL */
	GQueue returned;      /* Extents, unreachable, waiting for their wipe */
	GQueue stuck;         /* Extents whose wipe failed, waiting for that of the whole */
	size_t n_punching;    /* Extents in running WIPE_PARTS jobs */
	MemoryState state;
	unsigned n_jobs;
	bool settle_queued;
	bool wipe_failed;
	bool past_unknown; /* restored dirty without anybody who could have made it so */
	bool renew_wanted; /* although reserved, or static: for its next host */
	DcDevice *static_dev;
	const Extent *static_extent;
	uint64_t static_of, static_dpa, static_map_id, static_host; /* restored */
	bool is_restored;                                           /* has its rows */
};

/* Contents begin anew, in FRESH (owned) if there is one. */
void backend_renew(Backend *backend, MemFile *fresh);
uint64_t backend_new_incarnation(void);

/* wipe_job.c */
typedef enum WipeKind {
	WIPE_PARTS, /* zero RANGES, for PARTS; others of the same file stay in use */
	WIPE_WHOLE, /* fresh file, or zeros if it cannot be replaced */
	WIPE_SOME,  /* zero RANGES of memory that is otherwise kept */
	WIPE_DROP,  /* the file goes: give its memory back */
} WipeKind;
void wipe_jobs_orphan(Capacity *cap); /* those that are out touch no memory any more */
/* Owns RANGES (DpaPiece of offsets), empties PARTS (Extents); ends in memory_wipe_done(). */
void wipe_job_start(Backend *mem, WipeKind kind, GArray *ranges, GQueue *parts);

/* memory.c */
Backend *memory_new_untagged(Capacity *cap, uint64_t size, uint64_t offer);
void memory_join(Capacity *cap, Backend *mem);
void memory_leave(Backend *mem);
bool memory_ensure_file(Backend *mem, GError **error);
/* A descriptor of the file is about to go to this host. */
void memory_hand_out(Backend *mem, const DcHost *host);
/* That has been recorded, but did not happen. */
void memory_not_handed_out(Backend *mem, const DcHost *host);
/* Is that news? Then RECORD (may be NULL) gets it; it must be durable before. */
bool memory_record_hand_out(const Backend *mem, const DcHost *host, RowRecord *record);
void memory_host_resumed(Backend *mem, uint64_t serial);
void memory_host_replaced(Backend *mem, uint64_t serial); /* its maps were never confirmed */
void memory_host_gone(Backend *mem, uint64_t serial);
/* Could it be mapped for this host now without a former one reaching into it? */
bool memory_may_go_to(const Backend *mem, const DcHost *host);
/* The same for an offer, which wants nothing of a former host in it either. */
bool memory_is_ready_for_offer(const Backend *mem, const DcHost *host);
/* If it is not: starts the wipe it needs, if one can help. */
void memory_make_ready_for_offer(Backend *mem);
/* Does the named backend refuse a new offer? Sets ERROR. */
bool memory_refuses_offer(const Backend *mem, DcDevice *dev, GError **error);
void memory_attach_offer(Backend *mem, Offer *offer);
void memory_detach_offer(Backend *mem, Offer *offer);
/* An extent of it is provably unreachable: wipe as due, then end the extent. */
void memory_return(Extent *extent);
/* Of a declined or withdrawn extent; ends it, now or after a wipe. */
void memory_unreserve(Extent *extent);
/* A static partition is to be mapped for a new host session. */
void memory_renew_static(Backend *mem);
void memory_settle_later(Backend *mem);
bool memory_reclaim(Backend *mem, GError **error);
void memory_wipe_done(Backend *mem, WipeKind kind, GQueue *parts, MemFile *fresh, int result);
bool memory_is_idle(const Backend *mem);
void backend_free_untagged(Backend *mem);
/* With everything in use: only when the pool is given up. */
void memory_discard(Backend *mem);
/* From rows; FILE is owned, NULL for an untagged offer that had none yet. */
Backend *memory_restore(const RowBackend *row, const RowFile *file_row, MemFile *file);
Backend *memory_restore_untagged(Capacity *cap, const RowOffer *offer, const RowFile *file_row);

/* ---- offers ---- */

typedef enum OfferBlock {
	OFFER_BLOCK_NONE,
	OFFER_BLOCK_LIST,    /* until the host has read its extent list again */
	OFFER_BLOCK_MEMORY,  /* until its memory is fit for this host */
	OFFER_BLOCK_ROOM,    /* until the event log has room again */
	OFFER_BLOCK_JOURNAL, /* until it is recorded */
} OfferBlock;

struct Offer {
	uint64_t id;
	DcDevice *dev;
	Backend *mem; /* NULL once none of its memory is in use */
	Uuid tag;
	uint8_t region;
	uint8_t policy;   /* OfferPolicy */
	uint64_t mem_len; /* of its memory */
	GQueue live;      /* every Extent of it */
	GList dev_link;   /* in dev->all_offers */
	size_t n_in_use;  /* extents whose memory is not free */

	/* While pending */
	bool pending;
	OfferState state;
	OfferBlock block;
	bool has_room; /* records reserved in the log */
	size_t n_records, n_read;
	GPtrArray *extents; /* Extent, in assembly order */
	GPtrArray *by_dpa;  /* the same, by DPA */
	uint64_t len;
	GList link;                 /* in dev->queued, dev->blocked or dev->delivered */
	GList mem_link;             /* in mem->offers */
	Accept *accept;             /* under way or unwinding */
	bool journaling;            /* a new one, not recorded yet */
	bool withdraw_when_unwound; /* or recorded */
};

void offer_free_if_over(Offer *offer);
Extent *offer_find_extent(const Offer *offer, uint64_t dpa);
/* Restart: without extents; MEM is NULL if none of it is in use. Then its EXTENTS (owned, in
 * assembly order), if it is pending. */
Offer *offer_restore(DcDevice *dev, const RowOffer *row, Backend *mem);
void offer_restore_pending(Offer *offer, GPtrArray *extents);
/* Every extent declined or withdrawn; the offer is over. */
void offer_end(Offer *offer, ExtentState end, CapacityNoticeType notice);
/* Takes it off the device's lists of pending offers. */
void offer_unpend(Offer *offer);

/* delivery.c */
void delivery_later(DcDevice *dev);
void delivery_enqueue(Offer *offer, OfferBlock block);
void delivery_requeue_all(DcDevice *dev); /* new host or conventional reset */
void delivery_unblock(DcDevice *dev, OfferBlock block);
void delivery_unblock_offer(Offer *offer, OfferBlock block);
void delivery_withdraw_records(DcDevice *dev, uint64_t cookie);
void delivery_drop_records(Offer *offer); /* room given back or unread records withdrawn */
GQueue *delivery_queue_of(const Offer *offer);
const char *delivery_waits_for(const Offer *offer);
uint64_t delivery_deadline_us(const DcDevice *dev);
Offer *delivery_first(const DcDevice *dev); /* first pending group: oldest delivered */

/* ---- devices ---- */

/* A mailbox command that has not been answered. */
typedef struct Command {
	bool active;
	uint64_t serial; /* tells it from the next one */
	uint64_t deadline_us;
	DcResponseDone done;
	void *opaque;
	Accept *accept;
	Release *release;
} Command;

typedef struct StaticPart {
	Extent extent; /* of OFFER, in no list */
	Offer offer;   /* only dev and mem mean anything */
	bool fresh_per_session;
} StaticPart;

struct DcDevice {
	Capacity *cap;
	uint64_t id;
	char *name;
	char *pool_config;
	DcDeviceConfig config;
	DcDeviceOps ops;
	void *opaque;
	unsigned n_regions;
	DcRegion regions[DC_MAX_REGIONS];
	DpaSpace *spaces[DC_MAX_REGIONS];

	CapacityCounters bytes;
	ExtentList *list;
	uint32_t generation;
	uint32_t recorded_generation; /* with what is on its way to the journal; never lower */
	GQueue all_offers;            /* while any of their extents lives */
	GHashTable *offers;           /* id -> pending Offer */
	GHashTable *offers_by_tag;    /* tag -> Offer with memory in use */
	GQueue queued, blocked, delivered;
	size_t n_pending; /* extents */

	bool attached;
	DcHost host; /* present or last; serial 0 = none */
	bool events_enabled;
	bool list_read;
	uint64_t hold_until_us;
	bool delivery_queued;

	Command command;
	uint64_t n_commands;
	GArray *collected_adds, *collected_releases; /* DcRange */

	GHashTable *effects; /* req -> Effect */
	GPtrArray *accepts;  /* Accept: under way or unwinding */
	GPtrArray *releases; /* Release waiting for the journal */
	GQueue drains;       /* Drain */
	size_t n_journaling; /* new offers and release requests on their way to the journal */

	/* DPA of forced releases: first DPA -> QuarantinedRange */
	GTree *quarantine;
	bool tell_quarantine; /* again, to the host that comes back after a restart */

	GHashTable *requests;    /* id -> Request */
	GTree *requested_ranges; /* first DPA -> RequestedRange of a live request */
	GSequence *due_requests; /* live Requests with something to do at a time */
	GQueue finished_requests;

	GPtrArray *statics; /* StaticPart */
	size_t n_extents;   /* alive, in whatever state */
	size_t n_settled;   /* of those, in quarantine and with nothing else left to do */
	GArray *planned;    /* SyncItem: maps to be restored, once recorded */
	GArray *syncing;    /* SyncItem: maps being restored for the host */
	uint64_t sync_req;
	size_t n_sync_blocks; /* revokes that must be confirmed first */
	bool sync_queued, sync_again, sync_dirtying;
	bool resumed;     /* its host has said what it holds, the rest is being revoked */
	DcHost sync_host; /* whose maps are being recorded */
	uint64_t sync_retry_us, sync_backoff_us;
};

/* With everything in it, when the pool is given up. */
void dc_device_discard(DcDevice *dev);
bool dc_device_owes_maps(const DcDevice *dev); /* its host maps memory, unlike a control-only one */
const DcRegion *dc_device_region_at(const DcDevice *dev, uint64_t dpa, unsigned *ret_index);
uint32_t dc_device_max_extents(const DcDevice *dev);
/* False: one is under way; this one has been answered. */
bool dc_device_begin_command(DcDevice *dev, DcResponseDone done, void *opaque);
void dc_device_end_command(DcDevice *dev, enum cxl_rc rc);
/* Answers the command under way with RC, rolling back what can be; drops collected parts. */
void dc_device_abort_command(DcDevice *dev, enum cxl_rc rc);
DcMap extent_make_map(const Extent *extent, uint64_t dpa, uint64_t len, uint64_t map_id);
uint64_t dc_device_deadline_us(const DcDevice *dev);
void dc_device_tick(DcDevice *dev, uint64_t now_us);

/* ---- effect.c: what the host side was asked ---- */

typedef enum EffectKind {
	EFFECT_PREPARE,
	EFFECT_EXPOSE,
	EFFECT_REVOKE,
	EFFECT_DROP
} EffectKind;

struct Effect {
	uint64_t req;
	EffectKind kind;
	DcDevice *dev;
	uint64_t serial;
	GArray *items; /* DcMap for prepare, map ids for expose and drop, DcMapPart for revoke */
	GArray *parts; /* DcMapPart, of a drop: the whole maps */
	void (*done)(void *context, bool ok);
	void *context;
};

/* Owns MAPS. */
uint64_t effect_prepare(DcDevice *dev, GArray *maps, void (*done)(void *, bool), void *context);
uint64_t effect_expose(DcDevice *dev, GArray *map_ids, void (*done)(void *, bool), void *context);
/* Owns PARTS. DONE(true) comes when it is confirmed, however long that takes. With DROP the maps
 * have never been exposed. Nothing to let go of is confirmed at once. */
void effect_let_go(DcDevice *dev, bool drop, GArray *parts, void (*done)(void *, bool),
		   void *context);
/* The same of any host: PARTS, exposed or not, are SERIAL's to confirm. */
void effect_let_go_of(DcDevice *dev, uint64_t serial, GArray *parts, void (*done)(void *, bool),
		      void *context);
void effect_forget(DcDevice *dev, uint64_t req); /* prepare or expose: its answer counts no more */
void effect_confirm_serial(DcDevice *dev, uint64_t serial);
void effect_free(Effect *effect);
/* A host is back: what it does not hold is confirmed, the rest is asked again. CLAIMED gets
 * what of HELD is being revoked. */
void effect_resume(DcDevice *dev, const GArray *held, GArray *ret_claimed);

/* ---- held.c: what a host says it holds, which may be any nonsense ---- */
/* DcHeldMap by map and DPA, those of one map disjoint. Caller owns the array. */
GArray *held_sort(const DcHeldMap *held, size_t n_held);
/* The first of this map that ends above DPA; if there is none, one of another map or the end. */
guint held_search(const GArray *held, uint64_t map_id, uint64_t dpa);
/* The parts of HELD outside COVERED (DcMapPart, sorted here). Caller owns the array. */
GArray *held_outside(const GArray *held, GArray *covered);

/* ---- respond.c: 4802h ---- */
void accept_abort(Accept *accept, enum cxl_rc rc); /* its command is over: roll back */
void accept_free(Accept *accept);
bool accept_is_recorded(const Accept *accept); /* in the journal, or on its way to it */

/* ---- release.c: 4803h and what follows ---- */

typedef struct ReleaseOptions {
	bool forced; /* quarantine the DPA */
	bool sanitize;
	bool must_apply; /* whatever the journal says */
	bool command;    /* the device's command waits for it */
	Request *request;
} ReleaseOptions;

/* RANGES (DcRange): accepted or quarantined throughout, disjoint, not locked. Journal, leave the
 * list, revoke, wipe. */
void release_start(DcDevice *dev, GArray *ranges, const ReleaseOptions *options);
void release_abort(Release *release); /* its command is over */
void release_free(Release *release);
void release_everything(DcDevice *dev);
/* Restart: EXTENTS (owned) left the list before it; HOST is to confirm that it let go. */
void drain_restore(DcDevice *dev, GPtrArray *extents, uint64_t host);
void drain_free(Drain *drain);
/*
 * The next run of accepted or quarantined bytes from *DPA on: its length, 0 at the end. What is
 * neither is skipped. *RET_EXTENT is NULL for quarantined ones.
 */
uint64_t release_next_run(const DcDevice *dev, uint64_t *dpa, uint64_t end, Extent **ret_extent);
/* release_rows.c: as if done, or (UNDO) as before. */
RowRecord *release_record(DcDevice *dev, const GArray *ranges, const ReleaseOptions *options,
			  bool undo);

/* quarantine.c */
typedef struct QuarantinedRange {
	uint64_t dpa;
	uint64_t len;
	Extent *extent;
} QuarantinedRange;
void quarantine_init(DcDevice *dev);
void quarantine_add(DcDevice *dev, Extent *extent);
void quarantine_add_range(DcDevice *dev, Extent *extent, uint64_t dpa, uint64_t len);
/* Bytes from DPA on that are quarantined, 0 if it is not. */
uint64_t quarantine_run(const DcDevice *dev, uint64_t dpa);
void quarantine_end(DcDevice *dev, uint64_t dpa, uint64_t len);
void quarantine_end_all(DcDevice *dev);
/* After a restart: the log, and with it what the host was to hear, has gone with the daemon. */
void quarantine_tell_again(DcDevice *dev);

/* ---- release_request.c ---- */
void requests_init(DcDevice *dev);
/* The live request that names any of these bytes, 0 if none does. */
uint64_t requests_live_at(const DcDevice *dev, uint64_t dpa, uint64_t len);
void requests_clear(DcDevice *dev);
void requests_discard(DcDevice *dev);
void requests_delete_rows(const DcDevice *dev);
/* LEN bytes at DPA left the list; returns whether a live request wants them wiped. */
bool requests_note_released(DcDevice *dev, uint64_t dpa, uint64_t len);
/* The same, changing nothing. */
bool requests_sanitize_at(const DcDevice *dev, uint64_t dpa, uint64_t len);
/* As if it was in STATE. */
void request_add_row(const Request *request, ReleaseState state, RowRecord *record);
/* The same and its ranges, of all requests that are on record. */
void requests_add_rows(const DcDevice *dev, RowRecord *record);
void requests_record_cleared(DcDevice *dev, uint64_t cookie);
void requests_records_lost(DcDevice *dev); /* the log was emptied */
void requests_tick(DcDevice *dev, uint64_t now_us);
uint64_t requests_deadline_us(const DcDevice *dev);
void request_forced_done(DcDevice *dev, Request *request, bool ok);
/* Restart. Its ranges are added one by one, then it is begun. */
Request *request_restore(DcDevice *dev, const RowRequest *row);
void request_restore_range(Request *request, const Extent *extent, uint64_t dpa, uint64_t len);
void request_restore_end(Request *request);
/* Restart: what a tag of a device is forced out for, at once and whatever the journal says. */
void requests_force(DcDevice *dev, GPtrArray *extents);

/* ---- row_build.c: objects as rows; RECORD may be NULL ---- */
void rows_add_counters(Capacity *cap, RowRecord *record);
/* Counters, if the map ids in use come near the recorded one. */
void rows_add_maps(Capacity *cap, RowRecord *record);
void rows_add_host(const DcHost *host, RowRecord *record);
void rows_add_backend(const Backend *mem, RowRecord *record);
/* NEW_FILE: its descriptor is not stored yet. DIRTY: as it is to be. */
void rows_add_file(const Backend *mem, bool new_file, bool dirty, RowRecord *record);
void rows_add_holder(const Backend *mem, const Holder *holder, RowRecord *record);
void rows_add_holders(const Backend *mem, RowRecord *record);
void rows_add_wipe(const Backend *mem, uint64_t offset, uint64_t len, RowRecord *record);
void rows_delete_wipes(const Backend *mem, RowRecord *record);
void rows_add_device(const DcDevice *dev, RowRecord *record);
void rows_add_offer(const Offer *offer, bool pending, RowRecord *record);
/* Its row, to be changed by the caller; valid until the next one is added. NULL: no record. */
RowExtent *rows_add_extent(const Extent *extent, RowRecord *record);
void rows_add_quarantine(const DcDevice *dev, uint64_t dpa, uint64_t len, uint64_t extent,
			 RowRecord *record);
void rows_delete_backend(const char *name, RowRecord *record);
void rows_delete_file(uint64_t incarnation, RowRecord *record);
void rows_delete_holder(uint64_t incarnation, uint64_t serial, RowRecord *record);
void rows_delete_host(uint64_t serial, RowRecord *record);
void rows_delete_device(const DcDevice *dev, RowRecord *record);
void rows_delete_offer(uint64_t id, RowRecord *record);
void rows_delete_extent(const DcDevice *dev, uint64_t dpa, RowRecord *record);
void rows_delete_quarantine(const DcDevice *dev, uint64_t dpa, RowRecord *record);

/* ---- sync.c ---- */
typedef struct SyncItem {
	uint64_t dpa;
	uint64_t len;
	uint64_t map_id;
	uint64_t incarnation; /* whose descriptor is recorded with it; 0 = none */
} SyncItem;
void sync_later(DcDevice *dev);
/* Lets go of maps before the next sync may start. Owns PARTS. */
void sync_let_go(DcDevice *dev, bool drop, GArray *parts);
void sync_cut_off(DcDevice *dev); /* the link is gone */
/* Static partitions and accepted extents. */
void mappable_foreach(DcDevice *dev, void (*func)(Extent *extent, void *opaque), void *opaque);
Extent *mappable_find_static(DcDevice *dev, uint64_t dpa, uint64_t len);

/* restore.c: what its row says of a device that is being added; refuses one without a row. */
bool restore_device(DcDevice *dev, GError **error);
void restore_free(Restore *restore);

/* check.c: recomputes every counter and index from nothing and asserts that they agree. For tests.
 */
void capacity_check(Capacity *cap);

#endif
