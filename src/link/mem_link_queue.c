/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages with descriptors on their way into a non-blocking SEQPACKET socket. */
#include "link/mem_link_queue.h"

#include "util/fdpass.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

void mem_link_socket_widen(int sock)
{
	int len = 2 * MEM_LINK_MAX_MESSAGE; /* the system's book-keeping counts too */
	int now;
	socklen_t opt_len = sizeof(now);

	if (getsockopt(sock, SOL_SOCKET, SO_SNDBUF, &now, &opt_len) == 0 && now < len)
		setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &len, sizeof(len));
}

struct MemLinkOutFd {
	int fd;
	int origin; /* what it was copied from; compared within one request only */
};

static void out_fd_clear(void *data)
{
	close(((MemLinkOutFd *)data)->fd);
}

static void out_fd_unref(MemLinkOutFd *out)
{
	g_rc_box_release_full(out, out_fd_clear);
}

static size_t message_memory(const MemLinkMessage *message)
{
	return sizeof(*message) + message->len;
}

MemLinkMessage *mem_link_message_new(size_t len)
{
	MemLinkMessage *message = g_malloc(sizeof(*message) + len);

	memset(message, 0, sizeof(*message));
	message->len = len;
	return message;
}

void mem_link_message_free(MemLinkMessage *message)
{
	for (unsigned i = 0; i < message->n_fds; i++) {
		if (message->owned[i] != NULL)
			out_fd_unref(message->owned[i]);
	}
	g_free(message);
}

int mem_link_message_send(const MemLinkMessage *message, int sock)
{
	struct iovec iov = {
		.iov_base = (void *)message->bytes, /* sendmsg only reads it */
		.iov_len = message->len,
	};
	ssize_t sent = fdpass_send(sock, &iov, 1, message->fds, (int)message->n_fds, MSG_DONTWAIT);

	return sent < 0 ? (int)sent : 0;
}

/* The copy of FD that the message before this one of the same request already has, if any. */
static MemLinkOutFd *find_copy(const MemLinkMessage *before, const MemLinkMessage *message,
			       unsigned n, int fd)
{
	if (n > 0)
		return message->owned[n - 1]->origin == fd ? message->owned[n - 1] : NULL;
	if (before == NULL || before->owner != message->owner || before->n_fds == 0)
		return NULL;
	n = before->n_fds;
	return before->owned[n - 1]->origin == fd ? before->owned[n - 1] : NULL;
}

int mem_link_queue_push(MemLinkQueue *queue, MemLinkMessage *message)
{
	const MemLinkMessage *before = g_queue_peek_tail(&queue->messages);

	if (queue->len + message_memory(message) > MEM_LINK_QUEUE_MAX_LEN)
		return -ENOBUFS;
	for (unsigned i = 0; i < message->n_fds; i++) {
		MemLinkOutFd *out = find_copy(before, message, i, message->fds[i]);

		if (out != NULL) {
			message->owned[i] = g_rc_box_acquire(out);
		} else {
			int fd = fcntl(message->fds[i], F_DUPFD_CLOEXEC, 0);

			if (fd < 0)
				return -errno;
			message->owned[i] = g_rc_box_new(MemLinkOutFd);
			message->owned[i]->fd = fd;
			message->owned[i]->origin = message->fds[i];
		}
		message->fds[i] = message->owned[i]->fd;
	}
	g_queue_push_tail(&queue->messages, message);
	queue->len += message_memory(message);
	return 0;
}

MemLinkMessage *mem_link_queue_peek(const MemLinkQueue *queue)
{
	return g_queue_peek_head((GQueue *)&queue->messages);
}

MemLinkMessage *mem_link_queue_pop(MemLinkQueue *queue)
{
	MemLinkMessage *message = g_queue_pop_head(&queue->messages);

	if (message != NULL)
		queue->len -= message_memory(message);
	return message;
}

void mem_link_queue_clear(MemLinkQueue *queue)
{
	MemLinkMessage *message;

	while ((message = mem_link_queue_pop(queue)) != NULL)
		mem_link_message_free(message);
}
