/* SPDX-License-Identifier: BSD-3-Clause */
/* A vhost-user daemon of one virtio device: its process, its table of guest memory, its rings. */
#ifndef MACHINE_VHOST_BACKEND_H
#define MACHINE_VHOST_BACKEND_H

/*
 * Design. Whatever goes wrong between us and the daemon ends the daemon: the connection is closed,
 * the process killed, and from the moment its pidfds say that it is gone it reaches nothing. So a
 * region's removal always ends with certainty: the daemon has said that it let go of it and that
 * what it had begun is finished, or it is no more. The device is then broken; the guest is told so.
 */

#include "machine/guest_memory.h"
#include "machine/vhost_user.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct VhostBackend VhostBackend;

typedef struct VhostBackendConfig {
	const char *name;        /* in messages: "virtiofsd /srv" */
	const char *const *argv; /* a path first; the socket is descriptor BACKEND_PROC_FD */
	bool listens;            /* it wants a listening socket, else a connected one */
	unsigned n_rings;
	unsigned hello_ms; /* until it is known what it can; 0 = 20 s */
	unsigned quiet_ms; /* for its table of memory; 0 = GUEST_MEMORY_QUIET_MS */
	void (*log)(void *opaque, const char *line); /* any thread; may be NULL */
	/* Serves no longer, unasked: it has ended, or memory its rings were in is gone. Any thread,
	 * with locks held: must not call back here. */
	void (*broken)(void *opaque);
	void *opaque;
} VhostBackendConfig;

/*
 * Starts the daemon and talks to it until it is known what it can. Call it on a thread that lives
 * as long as the process (backend_proc.h). Errors have the daemon's own last words.
 */
VhostBackend *vhost_backend_spawn(const VhostBackendConfig *config, GError **error);
/* Ends the daemon. Not listening to memory any more. */
void vhost_backend_free(VhostBackend *backend);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VhostBackend, vhost_backend_free)

uint64_t vhost_backend_features(const VhostBackend *backend);
uint32_t vhost_backend_max_regions(const VhostBackend *backend);
bool vhost_backend_is_alive(VhostBackend *backend);
pid_t vhost_backend_pid(const VhostBackend *backend);

/* For guest_memory_listen(): OPAQUE is the VhostBackend. Read-only regions are left out. */
extern const GuestListenerOps vhost_backend_listener_ops;

/* 0 or -errno as in vhost_user.h; -EFAULT: a ring is not in a region it knows (0 is in none), and
 * it runs on. */
int vhost_backend_start(VhostBackend *backend, uint64_t features, const VhostUserRing *rings,
			unsigned n);
/* When it returns the guest's rings are not used any more. */
void vhost_backend_stop(VhostBackend *backend);
/* The descriptor that ring's interrupts are raised with from now on, or -1. */
void vhost_backend_set_call(VhostBackend *backend, unsigned ring, int call_fd);

#endif
