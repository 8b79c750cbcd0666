/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the process host share: host, ports, and their connections. */
#ifndef HOST_PROCESS_HOST_PRIV_H
#define HOST_PROCESS_HOST_PRIV_H

#include "fabric/fabric.h"
#include "host/fabric_link.h"
#include "host/process_host.h"
#include "host/window_map.h"
#include "link/vfu_client.h"
#include "util/uuid.h"

#include <stdatomic.h>

#define REQUEST_MS 5000u

/* A device gives us 15 ms to commit a decoder, which a busy machine may miss. */
#define MAX_COMMITS     12u
#define COMMIT_PAUSE_US 20000u

typedef struct HostPort {
	ProcessHost *host;
	unsigned port;
	VfuClient *vfu;
	FabricLink *link; /* NULL while the device is away */
	FabricEndpoint *endpoint;
	CxlMemdev *memdev;
	int irq_fd; /* all vectors of the device */

	/* Where to find it again; NULL = it cannot go away and come back. */
	char *vfio_path, *mem_path;
	char *last_error; /* of coming back, as logged */
	bool is_served;
	CxlDcdOps dcd_ops;
	void *dcd_opaque;
	CxlDcdOptions dcd_options;
	CxlDcd *dcd; /* NULL also if the device went away just when it was to be served */
	bool is_away;
	uint64_t away_us;    /* since when; monotonic, as all times here */
	uint64_t next_us;    /* of the next try to connect, or of the next look at its events */
	uint64_t backoff_us; /* until the next but one */
	unsigned n_seen;     /* of n_changes */
	/* The link's thread writes these. */
	atomic_uint n_changes; /* maps that came or went */
	atomic_bool is_closed;
} HostPort;

struct ProcessHost {
	ProcessHostConfig config;
	WindowMap *window;
	uint64_t window_hpa;
	Fabric *fabric;
	CxlDriver *driver;
	HostPort ports[PROCESS_HOST_MAX_PORTS];
	unsigned n_ports;
	Uuid session;
	int wake_fd;             /* eventfd: process_host_poll() has something to do */
	atomic_bool is_sleeping; /* in there */
};

/* The next port, connected to its registers but not to the link and not plugged. Owns VFU_FD. */
HostPort *host_port_new(ProcessHost *host, int vfu_fd, GError **error);
int host_port_plug(HostPort *port); /* returns its number */
void host_port_clear(HostPort *port);
/* Connects the memory link, saying hello with what the endpoint holds. Owns FD. */
bool host_port_open_link(HostPort *port, int mem_fd, GError **error);
/* From the link's thread. */
void host_port_changed(HostPort *port);
void host_port_closed(HostPort *port);
void host_log(ProcessHost *host, const char *line);

#endif
