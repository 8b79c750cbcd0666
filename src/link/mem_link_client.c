/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory link, host side: a thread of its own that carries out what the device asks. */
#include "link/mem_link_client.h"

#include "link/mem_link_book.h"
#include "link/mem_link_queue.h"
#include "link/vfu_spin.h"
#include "util/autofd.h"
#include "util/fdpass.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

struct MemLinkClient {
	int fd;
	int epoll_fd; /* what the thread sleeps on */
	const MemLinkClientOps *ops;
	void *opaque;
	GThread *thread;
	atomic_bool connected;
	atomic_bool stopping;
	/*
	 * Messages are received, carried out and answered under this lock, by the thread or by one
	 * that helps. All below is of whoever holds it.
	 */
	GMutex serving;
	bool over;
	MemLinkBook *book;
	uint64_t last_id;
	uint8_t *buf; /* MEM_LINK_MAX_MESSAGE */
	bool looks;   /* for the next message, which is due */
	VfuSpin help_spin;
	VfuSpin spin; /* the thread's own */
};

/* One message and the descriptors that came with it. What an op took is -EBADF here. */
typedef struct Received {
	const MemLinkFormat *format;
	const void *entries;
	unsigned n;
	int *fds;
} Received;

/* A handler returns a MemLinkStatus, or this when the device broke the protocol. */
#define VIOLATION (-EPROTO)

/* ---- what the device asks ---- */

static bool parse_map(const MemLinkPrepareEntry *entry, int fd, MemLinkClientMap *ret_map)
{
	uint32_t flags = le32_get(entry->flags);
	MemLinkClientMap map = {
		.id = le64_get(entry->map_id),
		.dpa = le64_get(entry->dpa),
		.len = le64_get(entry->len),
		.offset = le64_get(entry->offset),
		.incarnation = le64_get(entry->incarnation),
		.writable = (flags & MEM_LINK_PREPARE_WRITABLE) != 0,
		.fd = fd,
	};

	if (map.id == 0 || !mem_link_range_is_valid(map.dpa, map.len) ||
	    !mem_link_range_is_valid(map.offset, map.len) ||
	    (flags & ~MEM_LINK_PREPARE_WRITABLE) != 0 || le32_get(entry->reserved) != 0 ||
	    !mem_link_fd_is_safe(fd, map.offset, map.len))
		return false;
	*ret_map = map;
	return true;
}

static int handle_prepare(MemLinkClient *client, const Received *message)
{
	const MemLinkPrepareEntry *entries = message->entries;
	MemLinkClientMap maps[MEM_LINK_MAX_PREPARE];
	unsigned n_ready = 0;

	for (unsigned i = 0; i < message->n; i++) {
		if (!parse_map(&entries[i], message->fds[i], &maps[i]) ||
		    mem_link_book_knows(client->book, maps[i].id))
			return VIOLATION;
		for (unsigned j = 0; j < i; j++) {
			if (maps[j].id == maps[i].id)
				return VIOLATION;
		}
	}
	if (!mem_link_book_has_room(client->book, message->n))
		return MEM_LINK_NO_ROOM;
	while (n_ready < message->n && client->ops->prepare(client->opaque, &maps[n_ready]) == 0) {
		message->fds[n_ready] = -EBADF;
		mem_link_book_add(client->book, maps[n_ready].id, maps[n_ready].dpa,
				  maps[n_ready].len);
		n_ready++;
	}
	if (n_ready == message->n)
		return MEM_LINK_OK;
	/* All of the message or nothing. */
	while (n_ready-- > 0) {
		mem_link_book_drop(client->book, maps[n_ready].id);
		client->ops->drop(client->opaque, maps[n_ready].id);
	}
	return MEM_LINK_FAILED;
}

