/* SPDX-License-Identifier: BSD-3-Clause */
/* What of a pool must survive the daemon: rows, and records of changes to them. */
#ifndef CAPACITY_ROWS_H
#define CAPACITY_ROWS_H

/*
 * The core describes itself as rows of a few kinds, each with a key. It hands every change to its
 * journal as a RowRecord: an array of upserts and deletes that is kept whole or not at all. A
 * RowRecord of upserts only is also what a restart is given (capacity_restore_begin).
 *
 * The keeper of rows (the ledger) owes three things:
 *  - Order: records are applied in the order in which they were given.
 *  - Prefix: when a record cannot be kept, every later one of the same epoch is refused too, even
 *    if it could be kept. So what is on disk is always the state after some record, never one with
 *    a hole. The core begins a new epoch when it hears of the failure, if need be with a record
 * that replaces everything.
 *  - Files: the descriptor of an upserted FILE row with a MemFile is stored where it survives the
 *    daemon before the record is durable; that of a deleted FILE row is dropped only after.
 *
 * All lengths, sizes, offsets, DPA: bytes. Strings and GBytes in a record belong to it. No id,
 * serial or incarnation is ever 0 or used twice in a pool.
 */

#include "capacity/mem_file.h"
#include "util/uuid.h"

typedef enum RowKind {
	ROW_COUNTERS,      /* one row, no key */
	ROW_HOST,          /* key: serial */
	ROW_BACKEND,       /* key: name */
	ROW_FILE,          /* key: incarnation */
	ROW_HOLDER,        /* key: incarnation, serial */
	ROW_WIPE,          /* key: incarnation, offset */
	ROW_DEVICE,        /* key: id */
	ROW_OFFER,         /* key: id */
	ROW_EXTENT,        /* key: device, dpa */
	ROW_QUARANTINE,    /* key: device, dpa */
	ROW_REQUEST,       /* key: id */
	ROW_REQUEST_RANGE, /* key: request, index */
	ROW_N_KINDS
} RowKind;

/* What must not go backwards. There from the first record on; written again with each use. */
typedef struct RowCounters {
	uint64_t next_id;     /* offers and release requests: one number space */
	uint64_t next_map;    /* maps and devices; always some way ahead of those in use */
	uint64_t last_serial; /* highest serial of a host so far */
} RowCounters;

/*
 * A process that is or was a device's host. From its first attachment until the core hears that it
 * is gone. A serial that is found gone after a restart is to be reported as such
 * (capacity_host_gone) once restoring is over.
 */
typedef struct RowHost {
	uint64_t serial;
	int64_t pid;
	uint64_t start_time; /* of the process, clock ticks since boot; pids are used again */
	uint32_t uid;
} RowHost;

/* A named backend, or a device's static partition. From add to remove. */
typedef struct RowBackend {
	char *name; /* unique; a static partition's too ("dev0.ram") */
	BackendType type;
	uint64_t size;
	uint64_t page_size; /* asked for, hugetlb; 0 = default */
	char *path;         /* file and devdax; else NULL */
	Uuid tag;           /* all zero = none; else unique */
	bool share;         /* QEMU's word, no effect */
	bool shareable;     /* several hosts at once */
	bool read_only;
	bool prealloc;
	bool wipes;             /* on release; false = keeps */
	uint64_t incarnation;   /* of the present FILE */
	uint64_t device;        /* static partition: the device's id; 0 = named backend */
	uint64_t static_dpa;    /* static partition; all below too */
	bool fresh_per_session; /* zeroed for each new session of a host */
	uint64_t map_id;        /* 0 = never mapped */
	uint64_t host;          /* serial of the host that was given that map; 0 = none */
} RowBackend;

/*
 * The contents of a piece of memory between one beginning and the next. A named backend has one
 * from add to remove; a wipe replaces it by one of a new incarnation in one record. An untagged
 * offer has one from just before its first mapping until it is given back. Deleting a FILE deletes
 * its HOLDER and WIPE rows. One that should have a descriptor (memfd, hugetlb) and comes to a
 * restart without one has lost its contents if it was dirty; the core deals with that.
 */
