/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory link server: bytes, hello, and hosts that break the rules. */
#include "mem_link_server_bench.h"

#include <sys/un.h>

/* ---- bytes ---- */

static void assert_next(const Bench *bench, unsigned n_fds, const char *hex)
{
	g_autofree uint8_t *buf = g_malloc(MEM_LINK_MAX_MESSAGE);
	unsigned n_fds_got;
	ssize_t got = raw_recv(bench->host, buf, &n_fds_got);

	assert_bytes(buf, (size_t)got, hex);
	g_assert_cmpuint(n_fds_got, ==, n_fds);
}

static void test_golden(void)
{
	g_autoptr(Bench) bench = bench_new();
	int fd = sealed_memfd(2 * PAGE, F_SEAL_SHRINK);
	MemLinkMap maps[] = {
		{ .id = 0x11,
		  .dpa = 0x20000000,
		  .len = 0x1000,
		  .offset = 0x1000,
		  .incarnation = 0x77,
		  .fd = fd,
		  .writable = true },
		{ .id = 0x12, .dpa = 0x20001000, .len = 0x1000, .incarnation = 0x78, .fd = fd },
	};
	MemLinkPart part = { 0x11, 0x20000000, 0x1000 };
	MemLinkDecoderState decoder = { .index = 3,
					.committed = true,
					.hpa = 0x4000000000,
					.len = 0x20000000,
					.dpa = 0x10000000,
					.granularity = 256,
					.ways = 2 };

	raw_hello(bench->host, 1000, 0);
	settle();
	assert_next(bench, 0,
		    "18 00 00 00 10 00 00 00  00 00 00 00 00 00 00 00  "
		    "01 00 00 00 00 00 00 00");
	mem_link_server_prepare(bench->server, 1, maps, 2);
	mem_link_server_expose(bench->server, 2, ARRAY(0x11, 0x12), 2);
	mem_link_server_revoke(bench->server, 3, &part, 1);
	mem_link_server_drop(bench->server, 4, ARRAY(0x12), 1);
	mem_link_server_decoder(bench->server, 5, &decoder);
	assert_next(bench, 2,
		    "70 00 00 00 12 00 02 00  01 00 00 00 00 00 00 00  "
		    "11 00 00 00 00 00 00 00  00 00 00 20 00 00 00 00  "
		    "00 10 00 00 00 00 00 00  00 10 00 00 00 00 00 00  "
		    "77 00 00 00 00 00 00 00  01 00 00 00 00 00 00 00  "
		    "12 00 00 00 00 00 00 00  00 10 00 20 00 00 00 00  "
		    "00 10 00 00 00 00 00 00  00 00 00 00 00 00 00 00  "
		    "78 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00");
	assert_next(bench, 0,
		    "20 00 00 00 13 00 02 00  02 00 00 00 00 00 00 00  "
		    "11 00 00 00 00 00 00 00  12 00 00 00 00 00 00 00");
	assert_next(bench, 0,
		    "28 00 00 00 14 00 01 00  03 00 00 00 00 00 00 00  "
		    "11 00 00 00 00 00 00 00  00 00 00 20 00 00 00 00  "
		    "00 10 00 00 00 00 00 00");
	assert_next(bench, 0,
		    "18 00 00 00 15 00 01 00  04 00 00 00 00 00 00 00  "
		    "12 00 00 00 00 00 00 00");
	assert_next(bench, 0,
		    "38 00 00 00 11 00 01 00  05 00 00 00 00 00 00 00  "
		    "03 00 00 00 01 00 00 00  02 00 00 00 00 01 00 00  "
		    "00 00 00 00 40 00 00 00  00 00 00 20 00 00 00 00  "
		    "00 00 00 10 00 00 00 00");
	close(fd);
}

/* ---- hello ---- */

static void test_hello(void)
{
	g_autoptr(Bench) bench = bench_new();

	settle();
	g_assert_false(mem_link_server_is_connected(bench->server));
	bench_welcome(bench);
	g_assert_cmpuint(bench->n_hello, ==, 1);
	g_assert_cmpuint(bench->hello.max_maps, ==, 1000);
	g_assert_cmpuint(bench->hello.n_held, ==, 0);
	for (unsigned i = 0; i < 16; i++)
		g_assert_cmpuint(bench->hello.session[i], ==, i);
	g_assert_cmpint(bench->peer.pid, ==, getpid());
	g_assert_cmpuint(bench->peer.uid, ==, getuid());
	g_assert_cmpuint(bench->peer.gid, ==, getgid());
}