static int compare_ids(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int handle_expose(MemLinkClient *client, const Received *message)
{
	const MemLinkIdEntry *entries = message->entries;
	g_autofree uint64_t *ids = g_new(uint64_t, message->n);
	g_autofree uint64_t *sorted = NULL;

	for (unsigned i = 0; i < message->n; i++) {
		ids[i] = le64_get(entries[i].map_id);
		if (!mem_link_book_knows(client->book, ids[i]) ||
		    mem_link_book_is_exposed(client->book, ids[i]))
			return VIOLATION;
	}
	sorted = g_memdup2(ids, message->n * sizeof(*ids));
	qsort(sorted, message->n, sizeof(*sorted), compare_ids);
	for (unsigned i = 1; i < message->n; i++) {
		if (sorted[i] == sorted[i - 1])
			return VIOLATION;
	}
	if (client->ops->expose(client->opaque, ids, message->n) != 0)
		return MEM_LINK_FAILED;
	for (unsigned i = 0; i < message->n; i++)
		mem_link_book_set_exposed(client->book, ids[i]);
	return MEM_LINK_OK;
}

static int handle_revoke(MemLinkClient *client, const Received *message)
{
	const MemLinkRevokeEntry *entries = message->entries;
	int status = MEM_LINK_OK;

	for (unsigned i = 0; i < message->n; i++) {
		uint64_t id = le64_get(entries[i].map_id);
		uint64_t dpa = le64_get(entries[i].dpa);
		uint64_t len = le64_get(entries[i].len);
		int rc;

		if (!mem_link_range_is_valid(dpa, len))
			return VIOLATION;
		rc = mem_link_book_revoke(client->book, id, dpa, len);
		if (rc < 0)
			return VIOLATION;
		if (client->ops->revoke(client->opaque, id, dpa, len) != 0)
			status = MEM_LINK_FAILED;
		/* Nothing left of it: the map's life is over, no drop will come. */
		if (rc == 1 && client->ops->drop(client->opaque, id) != 0)
			status = MEM_LINK_FAILED;
	}
	return status;
}

static int handle_drop(MemLinkClient *client, const Received *message)
{
	const MemLinkIdEntry *entries = message->entries;
	int status = MEM_LINK_OK;

	for (unsigned i = 0; i < message->n; i++) {
		uint64_t id = le64_get(entries[i].map_id);

		/* The device cannot know which maps of a failed prepare came to be: none is fine.
		 */
		if (mem_link_book_drop(client->book, id) &&
		    client->ops->drop(client->opaque, id) != 0)
			status = MEM_LINK_FAILED;
	}
	return status;
}

static bool decoder_is_valid(const MemLinkClientDecoder *decoder)
{
	unsigned ways = decoder->ways;
	uint32_t granularity = decoder->granularity;

	if (ways != 3 && ways != 6 && ways != 12 &&
	    (ways == 0 || ways > 16 || (ways & (ways - 1)) != 0))
		return false;
	if (granularity < 256 || granularity > 16384 || (granularity & (granularity - 1)) != 0)
		return false;
	return mem_link_range_is_valid(decoder->hpa, decoder->len) &&
	       decoder->len % ((uint64_t)ways * granularity) == 0 &&
	       decoder->dpa <= UINT64_MAX - decoder->len / ways;
}

/* When a decoder is taken back only its index counts. */
static int handle_decoder(MemLinkClient *client, const Received *message)
{
	const MemLinkDecoderEntry *entry = message->entries;
	uint32_t flags = le32_get(entry->flags);
	MemLinkClientDecoder decoder = {
		.index = le32_get(entry->index),
		.committed = (flags & MEM_LINK_DECODER_COMMITTED) != 0,
		.hpa = le64_get(entry->hpa),
		.len = le64_get(entry->len),
		.dpa = le64_get(entry->dpa),
		.granularity = le32_get(entry->granularity),
		.ways = le32_get(entry->ways),
	};

	if (decoder.index >= MEM_LINK_MAX_DECODERS || (flags & ~MEM_LINK_DECODER_COMMITTED) != 0)
		return VIOLATION;
	if (!decoder.committed)
		decoder = (MemLinkClientDecoder){ .index = decoder.index };
	else if (!decoder_is_valid(&decoder))
		return VIOLATION;
	return client->ops->decoder(client->opaque, &decoder) == 0 ? MEM_LINK_OK : MEM_LINK_FAILED;
}

/* ---- the thread ---- */

static int handle(MemLinkClient *client, const Received *message)
{
	switch (message->format->type) {
	case MEM_LINK_PREPARE:
		return handle_prepare(client, message);
	case MEM_LINK_EXPOSE:
		return handle_expose(client, message);
	case MEM_LINK_REVOKE:
		return handle_revoke(client, message);
	case MEM_LINK_DROP:
		return handle_drop(client, message);
	case MEM_LINK_DECODER:
		return handle_decoder(client, message);
	default:
		return VIOLATION;
	}
}

static bool send_done(MemLinkClient *client, uint64_t id, int status)
{
	MemLinkDoneMessage done = { .status = le32_put((uint32_t)status) };
	struct iovec iov = { .iov_base = &done, .iov_len = sizeof(done) };

	mem_link_put_header(&done.header, MEM_LINK_DONE, 0, id);
	return fdpass_send(client->fd, &iov, 1, NULL, 0, 0) == sizeof(done);
}

/* Carries out and answers one message, if there is one. False: the link is over. */
static bool serve_one(MemLinkClient *client)
{
	const MemLinkHeader *header = (const void *)client->buf;
	int fds[MEM_LINK_MAX_PREPARE];
	Received message = { .fds = fds };
	int n_fds = 0;
	int status = VIOLATION;
	ssize_t got;

	got = fdpass_recv(client->fd, client->buf, MEM_LINK_MAX_MESSAGE, fds, MEM_LINK_MAX_PREPARE,
			  &n_fds, MSG_DONTWAIT);
	if (got == -EAGAIN)
		return true;
	/* An empty message looks like the end, and may have brought descriptors. */
	message.format = got <= 0 ? NULL
				  : mem_link_check_message(client->buf, (size_t)got,
							   (unsigned)n_fds, false);
	/* Ids only grow, so that an answer can never be taken for another's. */
	if (message.format != NULL && le64_get(header->id) > client->last_id) {
		client->last_id = le64_get(header->id);
		message.entries = client->buf + message.format->fixed_len;
		message.n = le16_get(header->count);
		client->looks = message.format->type == MEM_LINK_PREPARE;
		status = handle(client, &message);
	}
	for (int i = 0; i < n_fds; i++)
		fd_close_auto(&fds[i]);
	return status >= 0 && send_done(client, client->last_id, status);
}

/* Whether a message wakes the thread; the end of the link always does. */
static bool watch(MemLinkClient *client, int op, uint32_t events)
{
	struct epoll_event event = { .events = events };

	return epoll_ctl(client->epoll_fd, op, client->fd, &event) == 0;
}

/* Expose follows prepare closely: look for it before sleeping. */
static void wait_message(MemLinkClient *client, bool looks)
{
	struct epoll_event event;

	while (epoll_wait(client->epoll_fd, &event, 1, 0) <= 0) {
		if (!looks || !vfu_spin_again(&client->spin)) {
			epoll_wait(client->epoll_fd, &event, 1, -1);
			return;
		}
	}
	vfu_spin_found(&client->spin);
}

/* Until the link is over. */
static void serve_all(MemLinkClient *client)
{
	bool over = false, looks = false;

	while (!over) {
		wait_message(client, looks);
		g_mutex_lock(&client->serving);
		client->over = client->over || !serve_one(client);
		over = client->over;
		looks = client->looks;
		g_mutex_unlock(&client->serving);
	}
}

static void *client_run(void *data)
{
	MemLinkClient *client = data;
	g_autoptr(GArray) unexposed = NULL;

	serve_all(client);
	atomic_store(&client->connected, false);
	shutdown(client->fd, SHUT_RDWR);
	if (atomic_load(&client->stopping))
		return NULL;
	/* What was only made ready is of no use to anybody now; what is exposed stays. */
	unexposed = mem_link_book_list_unexposed(client->book);
	for (guint i = 0; i < unexposed->len; i++) {
		uint64_t id = g_array_index(unexposed, uint64_t, i);

		mem_link_book_drop(client->book, id);
		client->ops->drop(client->opaque, id);
	}
	client->ops->closed(client->opaque);
	return NULL;
}

/* ---- hello ---- */

/* Waits until the socket is ready for EVENTS or DEADLINE has passed. */
static bool wait_for(int fd, short events, gint64 deadline, GError **error)
{
	struct pollfd pfd = { .fd = fd, .events = events };

	for (;;) {
		gint64 left_us = deadline - g_get_monotonic_time();
		int rc = poll(&pfd, 1, left_us > 0 ? (int)((left_us + 999) / 1000) : 0);

		if (rc > 0)
			return true;
		if (rc < 0 && errno == EINTR)
			continue;
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT,
			    "memory link: the device did not answer hello in time; is it served, "
			    "and is its vfio-user connection up?");
		return false;
	}
}