typedef struct RowFile {
	uint64_t incarnation;
	BackendType type;
	uint64_t len;
	uint64_t page_size; /* as in BACKEND */
	bool read_only;
	bool dirty;     /* a descriptor has left the pool, or was about to; false after a wipe */
	char *backend;  /* whose it is, or NULL ... */
	uint64_t offer; /* ... and this untagged offer's; else 0 */
	/*
	 * A reference of the record's. In an upsert: set for memfd and hugetlb if the descriptor is
	 * not stored yet, else NULL. For a restart: adopted from the stored descriptor
	 * (row_file_adopt); NULL = lost, or file and devdax, which are opened again by path.
	 */
	MemFile *file;
} RowFile;

/* HOST has, or had, a descriptor of FILE. From before it gets one; goes with the FILE or when its
 * process has ended. */
typedef struct RowHolder {
	uint64_t incarnation;
	uint64_t serial;
	bool same_uid; /* runs under the pool's own uid */
	bool ghost;    /* replaced as a device's host without having let go of its maps; or, of a
			* static partition: of a session that is over */
	bool wiped;    /* what it may have written has been wiped since */
	bool gone;     /* its process has ended; what it wrote may still be there */
} RowHolder;

/* Bytes of a FILE that is kept on release which are to be wiped before its next user all the
 * same. From the release that asked for it until the wipe. */
typedef struct RowWipe {
	uint64_t incarnation;
	uint64_t offset;
	uint64_t len;
} RowWipe;

typedef struct RowRegion {
	uint64_t len;
	uint64_t block_size;
	bool sharable;
	bool read_only;
	bool sanitize_on_release;
	bool non_volatile;
} RowRegion;

/* From add to remove; rewritten when its host or generation changes. */
typedef struct RowDevice {
	uint64_t id;
	char *name; /* unique */
	uint64_t static_len;
	uint32_t n_regions;
	RowRegion *regions; /* n_regions (0 to 8) of them, g_malloc()ed */
	uint32_t max_extents;
	uint32_t max_offers;
	uint32_t max_chain;
	uint32_t chains_in_flight;
	bool hold_off;
	char *pool_config;   /* the pool layer's own settings, as text the core does not read; or
			      * NULL */
	uint32_t generation; /* extent list generation number; never lower than what a host read */
	/* Its present or last host; serial 0 = none */
	uint64_t host;
	bool host_control_only;
	bool host_same_uid;
	uint32_t host_max_maps; /* UINT32_MAX = no limit */
} RowDevice;

/*
 * One offer: from just before it is deliverable until the last of its extents is free again. Not
 * pending any more once answered.
 */
typedef struct RowOffer {
	uint64_t id;
	uint64_t device;
	uint8_t region;
	uint8_t policy;   /* OfferPolicy, as asked for */
	bool pending;     /* its extents are RESERVED: queued or offered */
	Uuid tag;         /* all zero = untagged */
	char *backend;    /* NULL = untagged: memory of its own */
	uint64_t mem_len; /* of that memory, bytes */
} RowOffer;

typedef enum RowExtentState {
	ROW_EXTENT_RESERVED = 1,    /* of a pending offer */
	ROW_EXTENT_ACCEPTED = 2,    /* in the device's extent list */
	ROW_EXTENT_DRAINING = 3,    /* left the list; not confirmed as unreachable, or not wiped */
	ROW_EXTENT_QUARANTINED = 4, /* forced out: as DRAINING, and QUARANTINE rows name its DPA */
	ROW_EXTENT_SETTLED = 5,     /* as QUARANTINED, but its memory is done with */
} RowExtentState;

/*
 * A DPA range that is not free. Disjoint on one device. Deleted when free. Cutting one in parts
 * rewrites the lowest and adds the others. Its memory: bytes from MEM_OFFSET on of its offer's.
 */
typedef struct RowExtent {
	uint64_t device;
	uint64_t dpa;
	uint64_t len;
	uint64_t offer;
	uint8_t region;
	uint8_t state;       /* RowExtentState */
	bool sanitize;       /* to be wiped although its memory is kept on release */
	uint16_t shared_seq; /* as on the wire */
	uint32_t order;      /* place in the offer's assembly order */
	uint64_t mem_offset;
	uint64_t map_id; /* 0 = never mapped */
	/* Serial of the host that was given that map, and that has to confirm it let go; 0 = none
	 */
	uint64_t host;
} RowExtent;

