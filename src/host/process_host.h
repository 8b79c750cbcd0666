/* SPDX-License-Identifier: BSD-3-Clause */
/* Process host: a process as CXL host; its fixed memory window is a range of its own memory. */
#ifndef HOST_PROCESS_HOST_H
#define HOST_PROCESS_HOST_H

/*
 * Design. One window, one host bridge, a root port per device. The fabric decodes, the driver
 * enumerates and programs it over vfio-user, each device's memory link runs on a thread of its own
 * and maps into the window. The functions below belong to one thread; the window's memory to all.
 */

#include "driver/cxl_driver.h"

#include <glib.h>

typedef struct ProcessHost ProcessHost;

#define PROCESS_HOST_MAX_PORTS 16

/* All may be NULL. Called from process_host_poll(); must not call into the host but to look. */
typedef struct ProcessHostOps {
	/* The device is gone, or has closed: WHY is a sentence. What is mapped of it stays mapped.
	 */
	void (*away)(void *opaque, unsigned port, const char *why);
	/*
	 * It is back. KEPT: its registers still said what we had programmed; else its pool did not
	 * know us any more, and they have been programmed anew, at the same addresses. What became
	 * of the extents follows, by CxlDcdOps.
	 */
	void (*resumed)(void *opaque, unsigned port, bool kept, uint64_t away_us);
	/* Memory of the device has been mapped or unmapped, for whatever reason. */
	void (*remapped)(void *opaque, unsigned port);
} ProcessHostOps;

typedef struct ProcessHostConfig {
	uint64_t window_len; /* bytes, multiple of 256 MiB */
	CxlDriverOptions driver;
	ProcessHostOps ops;
	void *opaque;
	unsigned reconnect_ms; /* a device away for longer is given up; 0 = never */
	void (*log)(void *opaque, const char *line); /* may be NULL */
	void *log_opaque;
} ProcessHostConfig;

ProcessHost *process_host_new(const ProcessHostConfig *config, GError **error);
void process_host_free(ProcessHost *host);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ProcessHost, process_host_free)

/*
 * Connects the next port to a device: vfio-user and memory link, connected sockets, both owned.
 * Before process_host_start(). Returns the port, or -1.
 */
int process_host_plug(ProcessHost *host, int vfu_fd, int mem_fd, GError **error);
/*
 * The same, by the paths of its listening sockets. The device may go away and come back: see
 * process_host_poll(). Errors are G_IO_ERROR: NOT_FOUND and CONNECTION_REFUSED if nobody is there.
 */
int process_host_connect(ProcessHost *host, const char *vfio_path, const char *mem_path,
			 GError **error);
/* Enumerates, and commits decoders over all static and dynamic capacity of every device. */
bool process_host_start(ProcessHost *host, GError **error);

/* After process_host_start(): handles the events of a port from now on, see cxl_dcd_start(). */
bool process_host_serve(ProcessHost *host, unsigned port, const CxlDcdOps *ops, void *opaque,
			const CxlDcdOptions *options, GError **error);
/* NULL before that, and when the device went away in the middle of it and is not back yet. */
CxlDcd *process_host_dcd(ProcessHost *host, unsigned port);
/*
 * Waits at most TIMEOUT_MS for something to happen at any served port, and handles it. A device
 * that goes away is looked for from then on, after 20 ms first, then more and more rarely up to
 * once a second; when it is back it is made to say what it said before, and its extents are
 * compared with ours. Returns how many things happened, 0 also when woken; -1: a device is given
 * up, or has closed a connection that has no path.
 */
int process_host_poll(ProcessHost *host, unsigned timeout_ms, GError **error);
/* Ends a process_host_poll(), or the next one. From any thread, or a signal handler. */
void process_host_wake(ProcessHost *host);
bool process_host_is_away(ProcessHost *host, unsigned port);

/* The file behind a DPA, for other mappings of the same memory. */
typedef struct ProcessHostPlace {
	uint64_t incarnation; /* changes when the contents begin anew */
	uint64_t offset;      /* in fd */
	uint64_t run;         /* bytes from there on that are mapped alike */
	int fd;               /* borrowed; ours as long as any of the map is */
	bool writable;
} ProcessHostPlace;

/* False where nothing is mapped. */
bool process_host_find(ProcessHost *host, unsigned port, uint64_t dpa, ProcessHostPlace *ret);

CxlDriver *process_host_peek_driver(ProcessHost *host);
CxlMemdev *process_host_memdev(ProcessHost *host, unsigned port);
/* Where a host physical address is in this process; NULL outside the window. */
void *process_host_hva(ProcessHost *host, uint64_t hpa);
/* Access as the window's bus would do it: all-ones where nothing is, stores there vanish. */
void process_host_access(ProcessHost *host, uint64_t hpa, void *buf, uint64_t len, bool is_write);

#endif