static void put_held(int fd, unsigned first, unsigned n)
{
	g_autofree uint64_t *words = g_new(uint64_t, 4 * n);

	for (unsigned i = 0; i < n; i++) {
		words[4 * i] = first + i + 1;
		words[4 * i + 1] = (first + i) * PAGE;
		words[4 * i + 2] = PAGE;
		words[4 * i + 3] = 9;
	}
	raw_put(fd, MEM_LINK_HELD, n, 0, words, 4 * n);
}

static void test_hello_held(void)
{
	g_autoptr(Bench) bench = bench_new();
	const MemLinkHeld *held;

	raw_hello(bench->host, 5000, 2500);
	for (unsigned first = 0; first < 2500; first += 500) {
		settle();
		g_assert_cmpuint(bench->n_hello, ==, 0);
		put_held(bench->host, first, 500);
	}
	settle();
	g_assert_cmpuint(bench->n_hello, ==, 1);
	g_assert_cmpuint(bench->hello.n_held, ==, 2500);
	held = (const MemLinkHeld *)(const void *)bench->held->data;
	for (unsigned i = 0; i < 2500; i++) {
		g_assert_cmpuint(le64_get(held[i].map_id), ==, i + 1);
		g_assert_cmpuint(le64_get(held[i].dpa), ==, i * PAGE);
	}
	raw_expect(bench->host, MEM_LINK_WELCOME);
}

/* The largest hello there is. */
static void test_hello_held_max(void)
{
	g_autoptr(Bench) bench = bench_new();

	raw_hello(bench->host, UINT32_MAX, MEM_LINK_MAX_HELD);
	for (unsigned i = 0; i < MEM_LINK_MAX_HELD; i += MEM_LINK_MAX_HELD_HERE) {
		put_held(bench->host, i, MIN(MEM_LINK_MAX_HELD - i, MEM_LINK_MAX_HELD_HERE));
		settle();
	}
	g_assert_cmpuint(bench->hello.n_held, ==, MEM_LINK_MAX_HELD);
}

static void test_hello_refused(void)
{
	g_autoptr(Bench) bench = bench_new();

	bench->refuse = true;
	bench->in_hello = request_one_of_each;
	raw_hello(bench->host, 5, 0);
	settle();
	expect_welcome_then_end(bench, MEM_LINK_WELCOME_REFUSED);
	g_assert_cmpuint(bench->answers->len, ==, 3);
}

static void test_hello_version(void)
{
	static const size_t lens[] = { 20, 48, 200 }; /* other versions may have other lengths */

	for (unsigned i = 0; i < G_N_ELEMENTS(lens); i++) {
		g_autoptr(Bench) bench = bench_new();
		uint8_t buf[200] = { 0 };

		le32_store(buf, (uint32_t)lens[i]);
		le16_store(buf + 4, MEM_LINK_HELLO);
		le32_store(buf + 16, 2);
		raw_send(bench->host, buf, lens[i]);
		put_held(bench->host, 0, 1); /* stays unread: must not hide the welcome */
		settle();
		expect_welcome_then_end(bench, MEM_LINK_WELCOME_VERSION);
		g_assert_cmpuint(bench->n_hello, ==, 0);
	}
}

/* What the callback asks for comes after the welcome. */
static void test_hello_requests(void)
{
	g_autoptr(Bench) bench = bench_new();

	bench->in_hello = request_one_of_each;
	raw_hello(bench->host, 5, 0);
	settle();
	raw_expect(bench->host, MEM_LINK_WELCOME);
	g_assert_cmpuint(raw_expect(bench->host, MEM_LINK_PREPARE), ==, 1);
	g_assert_cmpuint(raw_expect(bench->host, MEM_LINK_EXPOSE), ==, 2);
	g_assert_cmpuint(raw_expect(bench->host, MEM_LINK_REVOKE), ==, 3);
	g_assert_cmpuint(raw_expect(bench->host, MEM_LINK_DROP), ==, 4);
	g_assert_cmpuint(raw_expect(bench->host, MEM_LINK_DECODER), ==, 5);
}

/* ---- violations ---- */

typedef struct Violation {
	const char *name;
	bool welcome; /* after the welcome and a prepare with id 1 */
	RawMessage messages[2];
} Violation;

#define EMPTY                        \
	{                            \
		.type = 1, .cut = 16 \
	}
#define HELLO(max_maps, n_held) \
	.type = MEM_LINK_HELLO, RAW_WORDS(1 | (uint64_t)(max_maps) << 32, n_held, 0, 0)
