/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of `softdcd host` share: devices, the groups accepted of them, and telling. */
#ifndef CLI_HOST_H
#define CLI_HOST_H

#include "cli/cli.h"
#include "host/process_host.h"

#include <json-glib/json-glib.h>

/* For so long after a pool's return its maps are compared whenever they change. */
#define HOST_RECHECK_US (10 * (int64_t)G_USEC_PER_SEC)

typedef struct HostCmd HostCmd;
typedef struct HostOut HostOut; /* cli/host_out.h */
typedef struct HostDevice HostDevice;

/* Where a run of bytes of an extent is. */
typedef struct HostMap {
	uint64_t dpa, len, hpa;
	ProcessHostPlace place;
} HostMap;

typedef enum HostChecked {
	HOST_UNCHECKED, /* no --check, or memory that cannot be written */
	HOST_FILLED,
	HOST_VERIFIED, /* what an earlier host had written was still there */
} HostChecked;

/* What the driver calls a group: the extents of one tag, or of one untagged offer. */
typedef struct HostGroup {
	HostDevice *device;
	uint64_t id;
	CxlTag tag;
	bool tagged, recovered;
	unsigned region;
	GArray *extents;    /* CxlHostExtent, in assembly order */
	GArray *maps;       /* HostMap; all of the extents, once it is told */
	bool is_told;       /* its acceptance: only when all of it can be reached */
	bool is_going;      /* given back before it was told */
	bool needs_filling; /* --check has not written here before */
	HostChecked checked;
} HostGroup;

/* Capacity the host has agreed to give back; whether it went the driver's table tells. */
typedef struct HostLeaving {
	uint64_t group;
	CxlTag tag;
	bool tagged;
	GArray *ranges; /* CxlDpaRange */
	const char *why;
} HostLeaving;

struct HostDevice {
	HostCmd *cmd;
	char *name;
	unsigned port;
	GHashTable *groups;       /* id -> HostGroup */
	GPtrArray *leaving;       /* HostLeaving */
	bool is_stale;            /* extents of some group have changed */
	unsigned n_untold;        /* groups */
	bool is_back;             /* between coming back and the end of its resync */
	int64_t recheck_until_us; /* its pool may still be putting its maps right */
};

struct HostCmd {
	const CliArgs *args;
	ProcessHost *host;
	HostOut *out;
	CxlAcceptList accept;
	HostDevice *devices;
	unsigned n_devices;
	bool is_human;
	bool checks;
	bool expects_zeros; /* in what comes new */
	uint64_t seed;
	bool has_mismatch;
};

/* ---- groups (host_groups.c) ---- */

extern const CxlDcdOps host_dcd_ops; /* opaque: HostDevice */

void host_device_init(HostDevice *device, HostCmd *cmd, const char *name, unsigned port);
void host_device_clear(HostDevice *device);
/* Tells what the last callbacks have led to. After every process_host_poll(). */
void host_device_settle(HostDevice *device);
/* Maps have changed: tells groups that are whole now, or are somewhere else. */
void host_device_remapped(HostDevice *device);
/* Gives back everything: false if some of it could not be. */
bool host_device_leave(HostDevice *device);
/* --check of everything; false on a mismatch. */
bool host_device_verify(HostDevice *device);
uint64_t host_group_len(const HostGroup *group);

/* ---- telling (host_tell.c): one line on stdout for each change ---- */

void host_tell_attached(HostDevice *device);
/* EVENT: "accepted", or "remapped" when all that changed is where it is mapped. */
void host_tell_accepted(const HostGroup *group, const char *event);
/* EVENT: "released" or "lost". */
void host_tell_gone(HostDevice *device, const char *event, const char *why, const CxlTag *tag,
		    const CxlDpaRange *ranges, uint32_t n_ranges);
void host_tell_kept(const HostGroup *group, const CxlDpaRange *ranges, uint32_t n_ranges);
void host_tell_away(HostDevice *device, const char *why);
void host_tell_resumed(HostDevice *device, bool kept, uint64_t away_us);
void host_tell_left(HostDevice *device);
void host_tell_mismatch(const HostGroup *group, uint64_t dpa, uint64_t expected, uint64_t found);

/* ---- --check (host_check.c) ---- */

/*
 * Fills a group with a pattern made of seed, tag, incarnation and place, or verifies what is there
 * if it has it already. False: something else is there, which has been told.
 */
bool host_check_accepted(HostGroup *group);
/* False: it does not have what has been written; true also when it is no longer mapped. */
bool host_check_held(HostGroup *group);

#endif
