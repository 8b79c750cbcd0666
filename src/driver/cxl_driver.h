/* SPDX-License-Identifier: BSD-3-Clause */
/* A user-space CXL driver: finds memory devices, programs decoders, lives with dynamic capacity. */
#ifndef DRIVER_CXL_DRIVER_H
#define DRIVER_CXL_DRIVER_H

/*
 * Design. Everything here works over a CxlBus and nothing else, allocates with malloc() and does
 * what a Linux host does, in its order. The device is not trusted: every count, length, offset and
 * list it reports is checked before use and every loop has a bound.
 *
 * Results: >= 0 or -errno. A failure leaves one sentence in cxl_driver_error(), naming the object
 * and the rule. Outputs are named ret_* and are untouched on failure. A driver and all that belongs
 * to it is used by one thread at a time. Callbacks may query, but may not call functions marked
 * (!).
 */

#include "cxl/cci.h"
#include "cxl/dcd.h"
#include "cxl/event.h"
#include "driver/cxl_bus.h"

typedef struct CxlDriver CxlDriver;
typedef struct CxlMemdev CxlMemdev;
typedef struct CxlRegion CxlRegion;
typedef struct CxlDcd CxlDcd;

#define CXL_NO_HPA          UINT64_MAX
#define CXL_DRIVER_MAX_WAYS 16

/* All fields may be 0: the default, in parentheses, is used. */
typedef struct CxlDriverOptions {
	bool adopt;          /* decoders found committed become our regions (they are left alone) */
	bool no_ready_wait;  /* do not wait for media and mailbox of a device that is not ready */
	unsigned command_ms; /* mailbox command time-out (2000) */
	unsigned media_ms;   /* media and mailbox ready time-out (60000) */
} CxlDriverOptions;

/* ---- the driver and its devices ---- */

/* NULL if out of memory. BUS and PLATFORM are copied; OPTIONS may be NULL. Touches nothing yet. */
CxlDriver *cxl_driver_new(const CxlBus *bus, void *opaque, const CxlPlatform *platform,
			  const CxlDriverOptions *options);
/* Frees all; leaves decoders, accepted capacity and interrupt policy of the devices as they are. */
void cxl_driver_free(CxlDriver *driver);
/* What the last failure was; "" if none. Valid until the next call. */
const char *cxl_driver_error(const CxlDriver *driver);

/*
 * (!) Scans every host bridge, once. A device that cannot be used is logged and listed all the
 * same, with its reason in cxl_memdev_error(). Returns the number of devices listed.
 */
int cxl_driver_enumerate(CxlDriver *driver);
unsigned cxl_driver_n_memdevs(const CxlDriver *driver);
CxlMemdev *cxl_driver_memdev(CxlDriver *driver, unsigned index); /* NULL past the end */
CxlMemdev *cxl_driver_find_serial(CxlDriver *driver, uint64_t serial);
CxlMemdev *cxl_driver_find_bdf(CxlDriver *driver, uint32_t bdf);

/* ---- what a device says of itself ---- */

typedef struct CxlMemdevInfo {
	uint32_t bdf;
	uint16_t vendor_id, device_id;
	uint64_t serial;
	uint32_t bridge_uid;
	uint32_t payload_len; /* of the mailbox */
	bool payload_mapped;
	bool media_ready;
	bool has_dc;   /* all of 4800h to 4803h, and a sane region configuration */
	bool has_cdat; /* read, and its checksum is right */
	char fw_revision[17];
	uint64_t total_len, ram_len, pmem_len; /* bytes of static capacity */
	uint32_t lsa_len;
	unsigned n_decoders;
	unsigned n_dc_regions;
	uint32_t n_extents_supported; /* 0 = not said */
} CxlMemdevInfo;

typedef struct CxlDcRegionInfo {
	uint64_t dpa;
	uint64_t decode_len; /* what a decoder for all of it must cover */
	uint64_t len;
	uint64_t block_len;
	uint32_t dsmad_handle;
	uint8_t flags;
	bool sharable; /* the next three are from CDAT */
	bool read_only;
	bool nonvolatile;
} CxlDcRegionInfo;

