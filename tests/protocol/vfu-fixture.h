/* SPDX-License-Identifier: BSD-3-Clause */
/* A vfio-user server around a scripted device, and raw clients that say whatever they like. */
#ifndef TESTS_VFU_FIXTURE_H
#define TESTS_VFU_FIXTURE_H

#include "../unit/processes.h"
#include "link/vfu_server.h"
#include "link/vfu_wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BAR0_LEN       0x20000u
#define PAYLOAD_OFFSET 0x10000u
#define PAYLOAD_LEN    0x10000u
#define PAYLOAD_FILE   0x3000u /* where in its file the mapped region begins */
#define BAR2_LEN       0x1000u
#define CONFIG_LEN     0x1000u
#define N_VECTORS      8u

#define OUR_CAPS "{\"capabilities\":{\"max_msg_fds\":8,\"max_data_xfer_size\":1048576}}"
#define QEMU_CAPS                                                                               \
	"{\"capabilities\": {\"pgsizes\": 4096, \"max_msg_fds\": 16, \"max_dma_maps\": 65535, " \
	"\"max_data_xfer_size\": 1048576, \"migration\": {\"max_bitmap_size\": 268435456, "     \
	"\"pgsize\": 4096}, \"write_multiple\": true}}"

/* ---- the device ---- */

typedef struct Fake {
	VfuServer *server;
	GMainContext *context;
	uint8_t bar0[BAR0_LEN];
	uint8_t config[CONFIG_LEN];
	int payload_fd;
	bool refuses;
	unsigned naps_us; /* in the next write */
	bool disconnects; /* in the middle of the next write */
	int error;        /* what the next accesses return */
	unsigned n_reads, n_writes, n_resets, n_connected, n_disconnected;
	VfuPeer peer;
} Fake;

static inline uint8_t *fake_space(Fake *fake, unsigned index, uint64_t *ret_len)
{
	*ret_len = index == 0 ? BAR0_LEN : index == 2 ? BAR2_LEN : index == 7 ? CONFIG_LEN : 0;
	return index == 7 ? fake->config : fake->bar0;
}

static inline void fake_region_info(void *opaque, unsigned index, VfuRegion *ret)
{
	Fake *fake = opaque;

	fake_space(fake, index, &ret->len);
	ret->writable = index != 2;
	if (index == 0) {
		ret->fd = fake->payload_fd;
		ret->fd_offset = PAYLOAD_FILE;
		ret->n_sparse = 1;
		ret->sparse[0].offset = PAYLOAD_OFFSET;
		ret->sparse[0].len = PAYLOAD_LEN;
	}
}

static inline int fake_region_read(void *opaque, unsigned index, uint64_t offset, void *buf,
				   uint32_t count)
{
	Fake *fake = opaque;
	uint64_t len;
	const uint8_t *space = fake_space(fake, index, &len);

	g_assert_cmpuint(count, >, 0);
	g_assert_true(count <= len && offset <= len - count);
	fake->n_reads++;
	memcpy(buf, space + offset, count);
	return fake->error;
}

static inline int fake_region_write(void *opaque, unsigned index, uint64_t offset, const void *buf,
				    uint32_t count)
{
	Fake *fake = opaque;
	uint64_t len;
	uint8_t *space = fake_space(fake, index, &len);

	g_assert_cmpuint(count, >, 0);
	g_assert_true(count <= len && offset <= len - count);
	g_assert_cmpuint(index, !=, 2);
	fake->n_writes++;
	if (fake->naps_us > 0)
		g_usleep(fake->naps_us);
	fake->naps_us = 0;
	if (fake->error == 0)
		memcpy(space + offset, buf, count);
	if (fake->disconnects)
		vfu_server_disconnect(fake->server);
	return fake->error;
}

static inline uint32_t fake_n_irqs(void *opaque, unsigned index)
{
	return index == VFU_IRQ_MSIX ? N_VECTORS : index == VFU_IRQ_ERR ? 1 : 0;
}

static inline void fake_reset(void *opaque)
{
	((Fake *)opaque)->n_resets++;
}

static inline bool fake_connected(void *opaque, const VfuPeer *peer)
{
	Fake *fake = opaque;

	fake->peer = *peer;
	if (fake->refuses)
		return false;
	fake->n_connected++;
	return true;
}