/* DPA taken by force that stays unused until the host says that it knows, or is reset. */
typedef struct RowQuarantine {
	uint64_t device;
	uint64_t dpa;
	uint64_t len;
	uint64_t extent; /* DPA of the EXTENT it lies in */
} RowQuarantine;

/*
 * A release request, from just before the host is asked until the core forgets it (some 256
 * finished ones of a device are kept for queries). Deleting it deletes its ranges.
 */
typedef struct RowRequest {
	uint64_t id;
	uint64_t device;
	uint8_t region;
	uint8_t state; /* ReleaseState */
	bool forced;
	bool sanitize;
	Uuid tag; /* all zero = asked for by ranges */
	uint32_t n_resent;
	/* Wall clock, microseconds since 1970 UTC */
	uint64_t created_us;
	uint64_t changed_us;
	uint64_t timeout_us; /* 0 = none */
} RowRequest;

/* What a request that is not finished asks for, as it was asked. Which of it is still accepted
 * follows from the EXTENT rows of the same offer. */
typedef struct RowRequestRange {
	uint64_t request;
	uint32_t index;
	uint64_t dpa;
	uint64_t len;
	uint64_t offer;
} RowRequestRange;

typedef enum RowOp {
	ROW_UPSERT,
	ROW_DELETE, /* only the key means anything; no such row is no error */
} RowOp;

typedef struct RowChange {
	RowOp op;
	RowKind kind;
	union {
		RowCounters counters;
		RowHost host;
		RowBackend backend;
		RowFile file;
		RowHolder holder;
		RowWipe wipe;
		RowDevice device;
		RowOffer offer;
		RowExtent extent;
		RowQuarantine quarantine;
		RowRequest request;
		RowRequestRange request_range;
	};
} RowChange;

/* Why a record was written: for the audit, and for plans that kill the daemon at a named step. */
typedef enum RowReason {
	ROW_REASON_OFFER,   /* a new offer; it is not delivered before */
	ROW_REASON_DIRTY,   /* a host is about to be given descriptors; no prepare before */
	ROW_REASON_ACCEPT,  /* extents become accepted, or an offer declined; no expose before */
	ROW_REASON_RELEASE, /* ranges leave the list and drain; no revoke before */
	ROW_REASON_UNDO,    /* an accept or release the host heard a refusal of is taken back */
	ROW_REASON_REQUEST, /* a new release request; no record to the host before */
	ROW_REASON_CHANGE,  /* what has happened already: freed, wiped, withdrawn, attached, ... */
	ROW_REASON_BARRIER, /* no changes: all earlier records are to be durable first */
	ROW_REASON_REPLACE, /* everything anew, after a failure */
	ROW_N_REASONS
} RowReason;

const char *row_reason_name(RowReason reason);
const char *row_kind_name(RowKind kind);

/* Reference counted by atomics; not changed any more once it has been given away. */
typedef struct RowRecord {
	gatomicrefcount refs;
	RowReason reason;
	uint64_t epoch;
	bool replaces_all; /* delete every row first */
	GArray *changes;   /* RowChange, to be applied in this order */
} RowRecord;

RowRecord *row_record_new(RowReason reason);
RowRecord *row_record_ref(RowRecord *record);
void row_record_unref(RowRecord *record); /* any thread; frees strings, drops MemFiles */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RowRecord, row_record_unref)
/* Appends a zeroed change to be filled in; valid until the next one is added. Strings put into it
 * must be g_malloc()ed, a MemFile or GBytes be a reference: the record owns them from then on. */
RowChange *row_record_add(RowRecord *record, RowOp op, RowKind kind);

static inline const RowChange *row_record_at(const RowRecord *record, guint index)
{
	return &g_array_index(record->changes, RowChange, index);
}

static inline RowChange *row_record_last(RowRecord *record)
{
	return &g_array_index(record->changes, RowChange, record->changes->len - 1);
}

#define UNTAGGED_FILE_NAME "softdcd-untagged"

/* The stored descriptor of a memfd or hugetlb FILE as MemFile; checks that it is what the row
 * says. Owns FD on success. Put the result into the row's FILE for a restart. */
MemFile *row_file_adopt(const RowFile *row, int fd, GError **error);

#endif
