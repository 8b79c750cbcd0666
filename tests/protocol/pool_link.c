/* SPDX-License-Identifier: BSD-3-Clause */
/* A scripted host end of a memory link: the test decides when and what it answers. */
#include "pool_link.h"

#include "device/device.h"
#include "mem_link_raw.h"

LinkPeer *link_peer_new(int fd)
{
	LinkPeer *peer = g_new0(LinkPeer, 1);

	peer->fd = fd;
	peer->maps = g_array_new(FALSE, FALSE, sizeof(LinkMap));
	return peer;
}

static LinkMap *map_at_index(const LinkPeer *peer, guint i)
{
	return &g_array_index(peer->maps, LinkMap, i);
}

void link_peer_free(LinkPeer *peer)
{
	if (peer == NULL)
		return;
	link_peer_stop(peer);
	for (guint i = 0; i < peer->maps->len; i++)
		close(map_at_index(peer, i)->fd);
	g_array_unref(peer->maps);
	close(peer->fd);
	g_free(peer);
}

/* ---- hello ---- */

MemLinkWelcomeStatus link_peer_try_hello(LinkPeer *peer, const MemLinkHeld *held, uint32_t n_held)
{
	MemLinkWelcomeMessage *welcome;
	g_autoptr(LinkMessage) message = NULL;

	raw_put(peer->fd, MEM_LINK_HELLO, 0, 0,
		ARRAY(MEM_LINK_VERSION | (uint64_t)UINT32_MAX << 32, n_held, peer->session, 0), 4);
	if (n_held > 0)
		raw_put(peer->fd, MEM_LINK_HELD, n_held, 0, (const uint64_t *)(const void *)held,
			n_held * sizeof(*held) / 8);
	message = link_expect(peer, MEM_LINK_WELCOME);
	welcome = (MemLinkWelcomeMessage *)(void *)message->bytes;
	return (MemLinkWelcomeStatus)le32_get(welcome->status);
}

void link_peer_hello(LinkPeer *peer, const MemLinkHeld *held, uint32_t n_held)
{
	g_assert_cmpint(link_peer_try_hello(peer, held, n_held), ==, MEM_LINK_WELCOME_OK);
	/* First the state of every decoder: a host that comes back may have missed a change. */
	for (unsigned i = 0; i < DEVICE_N_DECODERS; i++)
		link_oblige(peer, MEM_LINK_DECODER);
}

/* ---- messages ---- */

LinkMessage *link_take(LinkPeer *peer, int wait_ms)
{
	struct pollfd pfd = { .fd = peer->fd, .events = POLLIN };
	g_autofree LinkMessage *message = g_new0(LinkMessage, 1);
	int n_fds = 0;
	ssize_t got;

	if (poll(&pfd, 1, wait_ms) <= 0)
		return NULL;
	got = fdpass_recv(peer->fd, message->bytes, sizeof(message->bytes), message->fds,
			  MEM_LINK_MAX_PREPARE, &n_fds, MSG_DONTWAIT);
	if (got <= 0)
		return NULL;
	message->n_fds = (unsigned)n_fds;
	message->len = (size_t)got;
	/* A device of ours says nothing malformed, whatever was done to it. */
	g_assert_nonnull(
		mem_link_check_message(message->bytes, message->len, message->n_fds, false));
	message->type = (MemLinkType)le16_get(message->header.type);
	message->count = le16_get(message->header.count);
	message->id = le64_get(message->header.id);
	peer->n_seen[message->type]++;
	return g_steal_pointer(&message);
}

void link_message_free(LinkMessage *message)
{
	for (unsigned i = 0; message != NULL && i < message->n_fds; i++) {
		if (message->fds[i] >= 0)
			close(message->fds[i]);
	}
	g_free(message);
}

LinkMessage *link_expect(LinkPeer *peer, MemLinkType type)
{
	LinkMessage *message = link_take(peer, WAIT_MS);

	g_assert_nonnull(message);
	g_assert_cmpint(message->type, ==, type);
	return message;
}

void link_expect_silence(LinkPeer *peer)
{
	struct pollfd pfd = { .fd = peer->fd, .events = POLLIN };

	g_assert_cmpint(poll(&pfd, 1, 0), ==, 0);
}

bool link_is_closed(LinkPeer *peer)
{
	struct pollfd pfd = { .fd = peer->fd };

	return poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLHUP) != 0;
}

/* ---- obeying ---- */

static guint index_of(const LinkPeer *peer, uint64_t id)
{
	for (guint i = 0; i < peer->maps->len; i++) {
		if (map_at_index(peer, i)->id == id)
			return i;
	}
	return UINT_MAX;
}

static void forget(LinkPeer *peer, guint index)
{
	close(map_at_index(peer, index)->fd);
	g_array_remove_index_fast(peer->maps, index);
}

/* Of a map with parts revoked it is not noted which they are. */
static bool is_vacant(LinkPeer *peer, uint64_t dpa)
{
	const LinkMap *map = link_map_at(peer, dpa);

	return map == NULL || map->revoked_len > 0;
}

static void apply_prepare(LinkPeer *peer, LinkMessage *message)
{
	const MemLinkPrepareEntry *entry = (const void *)(&message->header + 1);

	for (unsigned i = 0; i < message->count; i++, entry++) {
		LinkMap map = {
			.id = le64_get(entry->map_id),
			.dpa = le64_get(entry->dpa),
			.len = le64_get(entry->len),
			.offset = le64_get(entry->offset),
			.incarnation = le64_get(entry->incarnation),
			.fd = message->fds[i],
			.writable = (le32_get(entry->flags) & MEM_LINK_PREPARE_WRITABLE) != 0,
		};

		g_assert_cmpuint(index_of(peer, map.id), ==, UINT_MAX);
		g_assert_true(is_vacant(peer, map.dpa));
		message->fds[i] = -1;
		g_array_append_val(peer->maps, map);
	}
}