#define HELD(...) .type = MEM_LINK_HELD, .count = 1, RAW_WORDS(__VA_ARGS__)
#define DONE(id_) .type = MEM_LINK_DONE, .id = id_, RAW_WORDS(0)
#define MISSES    .type = MEM_LINK_MISSES, RAW_WORDS(1, 2)
#define EXPOSE    .type = MEM_LINK_EXPOSE, .count = 1, .id = 1, RAW_WORDS(1)

static const Violation violations[] = {
	{ "done-before-hello", false, { { DONE(1) } } },
	{ "held-before-hello", false, { { HELD(1, 0, PAGE, 0) } } },
	{ "empty", false, { EMPTY } },
	{ "hello-truncated", false, { { HELLO(5, 0), .cut = 1 } } },
	{ "hello-short", false, { { HELLO(5, 0), .cut = 8, .cut_is_told = true } } },
	{ "hello-long", false, { { HELLO(5, 0), .grown_to = 56 } } },
	{ "hello-oversized", false, { { HELLO(5, 0), .grown_to = MEM_LINK_MAX_MESSAGE + 1 } } },
	{ "hello-count", false, { { HELLO(5, 0), .count = 1 } } },
	{ "hello-id", false, { { HELLO(5, 0), .id = 7 } } },
	{ "hello-fd", false, { { HELLO(5, 0), .n_fds = 1 } } },
	{ "hello-250-fds", false, { { HELLO(5, 0), .n_fds = 250 } } },
	{ "hello-reserved", false, { { HELLO(5, UINT64_C(1) << 32) } } },
	{ "held-over-limit", false, { { HELLO(UINT32_MAX, MEM_LINK_MAX_HELD + 1) } } },
	{ "held-over-max-maps", false, { { HELLO(5, 6) } } },
	{ "held-none", false, { { HELLO(5, 1) }, { .type = MEM_LINK_HELD } } },
	{ "held-too-many",
	  false,
	  { { HELLO(5, 1) },
	    { .type = MEM_LINK_HELD, .count = 2, RAW_WORDS(1, 0, PAGE, 0, 2, PAGE, PAGE, 0) } } },
	{ "held-id-0", false, { { HELLO(5, 1) }, { HELD(0, 0, PAGE, 0) } } },
	{ "held-empty", false, { { HELLO(5, 1) }, { HELD(1, 0, 0, 0) } } },
	{ "held-misaligned", false, { { HELLO(5, 1) }, { HELD(1, 512, PAGE, 0) } } },
	{ "held-wrapped", false, { { HELLO(5, 1) }, { HELD(1, -2 * PAGE, 4 * PAGE, 0) } } },
	{ "held-fd", false, { { HELLO(5, 1) }, { HELD(1, 0, PAGE, 0), .n_fds = 1 } } },
	{ "held-then-done", false, { { HELLO(5, 1) }, { DONE(1) } } },
	{ "misses-first", false, { { MISSES } } },
	{ "wrong-direction-first", false, { { EXPOSE } } },
	{ "hello-twice", true, { { HELLO(5, 0) } } },
	{ "held-after-welcome", true, { { HELD(1, 0, PAGE, 0) } } },
	{ "empty-after-welcome", true, { EMPTY } },
	{ "short-header", true, { { DONE(1), .cut = 9, .cut_is_told = true } } },
	{ "truncated", true, { { DONE(1), .cut = 4 } } },
	{ "oversized", true, { { DONE(1), .grown_to = MEM_LINK_MAX_MESSAGE + 1 } } },
	{ "unknown-type", true, { { .type = 99, .id = 1, RAW_WORDS(0) } } },
	{ "wrong-direction", true, { { EXPOSE } } },
	{ "done-fd", true, { { DONE(1), .n_fds = 1 } } },
	{ "done-id-0", true, { { DONE(0) } } },
	{ "misses-fd", true, { { MISSES, .n_fds = 1 } } },
	{ "misses-id", true, { { MISSES, .id = 1 } } },
	{ "misses-count", true, { { MISSES, .count = 1 } } },
	{ "misses-short", true, { { MISSES, .cut = 8, .cut_is_told = true } } },
	{ "done-unknown", true, { { DONE(2) } } },
	{ "done-twice", true, { { DONE(1) }, { DONE(1) } } },
	{ "done-reserved",
	  true,
	  { { .type = MEM_LINK_DONE, .id = 1, RAW_WORDS(UINT64_C(1) << 32) } } },
};

/* Each ends the connection, leaves no descriptor and nothing unanswered, and the next host is
 * served. */
