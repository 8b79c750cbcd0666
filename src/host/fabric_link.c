/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory link to endpoint: what a device asks over its link, as calls to the fabric. */
#include "host/fabric_link.h"

struct FabricLink {
	FabricEndpoint *endpoint;
	FabricLinkOps ops;
	void *opaque;
	MemLinkClient *client;
};

static void tell_changed(FabricLink *link)
{
	if (link->ops.changed)
		link->ops.changed(link->opaque);
}

static int link_prepare(void *opaque, const MemLinkClientMap *map)
{
	FabricLink *link = opaque;
	FabricMap fabric_map = {
		.id = map->id,
		.dpa = map->dpa,
		.len = map->len,
		.offset = map->offset,
		.incarnation = map->incarnation,
		.writable = map->writable,
		.fd = map->fd,
	};

	return fabric_endpoint_prepare(link->endpoint, &fabric_map);
}

static int link_expose(void *opaque, const uint64_t *ids, size_t n)
{
	FabricLink *link = opaque;
	int rc = fabric_endpoint_expose(link->endpoint, ids, n);

	tell_changed(link);
	return rc;
}

static int link_revoke(void *opaque, uint64_t map_id, uint64_t dpa, uint64_t len)
{
	FabricLink *link = opaque;
	int rc = fabric_endpoint_revoke(link->endpoint, map_id, dpa, len);

	tell_changed(link);
	return rc;
}

static int link_drop(void *opaque, uint64_t map_id)
{
	FabricLink *link = opaque;
	int rc = fabric_endpoint_drop(link->endpoint, map_id);

	tell_changed(link);
	return rc;
}

static int link_decoder(void *opaque, const MemLinkClientDecoder *decoder)
{
	FabricLink *link = opaque;
	FabricDecoder fabric_decoder = {
		.index = decoder->index,
		.committed = decoder->committed,
		.hpa = decoder->hpa,
		.len = decoder->len,
		.dpa = decoder->dpa,
		.granularity = decoder->granularity,
		.ways = decoder->ways,
	};

	return fabric_endpoint_decoder(link->endpoint, &fabric_decoder);
}

static void link_closed(void *opaque)
{
	FabricLink *link = opaque;

	if (link->ops.closed)
		link->ops.closed(link->opaque);
}

static const MemLinkClientOps link_ops = {
	.prepare = link_prepare,
	.expose = link_expose,
	.revoke = link_revoke,
	.drop = link_drop,
	.decoder = link_decoder,
	.closed = link_closed,
};

FabricLink *fabric_link_new(FabricEndpoint *ep, int fd, const uint8_t session[16],
			    uint32_t max_maps, const FabricLinkOps *ops, void *opaque,
			    unsigned timeout_ms, GError **error)
{
	size_t n;
	g_autofree FabricHeld *maps = fabric_endpoint_held(ep, &n);
	g_autofree MemLinkHeld *held = g_new(MemLinkHeld, n);
	g_autoptr(FabricLink) link = g_new0(FabricLink, 1);

	for (size_t i = 0; i < n; i++) {
		held[i] = (MemLinkHeld){
			.map_id = le64_put(maps[i].map_id),
			.dpa = le64_put(maps[i].dpa),
			.len = le64_put(maps[i].len),
			.incarnation = le64_put(maps[i].incarnation),
		};
	}
	link->endpoint = ep;
	link->ops = *ops;
	link->opaque = opaque;
	link->client = mem_link_client_new(fd, session, max_maps, held, (uint32_t)n, &link_ops,
					   link, timeout_ms, error);
	return link->client ? g_steal_pointer(&link) : NULL;
}

void fabric_link_free(FabricLink *link)
{
	if (!link)
		return;
	mem_link_client_free(link->client);
	g_free(link);
}

bool fabric_link_is_connected(FabricLink *link)
{
	return mem_link_client_is_connected(link->client);
}

bool fabric_link_tell_misses(FabricLink *link, uint64_t reads, uint64_t writes)
{
	return mem_link_client_tell_misses(link->client, reads, writes);
}

int fabric_link_help(FabricLink *link, int fd, uint64_t timeout_us)
{
	return mem_link_client_help(link->client, fd, timeout_us);
}
