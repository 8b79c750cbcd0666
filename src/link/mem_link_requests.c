/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory link, device side: requests become messages, and messages are sent in order. */
#include "link/mem_link_conn.h"

#include <errno.h>

#define RETRY_US 1000 /* when too many descriptors are in flight: nothing tells when it is over */

/* How each call turns its items into entries. */
typedef struct RequestKind {
	MemLinkType type;
	bool is_certain;
	size_t item_len;
	void (*encode)(const void *item, void *entry);
} RequestKind;

static void encode_map(const void *item, void *entry)
{
	const MemLinkMap *map = item;

	*(MemLinkPrepareEntry *)entry = (MemLinkPrepareEntry){
		.map_id = le64_put(map->id),
		.dpa = le64_put(map->dpa),
		.len = le64_put(map->len),
		.offset = le64_put(map->offset),
		.incarnation = le64_put(map->incarnation),
		.flags = le32_put(map->writable ? MEM_LINK_PREPARE_WRITABLE : 0),
	};
}

static void encode_id(const void *item, void *entry)
{
	*(MemLinkIdEntry *)entry = (MemLinkIdEntry){ le64_put(*(const uint64_t *)item) };
}

static void encode_part(const void *item, void *entry)
{
	const MemLinkPart *part = item;

	*(MemLinkRevokeEntry *)entry = (MemLinkRevokeEntry){
		.map_id = le64_put(part->map_id),
		.dpa = le64_put(part->dpa),
		.len = le64_put(part->len),
	};
}

static void encode_decoder(const void *item, void *entry)
{
	const MemLinkDecoderState *decoder = item;

	*(MemLinkDecoderEntry *)entry = (MemLinkDecoderEntry){
		.index = le32_put(decoder->index),
		.flags = le32_put(decoder->committed ? MEM_LINK_DECODER_COMMITTED : 0),
		.ways = le32_put(decoder->ways),
		.granularity = le32_put(decoder->granularity),
		.hpa = le64_put(decoder->hpa),
		.len = le64_put(decoder->len),
		.dpa = le64_put(decoder->dpa),
	};
}

static const RequestKind prepare_kind = { MEM_LINK_PREPARE, false, sizeof(MemLinkMap), encode_map };
static const RequestKind expose_kind = { MEM_LINK_EXPOSE, false, sizeof(uint64_t), encode_id };
static const RequestKind revoke_kind = { MEM_LINK_REVOKE, true, sizeof(MemLinkPart), encode_part };
static const RequestKind drop_kind = { MEM_LINK_DROP, true, sizeof(uint64_t), encode_id };
static const RequestKind decoder_kind = { MEM_LINK_DECODER, false, sizeof(MemLinkDecoderState),
					  encode_decoder };

void mem_link_conn_part_done(MemLinkConn *conn, MemLinkRequest *request)
{
	if (--request->n_open > 0)
		return;
	g_queue_unlink(&conn->requests, &request->link);
	g_queue_push_tail_link(&conn->answered, &request->link);
}

/*
 * Tries one message. True: it is dealt with (sent, failed, or all is lost). False: it has to wait,
 * and the source knows for what.
 */
static bool try_send(MemLinkConn *conn, const MemLinkMessage *message)
{
	MemLinkRequest *request = message->owner;
	int rc;

	if (conn->broken)
		return true;
	if (conn->state != CONN_READY || g_hash_table_size(conn->sent) >= MEM_LINK_MAX_OUTSTANDING)
		return false;
	rc = mem_link_message_send(message, conn->fd);
	conn->wants_out = rc == -EAGAIN;
	conn->retry_at = rc == -ETOOMANYREFS ? g_get_monotonic_time() + RETRY_US : 0;
	if (rc == 0) {
		uint64_t *id = g_new(uint64_t, 1);

		*id = message->id;
		g_hash_table_insert(conn->sent, id, request);
	} else if (rc == -EAGAIN || rc == -ETOOMANYREFS) {
		return false;
	} else if (request->is_certain || rc == -EPIPE || rc == -ECONNRESET) {
		conn->broken = true;
	} else {
		request->failed = true;
		mem_link_conn_part_done(conn, request);
	}
	return true;
}

