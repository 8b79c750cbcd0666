/* SPDX-License-Identifier: BSD-3-Clause */
/* A memory link server and one host of raw messages, in one thread. */
#ifndef TESTS_MEM_LINK_SERVER_BENCH_H
#define TESTS_MEM_LINK_SERVER_BENCH_H

#include "link/mem_link_server.h"
#include "mem_link_raw.h"

/* Everything runs in this one thread: the raw host writes, the main context is iterated. */
typedef struct Bench Bench;
struct Bench {
	MemLinkServer *server;
	int host;
	bool refuse;
	void (*in_hello)(Bench *);
	void (*in_done)(Bench *);
	void (*in_closed)(Bench *);
	unsigned n_hello, n_closed;
	GArray *answers; /* of Answer */
	MemLinkHello hello;
	GByteArray *held;
	MemLinkPeer peer;
};

typedef struct Answer {
	uint64_t req;
	bool ok;
	bool was_closed; /* closed() had run already */
} Answer;

static inline bool on_hello(void *opaque, const MemLinkHello *hello, const MemLinkPeer *peer)
{
	Bench *bench = opaque;

	bench->n_hello++;
	bench->hello = *hello;
	bench->peer = *peer;
	g_byte_array_set_size(bench->held, 0);
	if (hello->n_held > 0)
		g_byte_array_append(bench->held, (const guint8 *)hello->held,
				    hello->n_held * sizeof(*hello->held));
	if (bench->in_hello != NULL)
		bench->in_hello(bench);
	return !bench->refuse;
}

static inline void on_done(void *opaque, uint64_t req, bool ok)
{
	Bench *bench = opaque;
	Answer answer = { req, ok, bench->n_closed > 0 };

	g_array_append_val(bench->answers, answer);
	if (bench->in_done != NULL)
		bench->in_done(bench);
}

static inline void on_closed(void *opaque)
{
	Bench *bench = opaque;

	bench->n_closed++;
	if (bench->in_closed != NULL)
		bench->in_closed(bench);
}

static const MemLinkServerOps server_ops = { on_hello, on_done, on_closed, NULL };

static inline void settle(void)
{
	while (g_main_context_iteration(NULL, FALSE))
		;
}

static inline void bench_attach(Bench *bench)
{
	int fds[2];

	raw_pair(fds);
	bench->host = fds[1];
	g_assert_true(mem_link_server_attach(bench->server, fds[0]));
}

static inline Bench *bench_new(void)
{
	Bench *bench = g_new0(Bench, 1);

	bench->answers = g_array_new(FALSE, FALSE, sizeof(Answer));
	bench->held = g_byte_array_new();
	bench->server = mem_link_server_new(NULL, &server_ops, bench);
	bench_attach(bench);
	return bench;
}

static inline void bench_welcome(Bench *bench)
{
	raw_hello(bench->host, 1000, 0);
	settle();
	g_assert_true(mem_link_server_is_connected(bench->server));
	raw_expect(bench->host, MEM_LINK_WELCOME);
}

static inline Bench *bench_new_welcome(void)
{
	Bench *bench = bench_new();

	bench_welcome(bench);
	return bench;
}

static inline void bench_free(Bench *bench)
{
	mem_link_server_free(bench->server);
	close(bench->host);
	g_array_unref(bench->answers);
	g_byte_array_unref(bench->held);
	settle();
	g_free(bench);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Bench, bench_free)

static inline void assert_answer(const Bench *bench, guint i, uint64_t req, bool ok)
{
	const Answer *answer = &g_array_index(bench->answers, Answer, i);

	g_assert_cmpuint(bench->answers->len, >, i);
	g_assert_cmpuint(answer->req, ==, req);
	g_assert_cmpint(answer->ok, ==, ok);
	g_assert_false(answer->was_closed);
}

static inline bool host_is_silent(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, 0) == 0;
}

/* N maps of one file, ids from FIRST on. */
static inline void prepare(Bench *bench, uint64_t req, uint64_t first, size_t n)
{
	g_autofree MemLinkMap *maps = g_new0(MemLinkMap, n + 1);
	int fd = sealed_memfd(PAGE, F_SEAL_SHRINK);

	for (size_t i = 0; i < n; i++)
		maps[i] = (MemLinkMap){ .id = first + i, .dpa = i * PAGE, .len = PAGE, .fd = fd };
	mem_link_server_prepare(bench->server, req, maps, n);
	close(fd);
}

static inline void expect_welcome_then_end(Bench *bench, MemLinkWelcomeStatus status)
{
	MemLinkWelcomeMessage welcome[MEM_LINK_MAX_MESSAGE / sizeof(MemLinkWelcomeMessage)];

	g_assert_cmpint(raw_recv(bench->host, welcome, NULL), ==, sizeof(*welcome));
	g_assert_cmpuint(le32_get(welcome->version), ==, MEM_LINK_VERSION);
	g_assert_cmpuint(le32_get(welcome->status), ==, status);
	raw_expect_end(bench->host);
	g_assert_false(mem_link_server_is_connected(bench->server));
	g_assert_cmpuint(bench->n_closed, ==, 0);
}

static inline void request_one_of_each(Bench *bench)
{
	MemLinkDecoderState decoder = { .ways = 1, .granularity = 256 };
	MemLinkPart part = { 1, 0, PAGE };

	prepare(bench, 1, 1, 1);
	mem_link_server_expose(bench->server, 2, ARRAY(1), 1);
	mem_link_server_revoke(bench->server, 3, &part, 1);
	mem_link_server_drop(bench->server, 4, ARRAY(1), 1);
	mem_link_server_decoder(bench->server, 5, &decoder);
}

static inline void connect_refused(Bench *bench)
{
	int fds[2];

	raw_pair(fds);
	g_assert_false(mem_link_server_attach(bench->server, fds[0]));
	close(fds[1]);
}

#endif
