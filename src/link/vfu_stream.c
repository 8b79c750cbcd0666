/* SPDX-License-Identifier: BSD-3-Clause */
/* A vfio-user server's socket: framing, descriptors, replies that do not fit. */

/*
 * Input is received into a buffer that holds the largest message, as much as is there, so that a
 * message costs one recvmsg and its reply one sendmsg, and pipelined messages share the recvmsg.
 *
 * Which message do descriptors belong to? The kernel never continues a recvmsg past a write that
 * carried descriptors, so what it returned ends inside or at the end of that write: they belong to
 * the message that owns the last byte. This is right for every client that puts the descriptors of
 * a message on a write that holds nothing behind that message, which all known ones do; one that
 * writes several messages at once with descriptors for an earlier one gets EINVAL for the last.
 * While a message is incomplete and has descriptors, no more than its rest is received, hence there
 * is never more than one set.
 */
#include "link/vfu_stream.h"

#include "util/fdpass.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEADER_LEN ((uint32_t)sizeof(VfuHeader))

/* ---- life ---- */

/* Fresh zero pages, resident only as far as used, and never with bytes of another client. */
static uint8_t *map_buffer(void)
{
	void *buf = mmap(NULL, VFU_MAX_MESSAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return buf == MAP_FAILED ? NULL : buf;
}

static void unmap_buffer(uint8_t *buf)
{
	if (buf != NULL)
		munmap(buf, VFU_MAX_MESSAGE);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

bool vfu_stream_init(VfuStream *stream, int fd)
{
	uint8_t *rx = map_buffer(), *tx = map_buffer();

	if (rx == NULL || tx == NULL) {
		unmap_buffer(rx);
		unmap_buffer(tx);
		return false;
	}
	*stream = (VfuStream){ .fd = fd, .rx = rx, .tx = tx, .tx_fd = -1 };
	return true;
}

void vfu_stream_clear(VfuStream *stream)
{
	close_fd(&stream->fd);
	close_fd(&stream->tx_fd);
	for (unsigned i = 0; i < stream->n_fds; i++)
		close(stream->fds[i]);
	unmap_buffer(stream->rx);
	unmap_buffer(stream->tx);
	*stream = (VfuStream){ .fd = -1, .tx_fd = -1 };
}

/* ---- sending ---- */

/* Bytes sent, 0 if there is no room now, or -errno. */
static ssize_t send_some(int sock, const uint8_t *buf, size_t len, int fd)
{
	struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };
	ssize_t sent = fdpass_send(sock, &iov, 1, &fd, fd >= 0, MSG_DONTWAIT);

	return sent == -EAGAIN ? 0 : sent;
}

bool vfu_stream_send(VfuStream *stream, uint32_t len, int fd)
{
	ssize_t sent = send_some(stream->fd, stream->tx, len, fd);

	if (sent == (ssize_t)len)
		return true;
	if (sent < 0)
		return false;
	if (sent == 0 && fd >= 0) {
		stream->tx_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (stream->tx_fd < 0)
			return false;
	}
	stream->tx_start = (uint32_t)sent;
	stream->tx_end = len;
	return true;
}

bool vfu_stream_flush(VfuStream *stream)
{
	ssize_t sent = send_some(stream->fd, stream->tx + stream->tx_start,
				 stream->tx_end - stream->tx_start, stream->tx_fd);

	if (sent < 0)
		return false;
	if (sent > 0)
		close_fd(&stream->tx_fd);
	stream->tx_start += (uint32_t)sent;
	if (!vfu_stream_has_reply(stream))
		stream->tx_start = stream->tx_end = 0;
	return true;
}

/* ---- receiving ---- */

const VfuHeader *vfu_stream_header(const VfuStream *stream)
{
	if (vfu_stream_n_received(stream) < HEADER_LEN)
		return NULL;
	return (const VfuHeader *)(stream->rx + stream->rx_start);
}

bool vfu_stream_has_message(const VfuStream *stream)
{
	const VfuHeader *header = vfu_stream_header(stream);

	return header != NULL && vfu_stream_n_received(stream) >= le32_get(header->size);
}

const uint8_t *vfu_stream_take(VfuStream *stream, unsigned *ret_n_fds)
{
	const uint8_t *message = stream->rx + stream->rx_start;
	unsigned n_fds = 0;

	stream->rx_start += le32_get(vfu_stream_header(stream)->size);
	if (stream->rx_start == stream->rx_end) {
		stream->rx_start = stream->rx_end = 0;
		n_fds = stream->n_fds;
		stream->n_fds = 0;
	}
	*ret_n_fds = n_fds;
	return message;
}

/* The buffer holds no whole message. How many bytes may be asked for (see the top). */
static uint32_t n_wanted(const VfuStream *stream)
{
	uint32_t have = vfu_stream_n_received(stream);

	if (stream->n_fds == 0)
		return VFU_MAX_MESSAGE - have;
	if (have < HEADER_LEN)
		return HEADER_LEN - have;
	return le32_get(vfu_stream_header(stream)->size) - have;
}

enum vfu_step vfu_stream_receive(VfuStream *stream)
{
	/* More descriptors than we said we take are not even installed: MSG_CTRUNC. */
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(VFU_MAX_FDS * sizeof(int))];
	} control;
	struct iovec iov;
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t got;

	if (stream->rx_start > 0) {
		stream->rx_end -= stream->rx_start;
		memmove(stream->rx, stream->rx + stream->rx_start, stream->rx_end);
		stream->rx_start = 0;
	}
	iov.iov_base = stream->rx + stream->rx_end;
	iov.iov_len = n_wanted(stream);
	got = recvmsg(stream->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (got < 0) {
		if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
			return VFU_STEP_WAIT;
		return VFU_STEP_CLOSE;
	}
	stream->rx_end += (uint32_t)got;
	if (!fdpass_take(&msg, stream->fds, VFU_MAX_FDS, &stream->n_fds))
		return VFU_STEP_CLOSE;
	return got == 0 ? VFU_STEP_CLOSE : VFU_STEP_DONE;
}