static void apply_expose(LinkPeer *peer, const LinkMessage *message)
{
	const MemLinkIdEntry *entry = (const void *)(&message->header + 1);

	for (unsigned i = 0; i < message->count; i++, entry++) {
		guint index = index_of(peer, le64_get(entry->map_id));

		g_assert_cmpuint(index, !=, UINT_MAX);
		g_assert_false(map_at_index(peer, index)->exposed);
		map_at_index(peer, index)->exposed = true;
	}
}

static void apply_revoke(LinkPeer *peer, const LinkMessage *message)
{
	const MemLinkRevokeEntry *entry = (const void *)(&message->header + 1);

	for (unsigned i = 0; i < message->count; i++, entry++) {
		guint index = index_of(peer, le64_get(entry->map_id));
		uint64_t dpa = le64_get(entry->dpa), len = le64_get(entry->len);
		LinkMap *map;

		g_assert_cmpuint(index, !=, UINT_MAX);
		map = map_at_index(peer, index);
		g_assert_true(dpa >= map->dpa && dpa + len <= map->dpa + map->len);
		map->revoked_len += len;
		g_assert_cmpuint(map->revoked_len, <=, map->len);
		if (map->revoked_len == map->len)
			forget(peer, index);
	}
}

/* A drop may name maps whose prepare was refused. */
static void apply_drop(LinkPeer *peer, const LinkMessage *message)
{
	const MemLinkIdEntry *entry = (const void *)(&message->header + 1);

	for (unsigned i = 0; i < message->count; i++, entry++) {
		guint index = index_of(peer, le64_get(entry->map_id));

		if (index != UINT_MAX)
			forget(peer, index);
	}
}

static void apply_decoder(LinkPeer *peer, const LinkMessage *message)
{
	const MemLinkDecoderEntry *entry = (const void *)(&message->header + 1);

	g_assert_cmpuint(le32_get(entry->index), <, MEM_LINK_MAX_DECODERS);
	peer->decoders[le32_get(entry->index)] = *entry;
}

void link_apply(LinkPeer *peer, LinkMessage *message)
{
	switch (message->type) {
	case MEM_LINK_PREPARE:
		apply_prepare(peer, message);
		break;
	case MEM_LINK_EXPOSE:
		apply_expose(peer, message);
		break;
	case MEM_LINK_REVOKE:
		apply_revoke(peer, message);
		break;
	case MEM_LINK_DROP:
		apply_drop(peer, message);
		break;
	case MEM_LINK_DECODER:
		apply_decoder(peer, message);
		break;
	default:
		g_assert_not_reached();
	}
}

void link_answer(LinkPeer *peer, const LinkMessage *message, MemLinkStatus status)
{
	raw_done(peer->fd, message->id, status);
}

void link_oblige(LinkPeer *peer, MemLinkType type)
{
	g_autoptr(LinkMessage) message = link_expect(peer, type);

	link_apply(peer, message);
	link_answer(peer, message, MEM_LINK_OK);
}

unsigned link_serve(LinkPeer *peer)
{
	unsigned n = 0;

	for (;; n++) {
		g_autoptr(LinkMessage) message = link_take(peer, 0);

		if (message == NULL)
			return n;
		link_apply(peer, message);
		link_answer(peer, message, MEM_LINK_OK);
	}
}

/* ---- a thread that obeys, in its own time ---- */

typedef struct Due {
	gint64 at;
	LinkMessage *message;
} Due;

static void *peer_run(void *data)
{
	LinkPeer *peer = data;
	g_autoptr(GQueue) waiting = g_queue_new();

	while (!g_atomic_int_get(&peer->stop) || waiting->length > 0) {
		LinkMessage *message = link_take(peer, 1);
		const Due *next;

		if (message != NULL) {
			Due *due = g_new(Due, 1);

			due->at = g_get_monotonic_time() + peer->delay_ms * (gint64)1000;
			due->message = message;
			g_queue_push_tail(waiting, due);
		}
		while ((next = g_queue_peek_head(waiting)) != NULL &&
		       (next->at <= g_get_monotonic_time() || g_atomic_int_get(&peer->stop))) {
			link_apply(peer, next->message);
			link_answer(peer, next->message, MEM_LINK_OK);
			link_message_free(next->message);
			g_free(g_queue_pop_head(waiting));
		}
	}
	return NULL;
}

void link_peer_run(LinkPeer *peer, unsigned delay_ms)
{
	g_assert_null(peer->thread);
	peer->delay_ms = delay_ms;
	g_atomic_int_set(&peer->stop, 0);
	peer->thread = g_thread_new("link peer", peer_run, peer);
}

void link_peer_stop(LinkPeer *peer)
{
	if (peer->thread == NULL)
		return;
	g_atomic_int_set(&peer->stop, 1);
	g_thread_join(g_steal_pointer(&peer->thread));
}

/* ---- looking at it ---- */

LinkMap *link_map_at(LinkPeer *peer, uint64_t dpa)
{
	for (guint i = 0; i < peer->maps->len; i++) {
		LinkMap *map = map_at_index(peer, i);

		if (dpa >= map->dpa && dpa < map->dpa + map->len)
			return map;
	}
	return NULL;
}

unsigned link_n_exposed(const LinkPeer *peer)
{
	unsigned n = 0;

	for (guint i = 0; i < peer->maps->len; i++)
		n += map_at_index(peer, i)->exposed;
	return n;
}

void *link_map_memory(const LinkMap *map, int prot)
{
	return mmap(NULL, map->len, prot, MAP_SHARED, map->fd, (off_t)map->offset);
}