static bool send_whole(int fd, const void *buf, size_t len, gint64 deadline, GError **error)
{
	struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };
	ssize_t sent;

	while ((sent = fdpass_send(fd, &iov, 1, NULL, 0, MSG_DONTWAIT)) == -EAGAIN) {
		if (!wait_for(fd, POLLOUT, deadline, error))
			return false;
	}
	/* A device that has closed may have said why: receiving tells. */
	if (sent < 0 && sent != -EPIPE && sent != -ECONNRESET) {
		g_set_error(error, G_IO_ERROR, g_io_error_from_errno((int)-sent),
			    "memory link: sending hello: %s", g_strerror((int)-sent));
		return false;
	}
	return true;
}

static bool send_hello(MemLinkClient *client, const uint8_t session[16], uint32_t max_maps,
		       const MemLinkHeld *held, uint32_t n_held, gint64 deadline, GError **error)
{
	MemLinkHelloMessage hello = {
		.version = le32_put(MEM_LINK_VERSION),
		.max_maps = le32_put(max_maps),
		.n_held = le32_put(n_held),
	};
	size_t len = mem_link_put_header(&hello.header, MEM_LINK_HELLO, 0, 0);

	memcpy(hello.session, session, sizeof(hello.session));
	if (!send_whole(client->fd, &hello, len, deadline, error))
		return false;
	for (uint32_t i = 0; i < n_held; i += MEM_LINK_MAX_HELD_HERE) {
		unsigned n = MIN(n_held - i, MEM_LINK_MAX_HELD_HERE);

		len = mem_link_put_header((MemLinkHeader *)(void *)client->buf, MEM_LINK_HELD, n,
					  0);
		memcpy(client->buf + sizeof(MemLinkHeader), &held[i], n * sizeof(*held));
		if (!send_whole(client->fd, client->buf, len, deadline, error))
			return false;
	}
	return true;
}

