/* SPDX-License-Identifier: BSD-3-Clause */
/* A fake daemon behind a vhost-user back end, memory for it, and what both had to say. */
#ifndef TESTS_VHOST_TRIAL_H
#define TESTS_VHOST_TRIAL_H

#include "vhost_fake.h"

#include "machine/vhost_backend.h"

#define TRIAL_QUIET_MS   500
#define TRIAL_REGION_LEN 0x10000u

typedef struct Witness {
	GMutex lock;
	GCond changed;
	GString *said;
	unsigned n_broken;
} Witness;

void witness_init(Witness *witness);
void witness_clear(Witness *witness);
/* For a log. */
void witness_log(void *opaque, const char *line);
/* Until TEXT has been said and the device has been broken N_BROKEN times. */
void witness_wait(Witness *witness, const char *text, unsigned n_broken);
/* Until TEXT has been said N times, and no more than that. */
void witness_count(Witness *witness, const char *text, unsigned n);

/* How a fake daemon is: see vhost_fake.h. */
typedef struct Trial {
	unsigned traits;
	enum fake_lie lie;
	unsigned lie_at, lie_nth;
} Trial;

VhostBackend *trial_spawn(const Trial *trial, Witness *witness, GError **error);
VhostBackend *trial_spawn_good(const Trial *trial, Witness *witness);
/* The one child a forking daemon has, or itself. */
pid_t trial_serving_pid(const VhostBackend *backend, const Trial *trial);

GuestRegion region_make(unsigned number);
void region_end(GuestRegion *region);
/* Whether PID has the region's file mapped; false when it is no more. */
bool region_is_mapped(pid_t pid, unsigned number);
/* Two rings there; the descriptors are the first one's. */
void region_fill_rings(const GuestRegion *region, VhostUserRing *rings, int kick_fd, int call_fd);
int region_add(VhostBackend *backend, const GuestRegion *region);
void region_take(VhostBackend *backend, const GuestRegion *region);

#endif