static inline void fake_disconnected(void *opaque)
{
	((Fake *)opaque)->n_disconnected++;
}

static const VfuServerOps fake_ops = {
	.region_info = fake_region_info,
	.region_read = fake_region_read,
	.region_write = fake_region_write,
	.n_irqs = fake_n_irqs,
	.reset = fake_reset,
	.connected = fake_connected,
	.disconnected = fake_disconnected,
};

static inline int make_payload_file(unsigned seals)
{
	int fd = memfd_create("test-payload", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(ftruncate(fd, PAYLOAD_FILE + BAR0_LEN), ==, 0);
	g_assert_cmpint(fcntl(fd, F_ADD_SEALS, seals), ==, 0);
	return fd;
}

static inline Fake *fake_new(void)
{
	Fake *fake = g_new0(Fake, 1);

	for (unsigned i = 0; i < BAR0_LEN; i++)
		fake->bar0[i] = (uint8_t)(i * 7 + i / 256);
	for (unsigned i = 0; i < CONFIG_LEN; i++)
		fake->config[i] = (uint8_t)(i * 3);
	fake->payload_fd = make_payload_file(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	fake->context = g_main_context_new();
	fake->server = vfu_server_new(fake->context, &fake_ops, fake);
	return fake;
}

static inline void fake_free(Fake *fake)
{
	vfu_server_free(fake->server);
	g_assert_cmpuint(fake->n_connected, ==, fake->n_disconnected);
	g_main_context_unref(fake->context);
	close(fake->payload_fd);
	g_free(fake);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Fake, fake_free)

/* Lets the server do all it can without waiting: what was sent is there at once. */
static inline void fake_pump(Fake *fake)
{
	while (g_main_context_iteration(fake->context, FALSE))
		;
}

/* ---- raw clients ---- */

static inline int fake_attach(Fake *fake)
{
	int pair[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
	g_assert_true(vfu_server_attach(fake->server, pair[0]));
	return pair[1];
}

static inline bool raw_send(int sock, const void *bytes, size_t len, const int *fds, unsigned n_fds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(253 * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)bytes, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n_fds > 0) {
		struct cmsghdr *cmsg;

		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, n_fds * sizeof(int));
	}
	return sendmsg(sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len;
}

/* What is there: bytes, 0 at the end of the stream, -1 for nothing. *ret_fd may be NULL. */
static inline ssize_t raw_receive(int sock, void *buf, size_t len, int *ret_fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { buf, len };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t got = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *cmsg;

	if (ret_fd != NULL)
		*ret_fd = -1;
	if (got < 0) {
		/* A server that closes with input unread resets the connection. */
		return errno == ECONNRESET ? 0 : -1;
	}
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg != NULL) {
		g_assert_nonnull(ret_fd);
		memcpy(ret_fd, CMSG_DATA(cmsg), sizeof(int));
	}
	return got;
}

/* Waits for one whole message of a client that speaks properly. False at the end. */
static inline bool receive_message(int sock, uint8_t *buf, size_t buf_len)
{
	const VfuHeader *header = (const VfuHeader *)buf;
	size_t rest;

	if (recv(sock, buf, sizeof(*header), MSG_WAITALL) != sizeof(*header))
		return false;
	rest = le32_get(header->size) - sizeof(*header);
	g_assert_cmpuint(rest, <=, buf_len - sizeof(*header));
	return rest == 0 || recv(sock, buf + sizeof(*header), rest, MSG_WAITALL) == (ssize_t)rest;
}

static inline bool is_closed(int sock)
{
	struct pollfd state = { .fd = sock };

	return poll(&state, 1, 0) == 1 && (state.revents & POLLHUP) != 0;
}

/* "0100 0200" and JSON text after a quote character: bytes in the order of the wire. */
static inline GByteArray *bytes_of(const char *text)
{
	GByteArray *bytes = g_byte_array_new();

	while (*text != '\0') {
		uint8_t byte;

		if (*text == ' ' || *text == '|') {
			text++;
			continue;
		}
		if (*text == '\'') { /* the rest is a string, with its NUL */
			g_byte_array_append(bytes, (const uint8_t *)text + 1,
					    (guint)strlen(text + 1) + 1);
			return bytes;
		}
		g_assert_true(g_ascii_isxdigit(text[0]) && g_ascii_isxdigit(text[1]));
		byte = (uint8_t)(g_ascii_xdigit_value(text[0]) << 4 |
				 g_ascii_xdigit_value(text[1]));
		g_byte_array_append(bytes, &byte, 1);
		text += 2;
	}
	return bytes;
}

static inline GByteArray *message(unsigned id, unsigned command, uint32_t flags,
				  const void *payload, size_t len)
{
	GByteArray *bytes = g_byte_array_new();
	VfuHeader header = {
		.id = le16_put((uint16_t)id),
		.command = le16_put((uint16_t)command),
		.size = le32_put((uint32_t)(sizeof(header) + len)),
		.flags = le32_put(flags),
	};

	g_byte_array_append(bytes, (const uint8_t *)&header, sizeof(header));
	if (len > 0)
		g_byte_array_append(bytes, payload, (guint)len);
	return bytes;
}

static inline GByteArray *message_hex(unsigned id, unsigned command, uint32_t flags,
				      const char *payload)
{
	g_autoptr(GByteArray) body = bytes_of(payload);

	return message(id, command, flags, body->data, body->len);
}

static inline bool send_bytes(int sock, const GByteArray *bytes)
{
	return raw_send(sock, bytes->data, bytes->len, NULL, 0);
}

static inline void expect_bytes(int sock, const GByteArray *expected)
{
	g_autofree uint8_t *buf = g_malloc(expected->len + 1);
	size_t have = 0;

	while (have < expected->len) {
		ssize_t got = raw_receive(sock, buf + have, expected->len - have, NULL);

		g_assert_cmpint(got, >, 0);
		have += (size_t)got;
	}
	g_assert_cmpmem(buf, have, expected->data, expected->len);
}

static inline void expect_silence(int sock)
{
	uint8_t byte;

	g_assert_cmpint(raw_receive(sock, &byte, 1, NULL), ==, -1);
}

static inline void expect_end(int sock)
{
	uint8_t buf[64];

	g_assert_cmpint(raw_receive(sock, buf, sizeof(buf), NULL), ==, 0);
	close(sock);
}

/* Header-only error reply. */
static inline void expect_error(int sock, unsigned id, unsigned command, int error)
{
	uint8_t buf[64];
	const VfuHeader *header = (const VfuHeader *)buf;

	g_assert_cmpint(raw_receive(sock, buf, sizeof(buf), NULL), ==, 16);
	g_assert_cmpuint(le16_get(header->id), ==, id);
	g_assert_cmpuint(le16_get(header->command), ==, command);
	g_assert_cmpuint(le32_get(header->size), ==, 16);
	g_assert_cmphex(le32_get(header->flags), ==, 0x21);
	g_assert_cmpint((int)le32_get(header->error), ==, error);
}

static inline void hello(Fake *fake, int sock)
{
	g_autoptr(GByteArray) request = message_hex(0, VFU_VERSION, 0, "0000 0000 '" QEMU_CAPS);
	g_autoptr(GByteArray) reply = message_hex(0, VFU_VERSION, 1, "0000 0000 '" OUR_CAPS);

	g_assert_true(send_bytes(sock, request));
	fake_pump(fake);
	expect_bytes(sock, reply);
}

/* A client that has done VERSION. */
static inline int fake_client(Fake *fake)
{
	int sock = fake_attach(fake);

	hello(fake, sock);
	return sock;
}

static inline GByteArray *read_request(unsigned id)
{
	return message_hex(id, VFU_REGION_READ, 0, "0400000000000000 07000000 04000000");
}

static inline GByteArray *read_reply(unsigned id)
{
	return message_hex(id, VFU_REGION_READ, 1, "0400000000000000 07000000 04000000 | 0c0f1215");
}

static inline void expect_alive(Fake *fake, int sock)
{
	g_autoptr(GByteArray) request = read_request(77);
	g_autoptr(GByteArray) reply = read_reply(77);

	g_assert_true(send_bytes(sock, request));
	fake_pump(fake);
	expect_bytes(sock, reply);
}

#endif