static bool check_welcome(const MemLinkWelcomeMessage *welcome, ssize_t got, GError **error)
{
	static const struct {
		int code;
		const char *text;
	} refusals[] = {
		[MEM_LINK_WELCOME_VERSION] = { G_IO_ERROR_NOT_SUPPORTED, "speaks another version" },
		[MEM_LINK_WELCOME_REFUSED] = { G_IO_ERROR_PERMISSION_DENIED, "refuses this host" },
		[MEM_LINK_WELCOME_BUSY] = { G_IO_ERROR_BUSY, "has another host already" },
	};
	uint32_t status;

	if (got == 0 || got == -ECONNRESET) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_CONNECTION_CLOSED,
			    "memory link: the device closed without an answer to hello");
		return false;
	}
	if (got < 0 || mem_link_check_message(welcome, (size_t)got, 0, false) == NULL ||
	    le16_get(welcome->header.type) != MEM_LINK_WELCOME ||
	    le32_get(welcome->status) > MEM_LINK_WELCOME_BUSY) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
			    "memory link: the device's answer to hello is malformed");
		return false;
	}
	status = le32_get(welcome->status);
	if (status != MEM_LINK_WELCOME_OK) {
		g_set_error(error, G_IO_ERROR, refusals[status].code,
			    "memory link: the device %s (its version %u, ours %u)",
			    refusals[status].text, le32_get(welcome->version), MEM_LINK_VERSION);
		return false;
	}
	if (le32_get(welcome->version) != MEM_LINK_VERSION) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
			    "memory link: the device welcomes in a version that was not asked for");
		return false;
	}
	return true;
}

static bool wait_welcome(int fd, gint64 deadline, GError **error)
{
	MemLinkWelcomeMessage welcome;
	bool was_reset = false;
	int n_fds;
	ssize_t got;

	do {
		if (!wait_for(fd, POLLIN, deadline, error))
			return false;
		got = fdpass_recv(fd, &welcome, sizeof(welcome), NULL, 0, &n_fds, MSG_DONTWAIT);
		/* Closed with hello unread, which comes first; a welcome may lie behind it. */
		if (got == -ECONNRESET && !was_reset) {
			was_reset = true;
			got = -EAGAIN;
		}
	} while (got == -EAGAIN);
	return check_welcome(&welcome, got, error);
}

/* ---- life ---- */

static bool book_held(MemLinkBook *book, const MemLinkHeld *held, uint32_t n_held, GError **error)
{
	for (uint32_t i = 0; i < n_held; i++) {
		uint64_t id = le64_get(held[i].map_id), dpa = le64_get(held[i].dpa);
		uint64_t len = le64_get(held[i].len);

		if (id == 0 || n_held > MEM_LINK_MAX_HELD || !mem_link_range_is_valid(dpa, len) ||
		    mem_link_book_add(book, id, dpa, len) != 0) {
			g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
				    "memory link: held map %u of %u is empty, misaligned, overlaps "
				    "itself, or is over the limit of maps",
				    i, n_held);
			return false;
		}
		mem_link_book_set_exposed(book, id);
	}
	return true;
}