static void test_violation(const void *data)
{
	const Violation *violation = data;
	g_autoptr(Bench) bench = violation->welcome ? bench_new_welcome() : bench_new();
	unsigned n_fds;

	if (violation->welcome) {
		prepare(bench, 77, 1, 1);
		raw_expect(bench->host, MEM_LINK_PREPARE);
	}
	n_fds = count_fds();
	for (unsigned i = 0; i < G_N_ELEMENTS(violation->messages); i++)
		raw_send_message(bench->host, &violation->messages[i], bench->host);
	settle();
	raw_expect_end(bench->host);
	g_assert_false(mem_link_server_is_connected(bench->server));
	g_assert_cmpuint(bench->n_hello, ==, violation->welcome ? 1 : 0);
	g_assert_cmpuint(bench->n_closed, ==, violation->welcome ? 1 : 0);
	if (violation->welcome) {
		g_assert_cmpuint(bench->answers->len, ==, 1);
		assert_answer(bench, 0, 77, violation->messages[1].type == MEM_LINK_DONE);
	}
	/* Its socket, and until hello a pidfd of its peer. */
	g_assert_cmpuint(count_fds(), ==, n_fds - (violation->welcome ? 1 : 2));
	close(bench->host);
	bench_attach(bench);
	bench_welcome(bench);
}

/* ---- a listening socket ---- */

static int listener_new(struct sockaddr_un *ret_address)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(*ret_address);

	/* The system picks an abstract name. */
	*ret_address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	g_assert_cmpint(bind(fd, (struct sockaddr *)ret_address, sizeof(sa_family_t)), ==, 0);
	g_assert_cmpint(listen(fd, 8), ==, 0);
	g_assert_cmpint(getsockname(fd, (struct sockaddr *)ret_address, &len), ==, 0);
	return fd;
}

static int connect_to(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	/* An autobound name has six bytes: the zero, and five digits. */
	g_assert_cmpint(connect(fd, (const struct sockaddr *)address, sizeof(sa_family_t) + 6), ==,
			0);
	return fd;
}

static void test_listen(void)
{
	g_autoptr(Bench) bench = bench_new();
	struct sockaddr_un address;
	gint64 start = g_get_monotonic_time();
	int first, second;

	close(bench->host);
	settle();
	mem_link_server_listen(bench->server, listener_new(&address));
	bench->host = first = connect_to(&address);
	settle();
	second = connect_to(&address);
	bench->host = second;
	settle();
	expect_welcome_then_end(bench, MEM_LINK_WELCOME_BUSY);
	close(second);
	/* The first is silent: a second later it makes room. */
	while (host_is_silent(first) && g_get_monotonic_time() < start + WAIT_MS * 1000)
		g_main_context_iteration(NULL, TRUE);
	raw_expect_end(first);
	g_assert_cmpint(g_get_monotonic_time() - start, >=, G_USEC_PER_SEC);
	close(first);
	bench->host = connect_to(&address);
	settle();
	bench_welcome(bench);
	g_assert_cmpint(bench->peer.pid, ==, getpid());
}

static void test_wrong_socket(void)
{
	g_autoptr(Bench) bench = bench_new();
	unsigned n_fds = count_fds();
	int fds[2];

	/* Another one while this one is there. */
	connect_refused(bench);
	mem_link_server_disconnect(bench->server);
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
	g_assert_false(mem_link_server_attach(bench->server, fds[0]));
	close(fds[1]);
	/* Its socket is gone, and the pidfd that waited for its hello. */
	g_assert_cmpuint(count_fds(), ==, n_fds - 2);
}

#define P "/protocol/mem-link/server/"

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	/* It has a descriptor, and the tests count them. */
	g_main_context_default();
	g_test_add_func(P "golden", test_golden);
	g_test_add_func(P "hello", test_hello);
	g_test_add_func(P "hello/held", test_hello_held);
	g_test_add_func(P "hello/held-max", test_hello_held_max);
	g_test_add_func(P "hello/refused", test_hello_refused);
	g_test_add_func(P "hello/version", test_hello_version);
	g_test_add_func(P "hello/requests", test_hello_requests);
	for (unsigned i = 0; i < G_N_ELEMENTS(violations); i++) {
		g_autofree char *path = g_strconcat(P "violation/", violations[i].name, NULL);

		g_test_add_data_func(path, &violations[i], test_violation);
	}
	g_test_add_func(P "listen", test_listen);
	g_test_add_func(P "wrong-socket", test_wrong_socket);
	return g_test_run();
}
