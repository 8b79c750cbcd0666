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

typedef struct ProcessHostConfig {
	uint64_t window_len; /* bytes, multiple of 256 MiB */
	CxlDriverOptions driver;
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
/* Enumerates, and commits decoders over all static and dynamic capacity of every device. */
bool process_host_start(ProcessHost *host, GError **error);

CxlDriver *process_host_peek_driver(ProcessHost *host);
CxlMemdev *process_host_memdev(ProcessHost *host, unsigned port);
/* Where a host physical address is in this process; NULL outside the window. */
void *process_host_hva(ProcessHost *host, uint64_t hpa);
/* Access as the window's bus would do it: all-ones where nothing is, stores there vanish. */
void process_host_access(ProcessHost *host, uint64_t hpa, void *buf, uint64_t len, bool is_write);

#endif