MemLinkClient *mem_link_client_new(int fd, const uint8_t session[16], uint32_t max_maps,
				   const MemLinkHeld *held, uint32_t n_held,
				   const MemLinkClientOps *ops, void *opaque, unsigned timeout_ms,
				   GError **error)
{
	g_autoptr(MemLinkClient) client = g_new0(MemLinkClient, 1);
	gint64 deadline = g_get_monotonic_time() + (gint64)timeout_ms * 1000;
	int flags = fcntl(fd, F_GETFL);

	client->fd = fd;
	client->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	client->ops = ops;
	client->opaque = opaque;
	client->spin.us = VFU_SPIN_DEFAULT_US;
	client->help_spin.us = VFU_SPIN_DEFAULT_US;
	g_mutex_init(&client->serving);
	client->book = mem_link_book_new(max_maps);
	client->buf = g_malloc(MEM_LINK_MAX_MESSAGE);
	/* An answer may wait for room in the socket, that is for the device. */
	if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0 || client->epoll_fd < 0 ||
	    !watch(client, EPOLL_CTL_ADD, EPOLLIN)) {
		g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno), "memory link: %s",
			    g_strerror(errno));
		return NULL;
	}
	mem_link_socket_widen(fd);
	if (!book_held(client->book, held, n_held, error) ||
	    !send_hello(client, session, max_maps, held, n_held, deadline, error) ||
	    !wait_welcome(fd, deadline, error))
		return NULL;
	atomic_store(&client->connected, true);
	client->thread = g_thread_try_new("mem-link", client_run, client, error);
	if (client->thread == NULL)
		return NULL;
	return g_steal_pointer(&client);
}

void mem_link_client_free(MemLinkClient *client)
{
	if (client == NULL)
		return;
	atomic_store(&client->stopping, true);
	/* Ends a poll or sendmsg that waits, and tells the device. */
	shutdown(client->fd, SHUT_RDWR);
	if (client->thread != NULL)
		g_thread_join(client->thread);
	fd_close_auto(&client->fd);
	fd_close_auto(&client->epoll_fd);
	mem_link_book_free(client->book);
	g_mutex_clear(&client->serving);
	g_free(client->buf);
	g_free(client);
}

bool mem_link_client_is_connected(MemLinkClient *client)
{
	return atomic_load(&client->connected);
}

bool mem_link_client_tell_misses(MemLinkClient *client, uint64_t reads, uint64_t writes)
{
	MemLinkMissesMessage message = {
		.reads = le64_put(reads),
		.writes = le64_put(writes),
	};
	struct iovec iov = { .iov_base = &message, .iov_len = sizeof(message) };

	mem_link_put_header(&message.header, MEM_LINK_MISSES, 0, 0);
	return fdpass_send(client->fd, &iov, 1, NULL, 0, MSG_DONTWAIT) == sizeof(message);
}

int mem_link_client_help(MemLinkClient *client, int fd, uint64_t timeout_us)
{
	struct pollfd pfds[] = { { .fd = fd, .events = POLLIN },
				 { .fd = client->fd, .events = POLLIN } };
	gint64 end = g_get_monotonic_time() + (gint64)timeout_us;
	gint64 left_us = (gint64)timeout_us;
	int timeout_ms = 0;
	int rc = 0;

	g_mutex_lock(&client->serving);
	watch(client, EPOLL_CTL_MOD, 0);
	while (!client->over && left_us >= 0) {
		if (poll(pfds, G_N_ELEMENTS(pfds), timeout_ms) > 0)
			vfu_spin_found(&client->help_spin);
		if (pfds[0].revents != 0)
			break;
		if (pfds[1].revents != 0 && !serve_one(client)) {
			/* The thread cleans up. */
			client->over = true;
			shutdown(client->fd, SHUT_RDWR);
		}
		left_us = end - g_get_monotonic_time();
		timeout_ms = 0;
		if (pfds[1].revents == 0 && left_us > 0 && !vfu_spin_again(&client->help_spin))
			timeout_ms = (int)MIN((left_us + 999) / 1000, (gint64)G_MAXINT);
	}
	watch(client, EPOLL_CTL_MOD, EPOLLIN);
	if (pfds[0].revents != 0)
		rc = 1;
	else if (client->over)
		rc = -ENOTCONN;
	g_mutex_unlock(&client->serving);
	return rc;
}