void mem_link_conn_flush(MemLinkConn *conn)
{
	MemLinkMessage *message;

	while ((message = mem_link_queue_peek(&conn->queue)) != NULL && try_send(conn, message))
		mem_link_message_free(mem_link_queue_pop(&conn->queue));
}

static void send_or_queue(MemLinkConn *conn, MemLinkMessage *message)
{
	MemLinkRequest *request = message->owner;
	int rc;

	if (mem_link_queue_peek(&conn->queue) == NULL && try_send(conn, message)) {
		mem_link_message_free(message);
		return;
	}
	rc = mem_link_queue_push(&conn->queue, message);
	if (rc == 0)
		return;
	mem_link_message_free(message);
	if (rc == -ENOBUFS || request->is_certain) {
		conn->broken = true;
	} else {
		request->failed = true;
		mem_link_conn_part_done(conn, request);
	}
}

static MemLinkMessage *build(MemLinkConn *conn, const RequestKind *kind, MemLinkRequest *request,
			     const uint8_t *items, unsigned n)
{
	const MemLinkFormat *format = mem_link_format(kind->type);
	MemLinkMessage *message;

	message = mem_link_message_new(format->fixed_len + (size_t)n * format->entry_len);
	message->owner = request;
	message->id = conn->next_id++;
	mem_link_put_header((MemLinkHeader *)(void *)message->bytes, kind->type, n, message->id);
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *item = items + i * kind->item_len;

		kind->encode(item, message->bytes + format->fixed_len + i * format->entry_len);
		if (format->fds_per_entry > 0)
			message->fds[message->n_fds++] =
				((const MemLinkMap *)(const void *)item)->fd;
	}
	return message;
}

static void submit(MemLinkServer *server, const RequestKind *kind, uint64_t req, const void *items,
		   size_t n)
{
	MemLinkConn *conn = mem_link_server_peek_conn(server);
	unsigned max = mem_link_format(kind->type)->max_count;
	MemLinkRequest *request;

	if (conn == NULL) {
		if (!kind->is_certain)
			mem_link_server_tell(server, req, false);
		return;
	}
	request = g_new0(MemLinkRequest, 1);
	request->link.data = request;
	request->req = req;
	request->is_certain = kind->is_certain;
	request->n_open = 1; /* until all parts are made */
	g_queue_push_tail_link(&conn->requests, &request->link);
	for (size_t i = 0; i < n && !conn->broken; i += max) {
		const uint8_t *first = (const uint8_t *)items + i * kind->item_len;

		request->n_open++;
		send_or_queue(conn, build(conn, kind, request, first, (unsigned)MIN(n - i, max)));
	}
	/* A broken connection answers from dispatch, for all requests in one go. */
	if (!conn->broken)
		mem_link_conn_part_done(conn, request);
	mem_link_conn_update_source(conn);
}

void mem_link_server_prepare(MemLinkServer *server, uint64_t req, const MemLinkMap *maps, size_t n)
{
	submit(server, &prepare_kind, req, maps, n);
}

void mem_link_server_expose(MemLinkServer *server, uint64_t req, const uint64_t *ids, size_t n)
{
	submit(server, &expose_kind, req, ids, n);
}

void mem_link_server_revoke(MemLinkServer *server, uint64_t req, const MemLinkPart *parts, size_t n)
{
	submit(server, &revoke_kind, req, parts, n);
}

void mem_link_server_drop(MemLinkServer *server, uint64_t req, const uint64_t *ids, size_t n)
{
	submit(server, &drop_kind, req, ids, n);
}

void mem_link_server_decoder(MemLinkServer *server, uint64_t req,
			     const MemLinkDecoderState *decoder)
{
	submit(server, &decoder_kind, req, decoder, 1);
}