/* One DSMAS with its DSLBIS; a performance value of 0 is unknown */
typedef struct CxlMemRange {
	uint8_t handle;
	uint8_t flags; /* CXL_DSMAS_* */
	uint64_t dpa;
	uint64_t len;
	uint64_t perf[6]; /* index CXL_CDAT_DATA_*; latencies in ps, bandwidths in MB/s */
} CxlMemRange;

const CxlMemdevInfo *cxl_memdev_info(const CxlMemdev *memdev);
const char *cxl_memdev_error(const CxlMemdev *memdev); /* "" if usable */
unsigned cxl_memdev_n_ranges(const CxlMemdev *memdev);
const CxlMemRange *cxl_memdev_range(const CxlMemdev *memdev, unsigned index);
/* The region as read at enumeration; NULL past the end */
const CxlDcRegionInfo *cxl_memdev_dc_region(const CxlMemdev *memdev, unsigned index);
/* Is OPCODE in the command effects log; its effects, or -1 */
int cxl_memdev_effects(const CxlMemdev *memdev, uint16_t opcode);

/*
 * (!) For a device that was away and answers again, over whatever has replaced the bus below it:
 * turns it on, sets its clock, and commits again, at the same addresses, the decoders it has lost.
 * 1 if it had kept them all, 0 if not; -ESTALE: it is not the device it was; any failure may be
 * followed by another try. The payload is mapped anew (CxlBus.bar_map). Then cxl_dcd_resume().
 */
int cxl_memdev_resume(CxlMemdev *memdev);

/* ---- commands ---- */

/*
 * (!) Runs one mailbox command. Returns the device's return code (enum cxl_rc, >= 0) or -errno:
 * -ETIMEDOUT, -EBUSY (an earlier one still runs), -EMSGSIZE (IN does not fit the payload), -EPROTO
 * (output longer than the payload), -ENODEV (reads all-ones). Output beyond OUT_MAX is dropped;
 * *ret_out_len is what OUT holds. OUT is a private copy. ret_out_len may be NULL.
 */
int cxl_memdev_command(CxlMemdev *memdev, uint16_t opcode, const void *in, uint32_t in_len,
		       void *out, uint32_t out_max, uint32_t *ret_out_len);
/* From doorbell write to completion seen, of the last command; by the bus's clock */
uint64_t cxl_memdev_last_command_us(const CxlMemdev *memdev);
/* When its doorbell was rung, by the same clock */
uint64_t cxl_memdev_last_command_begun_us(const CxlMemdev *memdev);
/* Called after every command; rc as returned above. NULL: off. */
typedef void (*CxlCommandTrace)(void *opaque, const CxlMemdev *memdev, uint16_t opcode, int rc,
				uint64_t took_us);
void cxl_memdev_set_trace(CxlMemdev *memdev, CxlCommandTrace trace, void *opaque);
const char *cxl_rc_name(int rc);

/* ---- regions: decoders from window to endpoints ---- */

typedef struct CxlRegionSpec {
	CxlMemdev *const *memdevs; /* in any order: positions follow from window and ports */
	unsigned n_memdevs;        /* = ways: 1, 2, 4, 8, 16, 3, 6, 12 */
	uint64_t dpa;              /* first DPA on each; multiple of 256 MiB */
	uint64_t len;              /* bytes of each device; the region is n_memdevs times as long */
	uint32_t granularity;      /* 0: the window's, or 256 */
	const CxlWindow *window;   /* one of cxl_driver_window(); NULL: the first that fits */
	uint64_t hpa;              /* 0: first fit */
	bool lock;                 /* lock on commit: cannot be unprogrammed */
} CxlRegionSpec;

typedef struct CxlRegionInfo {
	uint64_t hpa, len;
	uint64_t dpa;
	unsigned ways;
	uint32_t granularity;
	CxlMemdev *memdevs[CXL_DRIVER_MAX_WAYS]; /* by position; NULL where not ours to know */
	bool adopted;
} CxlRegionInfo;

