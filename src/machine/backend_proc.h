/* SPDX-License-Identifier: BSD-3-Clause */
/* A daemon that serves one machine: started, listened to, and gone for certain when we say so. */
#ifndef MACHINE_BACKEND_PROC_H
#define MACHINE_BACKEND_PROC_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct BackendProc BackendProc;

typedef struct BackendProcConfig {
	const char *name;        /* in messages: "virtiofsd" */
	const char *const *argv; /* argv[0] is a path; NULL at the end */
	int fd;                  /* borrowed; the daemon's descriptor BACKEND_PROC_FD. */
	/* What it writes, line by line; "NAME: " goes before it. From a thread of its own. */
	void (*log)(void *opaque, const char *line);
	void *opaque;
} BackendProcConfig;

#define BACKEND_PROC_FD      3
#define BACKEND_PROC_FD_TEXT "3"

/*
 * Starts it with no other descriptor of ours, and so that it is killed when the calling thread
 * ends: call this on one that lives as long as the process. It is in a session of its own, so that
 * a terminal's Ctrl-C is not for it. Errors name the program.
 */
BackendProc *backend_proc_spawn(const BackendProcConfig *config, GError **error);
/* Kills it first. */
void backend_proc_free(BackendProc *proc);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BackendProc, backend_proc_free)

pid_t backend_proc_pid(const BackendProc *proc);
/* PIDFD (owned) is a process that has to end too: daemons fork to get into a sandbox. */
void backend_proc_add_pidfd(BackendProc *proc, int pidfd);
/* It has ended by itself, or been killed. */
bool backend_proc_has_ended(BackendProc *proc);
/*
 * Kills it and returns when it is gone, with all it had mapped: its pidfds have said so. Only the
 * kernel can make that last, for a process in the middle of an I/O. Any thread, several times.
 */
void backend_proc_kill(BackendProc *proc);
/*
 * ENDED is called once, from the thread that reads what it writes, when it ends; at once if it has.
 * Not called any more after free().
 */
void backend_proc_on_end(BackendProc *proc, void (*ended)(void *opaque), void *opaque);
/*
 * How it ended, and the last it wrote, for an error message; gives it TIMEOUT_MS to end, else NULL.
 * Caller frees.
 */
char *backend_proc_last_words(BackendProc *proc, unsigned timeout_ms);

/* A pidfd of PID, close-on-exec, or -errno. */
int backend_proc_open_pidfd(pid_t pid);

#endif
