/* SPDX-License-Identifier: BSD-3-Clause */
/* Process host: the memory link of a port. */
#include "host/process_host_priv.h"

/* Each piece of a map takes up to three of the process's mappings, of which the kernel allows
 * 65530 unless told otherwise: one in the window, one for slow accesses, one all-ones beside it. */
#define MAX_MAPS 20000u

static void link_changed(void *opaque)
{
	host_port_changed(opaque);
}

static void link_closed(void *opaque)
{
	host_port_closed(opaque);
}

static const FabricLinkOps link_ops = { .changed = link_changed, .closed = link_closed };

bool host_port_open_link(HostPort *port, int mem_fd, GError **error)
{
	port->link = fabric_link_new(port->endpoint, mem_fd, port->host->session.b, MAX_MAPS,
				     &link_ops, port, REQUEST_MS, error);
	return port->link;
}