unsigned cxl_driver_n_windows(const CxlDriver *driver);
const CxlWindow *cxl_driver_window(const CxlDriver *driver, unsigned index);
/* (!) All or nothing: what was committed is taken back when a later decoder refuses. */
int cxl_driver_program(CxlDriver *driver, const CxlRegionSpec *spec, CxlRegion **ret_region);
/* (!) Frees REGION on success. Accepted extents behind it are not asked about. */
int cxl_driver_unprogram(CxlDriver *driver, CxlRegion *region);
/* A decoder between window and device that was found committed and belongs to no region of ours */
typedef struct CxlForeignDecoder {
	const char *owner; /* "host bridge 1", "device 0d:00.0"; valid as long as the driver */
	unsigned index;
	uint64_t hpa, len;
	bool locked;
} CxlForeignDecoder;

/* The first one on the way to MEMDEV, from the host bridge down; false if there is none. */
bool cxl_memdev_find_foreign(const CxlMemdev *memdev, CxlForeignDecoder *ret_decoder);
/*
 * (!) Takes back, from the host bridge down, those that lie in [HPA, HPA + LEN): what an earlier
 * host left behind. -EPERM: one is locked. Those above one that must stay stay too.
 */
int cxl_memdev_reset_foreign(CxlMemdev *memdev, uint64_t hpa, uint64_t len);
const CxlRegionInfo *cxl_region_info(const CxlRegion *region);
CxlRegion *cxl_driver_first_region(CxlDriver *driver);
CxlRegion *cxl_region_next(CxlRegion *region);
/*
 * Where DPA is in host physical address space, through our regions: 0, or -ENOENT. *ret_run: bytes
 * from there on that stay contiguous in both spaces.
 */
int cxl_memdev_hpa_of_dpa(const CxlMemdev *memdev, uint64_t dpa, uint64_t *ret_hpa,
			  uint64_t *ret_run);

/* ---- dynamic capacity ---- */

typedef struct CxlTag {
	uint8_t b[CXL_DC_TAG_LEN]; /* in text order; all zero = untagged */
} CxlTag;

typedef struct CxlHostExtent {
	uint64_t dpa;
	uint64_t len;
	uint64_t hpa; /* of its first byte, CXL_NO_HPA without decoder; contiguous if ways is 1 */
	unsigned ways;
	uint16_t shared_seq;
} CxlHostExtent;

/* Extents of one tag (or the untagged ones of one chain) in one region, in assembly order */
typedef struct CxlDcGroup {
	uint64_t id; /* unique in this CxlDcd; 0 while it is only offered */
	CxlTag tag;
	bool tagged;
	bool recovered; /* found accepted when we started */
	unsigned region;
	uint64_t len; /* sum */
	uint32_t n_extents;
	const CxlHostExtent *extents;
} CxlDcGroup;

typedef struct CxlDpaRange {
	uint64_t dpa;
	uint64_t len;
} CxlDpaRange;

typedef enum CxlAccept {
	CXL_ACCEPT_NONE,
	CXL_ACCEPT_ALL,
	CXL_ACCEPT_SOME, /* those whose TAKE was set; whole groups only in sharable regions */
} CxlAccept;

typedef enum CxlRelease {
	CXL_RELEASE_KEEP,   /* in use; the device will ask again, or cxl_dcd_release() comes */
	CXL_RELEASE_GROUP,  /* give back the whole group, as Linux does */
	CXL_RELEASE_RANGES, /* give back what was asked for and keep the rest */
} CxlRelease;

/*
 * What the host wants. All may be NULL. Groups and ranges are valid during the call only.
 * The order for a group: accept, mapped, then release and/or revoked.
 */
typedef struct CxlDcdOps {
	/*
	 * TAKE has offer->n_extents entries, preset to false. NULL: accept all. A recovered group
	 * is offered too; extents of it that are not taken are given back.
	 */
	CxlAccept (*accept)(void *opaque, const CxlDcGroup *offer, bool *take);
	/* The device has confirmed: the memory is there, at the extents' hpa. */
	void (*mapped)(void *opaque, const CxlDcGroup *group);
	/* The device took nothing of what was accepted; rc as from cxl_memdev_command(). */
	void (*refused)(void *opaque, const CxlDcGroup *group, int rc);
	/* The device asks for RANGES back. Unless kept, nobody may use them any more. NULL: group.
	 */
	CxlRelease (*release)(void *opaque, const CxlDcGroup *group, const CxlDpaRange *ranges,
			      uint32_t n_ranges);
	/* Gone already: a forced release, or the device's list no longer has it. */
	void (*revoked)(void *opaque, const CxlDcGroup *group, const CxlDpaRange *ranges,
			uint32_t n_ranges);
	/* A record of any log but the DC log, before it is cleared */
	void (*event)(void *opaque, unsigned log, const CxlEventRecord *record);
} CxlDcdOps;

