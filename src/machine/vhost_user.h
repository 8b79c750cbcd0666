/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost-user front end: what a machine asks of a daemon that serves a virtio device. */
#ifndef MACHINE_VHOST_USER_H
#define MACHINE_VHOST_USER_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Thread-safe. Each call has a deadline, which also bounds waiting for another thread's call. It
 * returns 0, -EREMOTEIO (the back end refuses), -ETIMEDOUT, -EPROTO or -EIO; the last three mean
 * that the connection is closed, for good: the caller has to end the process behind it before it
 * counts as letting go of the guest's memory.
 */
typedef struct VhostUser VhostUser;

#define VHOST_USER_MAX_RINGS 32

typedef struct VhostUserRegion {
	uint64_t gpa, len, hva;
	int fd; /* borrowed */
	uint64_t offset;
} VhostUserRegion;

typedef struct VhostUserRing {
	uint16_t n; /* descriptors */
	uint64_t desc_hva, avail_hva, used_hva;
	int kick_fd, call_fd; /* borrowed; call_fd -1 = the driver polls */
} VhostUserRing;

/*
 * Takes over FD, a connected stream socket (owned, also on failure), and negotiates. Errors name
 * what the back end lacks: protocol features, acknowledgements, virtio 1, or N_RINGS rings.
 */
VhostUser *vhost_user_new(int fd, unsigned n_rings, unsigned timeout_ms, GError **error);
/* Closes the connection; what the back end does then is its affair. No call may be running. */
void vhost_user_free(VhostUser *vu);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VhostUser, vhost_user_free)

/* What it offers the guest: without the bits that are between it and us. */
uint64_t vhost_user_features(const VhostUser *vu);
/* Regions it can know at once. */
uint32_t vhost_user_max_regions(const VhostUser *vu);
/* It takes regions one by one; else only whole tables. */
bool vhost_user_has_slots(const VhostUser *vu);
/*
 * Which process answers, as it is now: 0 if that cannot be told, in particular when several do.
 * Asks it something first.
 */
pid_t vhost_user_ask_pid(VhostUser *vu, unsigned timeout_ms);

/* From the moment of any call's failure on. */
bool vhost_user_is_open(const VhostUser *vu);
/* Closes the connection at once, also under another thread's call. */
void vhost_user_shut(VhostUser *vu);

/* With slots. */
int vhost_user_add_region(VhostUser *vu, const VhostUserRegion *region, unsigned timeout_ms);
int vhost_user_remove_region(VhostUser *vu, const VhostUserRegion *region, unsigned timeout_ms);
/* Without: replaces all. */
int vhost_user_set_regions(VhostUser *vu, const VhostUserRegion *regions, unsigned n,
			   unsigned timeout_ms);

/* FEATURES: what the guest chose of vhost_user_features(). Rings of no descriptors are left out. */
int vhost_user_start(VhostUser *vu, uint64_t features, const VhostUserRing *rings, unsigned n,
		     unsigned timeout_ms);
/*
 * RINGS here and in settle(): those that run, a bit each; atomic, and looked at when it is our
 * turn. When it returns 0 none of them is looked at by the back end any more, requests begun have
 * ended, and the bits are cleared.
 */
int vhost_user_stop(VhostUser *vu, uint32_t *rings, unsigned timeout_ms);
int vhost_user_set_call(VhostUser *vu, unsigned ring, int call_fd, unsigned timeout_ms);
/*
 * Returns 0 when requests that were begun before have ended, on each of RINGS.
 * virtiofsd (1.x): it acknowledges the removal of a region at once, while a request being worked
 * on goes on with the table as it was; it does hold the ring's lock meanwhile, which enabling a
 * ring takes as well.
 */
int vhost_user_settle(VhostUser *vu, const uint32_t *rings, unsigned timeout_ms);

#endif
