/* SPDX-License-Identifier: BSD-3-Clause */
/* A memory link peer of raw messages, for the tests of both ends. */
#ifndef TESTS_MEM_LINK_RAW_H
#define TESTS_MEM_LINK_RAW_H

#include "../unit/processes.h"
#include "link/mem_link_wire.h"
#include "util/fdpass.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAGE    ((uint64_t)MEM_LINK_PAGE)
#define WAIT_MS 20000 /* for what must come; a test that fails waits this long, no other does */
#define ARRAY(...)          \
	(const uint64_t[])  \
	{                   \
		__VA_ARGS__ \
	}

static inline void raw_pair(int ret_fds[2])
{
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_fds), ==, 0);
}

static inline int sealed_memfd(uint64_t len, unsigned seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(ftruncate(fd, (off_t)len), ==, 0);
	if (seals != 0)
		g_assert_cmpint(fcntl(fd, F_ADD_SEALS, seals), ==, 0);
	return fd;
}

static inline ssize_t raw_send_fds(int fd, const void *buf, size_t len, const int *fds, int n_fds)
{
	struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };

	return fdpass_send(fd, &iov, 1, fds, n_fds, 0);
}

static inline ssize_t raw_send(int fd, const void *buf, size_t len)
{
	return raw_send_fds(fd, buf, len, NULL, 0);
}

/* A message of words: 64-bit little-endian values after the header. Returns its length. */
static inline size_t raw_build(uint8_t *buf, MemLinkType type, unsigned count, uint64_t id,
			       const uint64_t *words, size_t n_words)
{
	size_t len = mem_link_put_header((MemLinkHeader *)(void *)buf, type, count, id);

	g_assert_cmpuint(len, ==, sizeof(MemLinkHeader) + 8 * n_words);
	for (size_t i = 0; i < n_words; i++)
		le64_store(buf + sizeof(MemLinkHeader) + 8 * i, words[i]);
	return len;
}

/* Sends one; words as in raw_build. */
static inline void raw_put(int fd, MemLinkType type, unsigned count, uint64_t id,
			   const uint64_t *words, size_t n_words)
{
	g_autofree uint8_t *buf = g_malloc(MEM_LINK_MAX_MESSAGE);
	size_t len = raw_build(buf, type, count, id, words, n_words);

	g_assert_cmpint(raw_send(fd, buf, len), ==, (ssize_t)len);
}

static inline void raw_done(int fd, uint64_t id, uint32_t status)
{
	raw_put(fd, MEM_LINK_DONE, 0, id, ARRAY(status), 1);
}

static inline void raw_hello(int fd, uint32_t max_maps, uint32_t n_held)
{
	raw_put(fd, MEM_LINK_HELLO, 0, 0,
		ARRAY(1 | (uint64_t)max_maps << 32, n_held, 0x0706050403020100, 0x0f0e0d0c0b0a0908),
		4);
}

static inline void raw_welcome(int fd, uint32_t status)
{
	raw_put(fd, MEM_LINK_WELCOME, 0, 0, ARRAY(1 | (uint64_t)status << 32), 1);
}

/* One message; 0 at the end, -ECONNRESET counts as it. Descriptors are counted and closed. */
static inline ssize_t raw_recv(int fd, void *buf, unsigned *ret_n_fds)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	int fds[MEM_LINK_MAX_PREPARE];
	int n_fds = 0;
	ssize_t got;

	g_assert_cmpint(poll(&pfd, 1, WAIT_MS), ==, 1);
	do {
		got = fdpass_recv(fd, buf, MEM_LINK_MAX_MESSAGE, fds, MEM_LINK_MAX_PREPARE, &n_fds,
				  MSG_DONTWAIT);
	} while (got == -ECONNRESET);
	g_assert_cmpint(got, >=, 0);
	for (int i = 0; i < n_fds; i++)
		close(fds[i]);
	if (ret_n_fds != NULL)
		*ret_n_fds = (unsigned)n_fds;
	return got;
}

/* Receives one message, which must be of this type. Returns its id. */
static inline uint64_t raw_expect(int fd, MemLinkType type)
{
	g_autofree uint8_t *buf = g_malloc(MEM_LINK_MAX_MESSAGE);
	const MemLinkHeader *header = (const void *)buf;

	g_assert_cmpint(raw_recv(fd, buf, NULL), >=, (ssize_t)sizeof(*header));
	g_assert_cmpuint(le16_get(header->type), ==, type);
	return le64_get(header->id);
}

static inline void raw_expect_done(int fd, uint64_t id, uint32_t status)
{
	MemLinkDoneMessage done[MEM_LINK_MAX_MESSAGE / sizeof(MemLinkDoneMessage)];

	g_assert_cmpint(raw_recv(fd, done, NULL), ==, sizeof(*done));
	g_assert_cmpuint(le16_get(done->header.type), ==, MEM_LINK_DONE);
	g_assert_cmpuint(le64_get(done->header.id), ==, id);
	g_assert_cmpuint(le32_get(done->status), ==, status);
}

/* The next thing to be received is the end. */
static inline void raw_expect_end(int fd)
{
	g_autofree uint8_t *buf = g_malloc(MEM_LINK_MAX_MESSAGE);

	g_assert_cmpint(raw_recv(fd, buf, NULL), ==, 0);
}

/* One malformed message of a table: header fields as given, length from the words. */
typedef struct RawMessage {
	uint16_t type; /* 0 = no message */
	uint16_t count;
	uint64_t id;
	size_t n_words;
	uint64_t words[12];
	int cut;          /* bytes not sent */
	bool cut_is_told; /* the header's length is what is sent */
	size_t grown_to;  /* sent, with zeros, and told */
	int n_fds;        /* copies of the one given to raw_send_message */
} RawMessage;

#define RAW_WORDS(...) \
	.n_words = sizeof((const uint64_t[]){ __VA_ARGS__ }) / 8, .words = { __VA_ARGS__ }

static inline void raw_send_message(int sock, const RawMessage *message, int fd)
{
	g_autofree uint8_t *buf = g_malloc0(2 * MEM_LINK_MAX_MESSAGE);
	size_t len = sizeof(MemLinkHeader) + 8 * message->n_words;
	size_t sent_len = message->grown_to > 0 ? message->grown_to : len - (size_t)message->cut;
	int fds[FDPASS_MAX];

	if (message->type == 0)
		return;
	le32_store(buf, (uint32_t)(message->cut != 0 && !message->cut_is_told ? len : sent_len));
	le16_store(buf + 4, message->type);
	le16_store(buf + 6, message->count);
	le64_store(buf + 8, message->id);
	for (size_t i = 0; i < message->n_words; i++)
		le64_store(buf + sizeof(MemLinkHeader) + 8 * i, message->words[i]);
	for (int i = 0; i < message->n_fds; i++)
		fds[i] = fd;
	g_assert_cmpint(raw_send_fds(sock, buf, sent_len, fds, message->n_fds), ==,
			(ssize_t)sent_len);
}

/* Hex with spaces, so that a difference can be read. */
static inline void assert_bytes(const uint8_t *got, size_t len, const char *hex)
{
	g_autoptr(GString) text = g_string_new(NULL);

	for (size_t i = 0; i < len; i++)
		g_string_append_printf(text, "%s%02x",
				       i == 0       ? ""
				       : i % 8 == 0 ? "  "
						    : " ",
				       got[i]);
	g_assert_cmpstr(text->str, ==, hex);
}

#endif