typedef struct CxlDcdOptions {
	uint32_t max_chain;   /* extents in one More chain (65536); longer ones are declined */
	unsigned chain_ms;    /* time-out of an unfinished chain (20000) */
	uint32_t max_extents; /* accepted in all (65536) */
	bool allow_unmapped;  /* accept extents that no decoder of ours covers */
} CxlDcdOptions;

/*
 * (!) Sets the interrupt policy, reads the accepted list to its end and recovers what is in it.
 * One per device. OPS is copied; OPTIONS may be NULL. Works without DC too: general events only.
 */
int cxl_dcd_start(CxlMemdev *memdev, const CxlDcdOps *ops, void *opaque,
		  const CxlDcdOptions *options, CxlDcd **ret_dcd);
/* Frees the driver's knowledge; the device keeps its state. cxl_driver_free() does it too. */
void cxl_dcd_free(CxlDcd *dcd);
/* (!) Waits for events, at most TIMEOUT_MS, and handles them: number of records, or -errno. */
int cxl_dcd_poll(CxlDcd *dcd, unsigned timeout_ms);
/* (!) Reads the accepted list again and makes our table agree: groups that appeared are recovered,
 * what disappeared is revoked. Done by itself when the outcome of a command is unknown. */
int cxl_dcd_resync(CxlDcd *dcd);
/* (!) After cxl_memdev_resume(): forgets records read and not handled, sets the interrupt policy,
 * and resyncs. Offers that were not answered come again. */
int cxl_dcd_resume(CxlDcd *dcd);
/* (!) Gives back a group by tag or id, or all accepted parts of a DPA range. -ENOENT: not held. */
int cxl_dcd_release_tag(CxlDcd *dcd, const CxlTag *tag);
int cxl_dcd_release_group(CxlDcd *dcd, uint64_t id);
int cxl_dcd_release_range(CxlDcd *dcd, uint64_t dpa, uint64_t len);
/* Accepted groups in the order they came; FUNC returns false to stop. 0 or -ENOMEM. */
int cxl_dcd_foreach(const CxlDcd *dcd, bool (*func)(void *opaque, const CxlDcGroup *group),
		    void *opaque);
bool cxl_dcd_has_tag(const CxlDcd *dcd, const CxlTag *tag);

typedef struct CxlDcdStats {
	uint32_t n_groups;
	uint32_t n_extents;
	uint64_t len;        /* bytes accepted */
	uint32_t generation; /* of the list as last read */
	uint64_t n_records;
	uint64_t n_declined; /* extents offered and not taken, for whatever reason */
	uint64_t n_chain_timeouts;
	uint64_t n_resyncs;
} CxlDcdStats;
void cxl_dcd_stats(const CxlDcd *dcd, CxlDcdStats *ret_stats);

/* ---- the usual policy: all, none, or a list of tags ---- */

typedef struct CxlAcceptList {
	bool all;
	uint32_t n_tags;
	CxlTag *tags;
} CxlAcceptList;

/* "all", "none" or "TAG,TAG,..."; -EINVAL, -ENOMEM. Free with cxl_accept_list_clear(). */
int cxl_accept_list_parse(const char *text, CxlAcceptList *ret_list);
void cxl_accept_list_clear(CxlAcceptList *list);
CxlAccept cxl_accept_list_judge(const CxlAcceptList *list, const CxlDcGroup *offer);
/* Canonical text of a tag is 36 characters and a NUL. */
#define CXL_TAG_TEXT_LEN 37
int cxl_tag_parse(const char *text, CxlTag *ret_tag);
void cxl_tag_format(const CxlTag *tag, char text[CXL_TAG_TEXT_LEN]);

#endif
