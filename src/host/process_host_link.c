/* SPDX-License-Identifier: BSD-3-Clause */
/* Process host: what a device asks over its memory link goes to the fabric's endpoint. */
#include "host/process_host_priv.h"

/* Each piece of a map takes up to three of the process's mappings, of which the kernel allows
 * 65530 unless told otherwise: one in the window, one for slow accesses, one all-ones beside it. */
#define MAX_MAPS 20000u

static int link_prepare(void *opaque, const MemLinkClientMap *map)
{
	HostPort *port = opaque;
	FabricMap fabric_map = {
		.id = map->id,
		.dpa = map->dpa,
		.len = map->len,
		.offset = map->offset,
		.incarnation = map->incarnation,
		.writable = map->writable,
		.fd = map->fd,
	};

	return fabric_endpoint_prepare(port->endpoint, &fabric_map);
}

static int link_expose(void *opaque, const uint64_t *ids, size_t n)
{
	HostPort *port = opaque;
	int rc = fabric_endpoint_expose(port->endpoint, ids, n);

	host_port_changed(port);
	return rc;
}

static int link_revoke(void *opaque, uint64_t map_id, uint64_t dpa, uint64_t len)
{
	HostPort *port = opaque;
	int rc = fabric_endpoint_revoke(port->endpoint, map_id, dpa, len);

	host_port_changed(port);
	return rc;
}

static int link_drop(void *opaque, uint64_t map_id)
{
	HostPort *port = opaque;
	int rc = fabric_endpoint_drop(port->endpoint, map_id);

	host_port_changed(port);
	return rc;
}

static int link_decoder(void *opaque, const MemLinkClientDecoder *decoder)
{
	HostPort *port = opaque;
	FabricDecoder fabric_decoder = {
		.index = decoder->index,
		.committed = decoder->committed,
		.hpa = decoder->hpa,
		.len = decoder->len,
		.dpa = decoder->dpa,
		.granularity = decoder->granularity,
		.ways = decoder->ways,
	};

	return fabric_endpoint_decoder(port->endpoint, &fabric_decoder);
}

/* What is mapped stays mapped: the memory is ours until the device takes it back. */
static void link_closed(void *opaque)
{
	host_port_closed(opaque);
}

static const MemLinkClientOps link_ops = {
	.prepare = link_prepare,
	.expose = link_expose,
	.revoke = link_revoke,
	.drop = link_drop,
	.decoder = link_decoder,
	.closed = link_closed,
};

bool host_port_open_link(HostPort *port, int mem_fd, GError **error)
{
	size_t n;
	g_autofree FabricHeld *maps = fabric_endpoint_held(port->endpoint, &n);
	g_autofree MemLinkHeld *held = g_new(MemLinkHeld, n);

	for (size_t i = 0; i < n; i++) {
		held[i] = (MemLinkHeld){
			.map_id = le64_put(maps[i].map_id),
			.dpa = le64_put(maps[i].dpa),
			.len = le64_put(maps[i].len),
			.incarnation = le64_put(maps[i].incarnation),
		};
	}
	port->link = mem_link_client_new(mem_fd, port->host->session.b, MAX_MAPS, held, (uint32_t)n,
					 &link_ops, port, REQUEST_MS, error);
	return port->link;
}
