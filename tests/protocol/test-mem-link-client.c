/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory link client against a device of raw messages: malformed, lying, silent, gone. */
#include "link/mem_link_client.h"
#include "mem_link_raw.h"

#include <gio/gio.h>
#include <pthread.h>
#include <sys/eventfd.h>

/* The ops write a line each to the log; the client's thread does, the test reads between steps. */
typedef struct Bench {
	int device;
	MemLinkClient *client;
	pthread_mutex_t lock; /* not GLib's: thread sanitizer cannot see into it */
	GString *log;
	uint64_t fail_id; /* an op on this map fails */
	bool closed;
} Bench;

static int note(Bench *bench, uint64_t id, const char *format, ...) G_GNUC_PRINTF(3, 4);

static int note(Bench *bench, uint64_t id, const char *format, ...)
{
	va_list args;
	int rc;

	va_start(args, format);
	pthread_mutex_lock(&bench->lock);
	g_string_append_vprintf(bench->log, format, args);
	g_string_append(bench->log, "; ");
	rc = id != 0 && id == bench->fail_id ? -ENOMEM : 0;
	pthread_mutex_unlock(&bench->lock);
	va_end(args);
	return rc;
}

static int on_prepare(void *opaque, const MemLinkClientMap *map)
{
	int rc = note(opaque, map->id,
		      "prepare %" PRIu64 " %" PRIx64 "+%" PRIx64 "@%" PRIx64 "#%" PRIu64 "%s",
		      map->id, map->dpa, map->len, map->offset, map->incarnation,
		      map->writable ? " rw" : "");

	if (rc == 0)
		close(map->fd);
	return rc;
}

static int on_expose(void *opaque, const uint64_t *ids, size_t n)
{
	int rc = 0;

	for (size_t i = 0; i < n; i++)
		rc = rc != 0 ? rc : note(opaque, ids[i], "expose %" PRIu64, ids[i]);
	return rc;
}

static int on_revoke(void *opaque, uint64_t id, uint64_t dpa, uint64_t len)
{
	return note(opaque, id, "revoke %" PRIu64 " %" PRIx64 "+%" PRIx64, id, dpa, len);
}

static int on_drop(void *opaque, uint64_t id)
{
	return note(opaque, 0, "drop %" PRIu64, id);
}

static int on_decoder(void *opaque, const MemLinkClientDecoder *decoder)
{
	return note(opaque, decoder->dpa, "decoder %u %s %" PRIx64 "+%" PRIx64 " %" PRIx64 " %u*%u",
		    decoder->index, decoder->committed ? "on" : "off", decoder->hpa, decoder->len,
		    decoder->dpa, decoder->ways, decoder->granularity);
}

static void on_closed(void *opaque)
{
	Bench *bench = opaque;

	pthread_mutex_lock(&bench->lock);
	g_assert_false(bench->closed); /* once */
	bench->closed = true;
	pthread_mutex_unlock(&bench->lock);
}

static const MemLinkClientOps client_ops = { on_prepare, on_expose,  on_revoke,
					     on_drop,    on_decoder, on_closed };

static const uint8_t session[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };

static Bench *bench_new_raw(int *ret_client_fd)
{
	Bench *bench = g_new0(Bench, 1);
	int fds[2];

	raw_pair(fds);
	bench->device = fds[0];
	*ret_client_fd = fds[1];
	bench->log = g_string_new(NULL);
	pthread_mutex_init(&bench->lock, NULL);
	return bench;
}

static Bench *bench_new(uint32_t max_maps, const MemLinkHeld *held, uint32_t n_held)
{
	g_autoptr(GError) error = NULL;
	int fd;
	Bench *bench = bench_new_raw(&fd);

	raw_welcome(bench->device, MEM_LINK_WELCOME_OK); /* read once hello is out */
	bench->client = mem_link_client_new(fd, session, max_maps, held, n_held, &client_ops, bench,
					    WAIT_MS, &error);
	g_assert_no_error(error);
	raw_expect(bench->device, MEM_LINK_HELLO);
	for (uint32_t i = 0; i < n_held; i += MEM_LINK_MAX_HELD_HERE)
		raw_expect(bench->device, MEM_LINK_HELD);
	return bench;
}

static void bench_free(Bench *bench)
{
	mem_link_client_free(bench->client);
	if (bench->device >= 0)
		close(bench->device);
	g_string_free(bench->log, TRUE);
	pthread_mutex_destroy(&bench->lock);
	g_free(bench);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Bench, bench_free)

static void assert_log(Bench *bench, const char *expected)
{
	pthread_mutex_lock(&bench->lock);
	g_assert_cmpstr(bench->log->str, ==, expected);
	g_string_truncate(bench->log, 0);
	pthread_mutex_unlock(&bench->lock);
}

static bool was_closed(Bench *bench)
{
	bool closed;

	pthread_mutex_lock(&bench->lock);
	closed = bench->closed;
	pthread_mutex_unlock(&bench->lock);
	return closed;
}

static void assert_closed(Bench *bench)
{
	gint64 deadline = g_get_monotonic_time() + WAIT_MS * G_TIME_SPAN_MILLISECOND;

	raw_expect_end(bench->device);
	while (!was_closed(bench)) {
		g_assert_cmpint(g_get_monotonic_time(), <, deadline);
		g_usleep(100);
	}
	g_assert_false(mem_link_client_is_connected(bench->client));
}

static void set_fail(Bench *bench, uint64_t id)
{
	pthread_mutex_lock(&bench->lock);
	bench->fail_id = id;
	pthread_mutex_unlock(&bench->lock);
}

/* One map of a good file of four pages; words are id, dpa, len, offset. */
static void put_prepare(int device, uint64_t message, uint64_t id, uint64_t dpa, uint64_t len,
			uint64_t offset)
{
	uint8_t buf[64];
	int fd = sealed_memfd(4 * PAGE, F_SEAL_SHRINK);

	raw_build(buf, MEM_LINK_PREPARE, 1, message, ARRAY(id, dpa, len, offset, 5, 1), 6);
	raw_send_fds(device, buf, sizeof(buf), &fd, 1);
	close(fd);
}

/* ---- bytes ---- */

static void assert_next(int device, const char *hex)
{
	g_autofree uint8_t *buf = g_malloc(MEM_LINK_MAX_MESSAGE);
	ssize_t got = raw_recv(device, buf, NULL);

	assert_bytes(buf, (size_t)got, hex);
}

static void test_golden(void)
{
	MemLinkHeld held[2] = {
		{ le64_put(0x11), le64_put(0x20000000), le64_put(0x1000), le64_put(0x77) },
		{ le64_put(0x12), le64_put(0x20001000), le64_put(0x2000), le64_put(0x78) },
	};
	g_autoptr(GError) error = NULL;
	int fd;
	g_autoptr(Bench) bench = bench_new_raw(&fd);

	raw_welcome(bench->device, MEM_LINK_WELCOME_OK);
	bench->client = mem_link_client_new(fd, session, 1000, held, 2, &client_ops, bench, WAIT_MS,
					    &error);
	g_assert_no_error(error);
	assert_next(bench->device, "30 00 00 00 01 00 00 00  00 00 00 00 00 00 00 00  "
				   "01 00 00 00 e8 03 00 00  02 00 00 00 00 00 00 00  "
				   "00 01 02 03 04 05 06 07  08 09 0a 0b 0c 0d 0e 0f");
	assert_next(bench->device, "50 00 00 00 02 00 02 00  00 00 00 00 00 00 00 00  "
				   "11 00 00 00 00 00 00 00  00 00 00 20 00 00 00 00  "
				   "00 10 00 00 00 00 00 00  77 00 00 00 00 00 00 00  "
				   "12 00 00 00 00 00 00 00  00 10 00 20 00 00 00 00  "
				   "00 20 00 00 00 00 00 00  78 00 00 00 00 00 00 00");
	raw_put(bench->device, MEM_LINK_DROP, 1, 0x1234, ARRAY(0x11), 1);
	assert_next(bench->device, "18 00 00 00 03 00 00 00  34 12 00 00 00 00 00 00  "
				   "00 00 00 00 00 00 00 00");
}

/* ---- hello ---- */

static void test_held_many(void)
{
	g_autofree MemLinkHeld *held = g_new0(MemLinkHeld, 2500);
	g_autoptr(Bench) bench = NULL;

	for (unsigned i = 0; i < 2500; i++) {
		held[i].map_id = le64_put(i / 2 + 1); /* two pieces of each map */
		held[i].dpa = le64_put(2 * i * PAGE);
		held[i].len = le64_put(PAGE);
	}
	bench = bench_new(2500, held, 2500);
	raw_put(bench->device, MEM_LINK_REVOKE, 2, 1, ARRAY(1, 0, PAGE, 1, 2 * PAGE, PAGE), 6);
	raw_expect_done(bench->device, 1, 0);
	assert_log(bench, "revoke 1 0+1000; revoke 1 2000+1000; drop 1; ");
	raw_put(bench->device, MEM_LINK_DROP, 1, 2, ARRAY(1250), 1);
	raw_expect_done(bench->device, 2, 0);
	assert_log(bench, "drop 1250; ");
	/* Held is exposed. */
	raw_put(bench->device, MEM_LINK_EXPOSE, 1, 3, ARRAY(1249), 1);
	assert_closed(bench);
	assert_log(bench, "");
}

typedef struct Welcome {
	const char *name;
	int code;
	void (*give)(int device);
} Welcome;

static void give_version(int device)
{
	raw_put(device, MEM_LINK_WELCOME, 0, 0, ARRAY(2 | UINT64_C(1) << 32), 1);
}

static void give_refused(int device)
{
	raw_welcome(device, MEM_LINK_WELCOME_REFUSED);
}

static void give_busy(int device)
{
	raw_welcome(device, MEM_LINK_WELCOME_BUSY);
}

static void give_unknown(int device)
{
	raw_welcome(device, 9);
}

static void give_other_version(int device)
{
	raw_put(device, MEM_LINK_WELCOME, 0, 0, ARRAY(2), 1);
}

static void give_request(int device)
{
	raw_put(device, MEM_LINK_DROP, 1, 1, ARRAY(1), 1);
}

static void give_large(int device)
{
	uint8_t buf[4096] = { 0 };

	raw_send(device, buf, sizeof(buf));
}

static void give_fd(int device)
{
	uint8_t buf[24];

	raw_build(buf, MEM_LINK_WELCOME, 0, 0, ARRAY(1), 1);
	raw_send_fds(device, buf, sizeof(buf), &device, 1);
}

static void give_end(int device)
{
	shutdown(device, SHUT_RDWR);
}

static void give_nothing(int device)
{
}

static const Welcome welcomes[] = {
	{ "version", G_IO_ERROR_NOT_SUPPORTED, give_version },
	{ "refused", G_IO_ERROR_PERMISSION_DENIED, give_refused },
	{ "busy", G_IO_ERROR_BUSY, give_busy },
	{ "unknown-status", G_IO_ERROR_INVALID_DATA, give_unknown },
	{ "other-version", G_IO_ERROR_INVALID_DATA, give_other_version },
	{ "not-a-welcome", G_IO_ERROR_INVALID_DATA, give_request },
	{ "oversized", G_IO_ERROR_INVALID_DATA, give_large },
	{ "fd", G_IO_ERROR_INVALID_DATA, give_fd },
	{ "end", G_IO_ERROR_CONNECTION_CLOSED, give_end },
	{ "silence", G_IO_ERROR_TIMED_OUT, give_nothing },
};

static void test_welcome(const void *data)
{
	const Welcome *welcome = data;
	g_autoptr(GError) error = NULL;
	unsigned n_fds = count_fds();
	int fd;
	g_autoptr(Bench) bench = bench_new_raw(&fd);

	welcome->give(bench->device);
	bench->client = mem_link_client_new(fd, session, 10, NULL, 0, &client_ops, bench, 50,
					    &error);
	g_assert_null(bench->client);
	g_assert_error(error, G_IO_ERROR, welcome->code);
	g_assert_cmpuint(count_fds(), ==, n_fds + 1);
	g_assert_false(bench->closed);
}

static void *refuse_run(void *data)
{
	int device = GPOINTER_TO_INT(data);
	struct pollfd pfd = { .fd = device, .events = POLLIN };

	g_assert_cmpint(poll(&pfd, 1, WAIT_MS), ==, 1);
	raw_welcome(device, MEM_LINK_WELCOME_BUSY);
	close(device);
	return NULL;
}

/* The end with hello unread is reported before the refusal that precedes it. */
static void test_refused_unread(void)
{
	for (unsigned i = 0; i < 100; i++) {
		g_autoptr(GError) error = NULL;
		int fd;
		g_autoptr(Bench) bench = bench_new_raw(&fd);
		GThread *thread = g_thread_new("device", refuse_run,
					       GINT_TO_POINTER(bench->device));

		bench->client = mem_link_client_new(fd, session, 10, NULL, 0, &client_ops, bench,
						    WAIT_MS, &error);
		g_thread_join(thread);
		bench->device = -1;
		g_assert_error(error, G_IO_ERROR, G_IO_ERROR_BUSY);
	}
}

/* A device that does not even read. */
static void test_hello_stuck(void)
{
	enum {
		N = 60000
	};
	g_autofree MemLinkHeld *held = g_new0(MemLinkHeld, N);
	g_autoptr(GError) error = NULL;
	int small = 1;
	int fd;
	g_autoptr(Bench) bench = bench_new_raw(&fd);

	for (unsigned i = 0; i < N; i++)
		held[i] = (MemLinkHeld){ .map_id = le64_put(i + 1), .len = le64_put(PAGE) };
	/* Such a system default must not make the long messages impossible. */
	g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), ==, 0);
	bench->client = mem_link_client_new(fd, session, UINT32_MAX, held, N, &client_ops, bench,
					    50, &error);
	g_assert_error(error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
}

/* Our own side's mistakes are not sent. */
static void test_held_refused(void)
{
	static const struct {
		uint64_t id, dpa, len;
	} cases[] = {
		{ 0, 0, PAGE },
		{ 1, 0, 0 },
		{ 1, 7, PAGE },
		{ 9, 0, PAGE },
		{ 1, -2 * PAGE, 3 * PAGE },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		MemLinkHeld held[2] = {
			{ .map_id = le64_put(9), .len = le64_put(2 * PAGE) },
			{ le64_put(cases[i].id), le64_put(cases[i].dpa), le64_put(cases[i].len),
			  le64_put(0) },
		};
		g_autoptr(GError) error = NULL;
		int fd;
		g_autoptr(Bench) bench = bench_new_raw(&fd);

		bench->client = mem_link_client_new(fd, session, 10, held, 2, &client_ops, bench,
						    50, &error);
		g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
		raw_expect_end(bench->device);
	}
}

/* ---- what a device may ask ---- */

static void test_life(void)
{
	g_autoptr(Bench) bench = bench_new(10, NULL, 0);
	unsigned n_fds = count_fds();

	put_prepare(bench->device, 1, 7, 0x10000, 4 * PAGE, 0);
	raw_expect_done(bench->device, 1, 0);
	assert_log(bench, "prepare 7 10000+4000@0#5 rw; ");
	raw_put(bench->device, MEM_LINK_EXPOSE, 1, 2, ARRAY(7), 1);
	raw_expect_done(bench->device, 2, 0);
	/* Its middle, its first, then the last page: only then is it dropped. */
	raw_put(bench->device, MEM_LINK_REVOKE, 1, 3, ARRAY(7, 0x11000, 2 * PAGE), 3);
	raw_expect_done(bench->device, 3, 0);
	raw_put(bench->device, MEM_LINK_REVOKE, 1, 4, ARRAY(7, 0x10000, PAGE), 3);
	raw_expect_done(bench->device, 4, 0);
	assert_log(bench, "expose 7; revoke 7 11000+2000; revoke 7 10000+1000; ");
	raw_put(bench->device, MEM_LINK_REVOKE, 1, 5, ARRAY(7, 0x13000, PAGE), 3);
	raw_expect_done(bench->device, 5, 0);
	assert_log(bench, "revoke 7 13000+1000; drop 7; ");
	/* None there is as good as dropped. */
	raw_put(bench->device, MEM_LINK_DROP, 2, 6, ARRAY(7, 99), 2);
	raw_expect_done(bench->device, 6, 0);
	raw_put(bench->device, MEM_LINK_DECODER, 1, 9,
		ARRAY(2 | UINT64_C(1) << 32, 3 | UINT64_C(256) << 32, 1 << 28, 3 << 28, 0), 5);
	raw_expect_done(bench->device, 9, 0);
	raw_put(bench->device, MEM_LINK_DECODER, 1, 10, ARRAY(2, 77, 1, 2, 3), 5);
	raw_expect_done(bench->device, 10, 0);
	assert_log(bench, "decoder 2 on 10000000+30000000 0 3*256; decoder 2 off 0+0 0 0*0; ");
	g_assert_true(mem_link_client_is_connected(bench->client));
	g_assert_cmpuint(count_fds(), ==, n_fds);
}

static void test_failures(void)
{
	g_autoptr(Bench) bench = bench_new(4, NULL, 0);
	unsigned n_fds = count_fds();
	uint8_t buf[16 + 3 * 48];
	int fd = sealed_memfd(PAGE, F_SEAL_SHRINK);

	/* The second of three: all of the message or nothing. */
	set_fail(bench, 2);
	raw_build(buf, MEM_LINK_PREPARE, 3, 1,
		  ARRAY(1, 0, PAGE, 0, 5, 1, 2, PAGE, PAGE, 0, 5, 0, 3, 2 * PAGE, PAGE, 0, 5, 0),
		  18);
	raw_send_fds(bench->device, buf, sizeof(buf), (int[]){ fd, fd, fd }, 3);
	raw_expect_done(bench->device, 1, MEM_LINK_FAILED);
	assert_log(bench, "prepare 1 0+1000@0#5 rw; prepare 2 1000+1000@0#5; drop 1; ");
	g_assert_cmpuint(count_fds(), ==, n_fds + 1);
	/* Nothing of it stayed: the same ids are new. */
	set_fail(bench, 0);
	le64_store(buf + 8, 2);
	raw_send_fds(bench->device, buf, sizeof(buf), (int[]){ fd, fd, fd }, 3);
	raw_expect_done(bench->device, 2, MEM_LINK_OK);
	close(fd);
	assert_log(bench, "prepare 1 0+1000@0#5 rw; prepare 2 1000+1000@0#5; "
			  "prepare 3 2000+1000@0#5; ");
	put_prepare(bench->device, 3, 4, 0x100000, 4 * PAGE, 0);
	raw_expect_done(bench->device, 3, MEM_LINK_OK);
	put_prepare(bench->device, 4, 5, 0x200000, PAGE, 0);
	raw_expect_done(bench->device, 4, MEM_LINK_NO_ROOM);
	set_fail(bench, 2);
	raw_put(bench->device, MEM_LINK_EXPOSE, 2, 5, ARRAY(1, 2), 2);
	raw_expect_done(bench->device, 5, MEM_LINK_FAILED);
	/* Neither is exposed, so both still can be. */
	set_fail(bench, 0);
	raw_put(bench->device, MEM_LINK_EXPOSE, 2, 6, ARRAY(1, 2), 2);
	raw_expect_done(bench->device, 6, MEM_LINK_OK);
	set_fail(bench, 3);
	raw_put(bench->device, MEM_LINK_REVOKE, 1, 7, ARRAY(3, 2 * PAGE, PAGE), 3);
	raw_expect_done(bench->device, 7, MEM_LINK_FAILED);
	set_fail(bench, 0x1000);
	raw_put(bench->device, MEM_LINK_DECODER, 1, 8,
		ARRAY(UINT64_C(1) << 32, 1 | UINT64_C(256) << 32, 0, 1 << 28, 0x1000), 5);
	raw_expect_done(bench->device, 8, MEM_LINK_FAILED);
	g_assert_cmpuint(count_fds(), ==, n_fds);
}

typedef struct Help {
	Bench *bench;
	int fd;
	uint64_t timeout_us;
} Help;

static void *help_run(void *data)
{
	const Help *help = data;

	return GINT_TO_POINTER(
		mem_link_client_help(help->bench->client, help->fd, help->timeout_us));
}

/* A thread that waits for something else does the work meanwhile. */
static void test_help(void)
{
	g_autoptr(Bench) bench = bench_new(10, NULL, 0);
	Help help = { bench, eventfd(0, EFD_CLOEXEC), 0 };
	GThread *thread;

	/* Nothing to do, no time to wait. */
	g_assert_null(help_run(&help));
	help.timeout_us = 1000;
	g_assert_null(help_run(&help));
	help.timeout_us = G_USEC_PER_SEC * 60;
	put_prepare(bench->device, 1, 1, 0, PAGE, 0);
	raw_expect_done(bench->device, 1, 0);
	thread = g_thread_new("help", help_run, &help);
	/* Whoever takes the first: from then on it may be either. */
	for (uint64_t id = 2; id < 50; id++) {
		put_prepare(bench->device, id, id, id * PAGE, PAGE, 0);
		raw_expect_done(bench->device, id, id <= 10 ? MEM_LINK_OK : MEM_LINK_NO_ROOM);
	}
	g_assert_cmpint(eventfd_write(help.fd, 1), ==, 0);
	g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(thread)), ==, 1);
	/* The link's own thread is at work again. */
	raw_put(bench->device, MEM_LINK_EXPOSE, 1, 50, ARRAY(1), 1);
	raw_expect_done(bench->device, 50, 0);
	/* What ends the link ends the help, however long it would have waited. */
	eventfd_read(help.fd, &(eventfd_t){ 0 });
	thread = g_thread_new("help", help_run, &help);
	raw_put(bench->device, MEM_LINK_EXPOSE, 1, 51, ARRAY(1), 1);
	g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(thread)), ==, -ENOTCONN);
	assert_closed(bench);
	g_assert_cmpint(GPOINTER_TO_INT(help_run(&help)), ==, -ENOTCONN);
	close(help.fd);
}

/* The device ends: what was exposed stays, what was only prepared is dropped. */
static void test_device_gone(void)
{
	g_autoptr(Bench) bench = bench_new(10, NULL, 0);

	put_prepare(bench->device, 1, 1, 0, PAGE, 0);
	put_prepare(bench->device, 2, 2, PAGE, PAGE, 0);
	raw_put(bench->device, MEM_LINK_EXPOSE, 1, 3, ARRAY(1), 1);
	for (uint64_t id = 1; id <= 3; id++)
		raw_expect_done(bench->device, id, 0);
	shutdown(bench->device, SHUT_RDWR);
	assert_closed(bench);
	assert_log(bench,
		   "prepare 1 0+1000@0#5 rw; prepare 2 1000+1000@0#5 rw; expose 1; drop 2; ");
}

/* Freeing is not the device's end, and does not wait for a silent one. */
static void test_free(void)
{
	Bench *bench = bench_new(10, NULL, 0);

	g_clear_pointer(&bench->client, mem_link_client_free);
	raw_expect_end(bench->device);
	g_assert_false(bench->closed);
	bench_free(bench);
}

/* Nor for one that never reads what it is answered. */
static void test_free_stuck(void)
{
	int small = 1;
	g_autoptr(GError) error = NULL;
	int fd;
	Bench *bench = bench_new_raw(&fd);
	uint8_t buf[24];

	raw_welcome(bench->device, MEM_LINK_WELCOME_OK);
	bench->client = mem_link_client_new(fd, session, 10, NULL, 0, &client_ops, bench, WAIT_MS,
					    &error);
	g_assert_no_error(error);
	g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), ==, 0);
	for (uint64_t id = 1;; id++) {
		struct pollfd pfd = { .fd = bench->device, .events = POLLOUT };

		raw_build(buf, MEM_LINK_DROP, 1, id, ARRAY(1), 1);
		if (poll(&pfd, 1, 200) == 0)
			break;
		raw_send(bench->device, buf, sizeof(buf));
	}
	g_clear_pointer(&bench->client, mem_link_client_free);
	g_assert_false(bench->closed);
	bench_free(bench);
}

/* ---- what it may not ---- */

typedef enum File {
	FILE_GOOD, /* a sealed memfd of 8 pages */
	FILE_SHORT,
	FILE_UNSEALED,
	FILE_UNSEALABLE,
	FILE_SEALED_GROW,
	FILE_DIRECTORY,
	FILE_PATH,
	FILE_CHAR_DEVICE,
	FILE_SOCKET,
} File;

static int open_file(File kind)
{
	int fd;

	switch (kind) {
	case FILE_GOOD:
		return sealed_memfd(8 * PAGE, F_SEAL_SHRINK);
	case FILE_SHORT:
		return sealed_memfd(5 * PAGE - 1, F_SEAL_SHRINK);
	case FILE_UNSEALED:
		return sealed_memfd(8 * PAGE, 0);
	case FILE_UNSEALABLE:
		fd = memfd_create("test", MFD_CLOEXEC);
		g_assert_cmpint(ftruncate(fd, 8 * (off_t)PAGE), ==, 0);
		return fd;
	case FILE_SEALED_GROW:
		return sealed_memfd(8 * PAGE, F_SEAL_GROW);
	case FILE_DIRECTORY:
		return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	case FILE_PATH:
		return open("/proc/self/exe", O_PATH | O_CLOEXEC);
	case FILE_CHAR_DEVICE:
		return open("/dev/zero", O_RDWR | O_CLOEXEC);
	case FILE_SOCKET:
		return socket(AF_UNIX, SOCK_STREAM, 0);
	}
	return -1;
}

typedef struct Violation {
	const char *name;
	RawMessage message;
	File file;
} Violation;

#define DPA                           UINT64_C(0x100000)
#define ONE(type_, ...)               .type = MEM_LINK_##type_, .count = 1, .id = 3, RAW_WORDS(__VA_ARGS__)
#define MAP(id_, dpa_, len_, offset_) ONE(PREPARE, id_, dpa_, len_, offset_, 0, 0), .n_fds = 1
#define GOOD_MAP                      MAP(9, DPA, 4 * PAGE, PAGE)
#define DECODER(index_, ways_, granularity_, len_)                                            \
	ONE(DECODER, (index_) | UINT64_C(1) << 32, (ways_) | UINT64_C(granularity_) << 32, 0, \
	    len_, 0)

static const Violation violations[] = {
	{ "short-header", { ONE(DROP, 1), .cut = 9, .cut_is_told = true }, 0 },
	{ "empty", { ONE(DROP, 1), .cut = 24 }, 0 },
	{ "empty-with-fd", { ONE(DROP, 1), .cut = 24, .n_fds = 1 }, 0 },
	{ "truncated", { GOOD_MAP, .cut = 8 }, 0 },
	{ "truncated-told", { GOOD_MAP, .cut = 8, .cut_is_told = true }, 0 },
	{ "oversized", { ONE(DROP, 1), .grown_to = MEM_LINK_MAX_MESSAGE + 8, .n_fds = 1 }, 0 },
	{ "no-fd", { ONE(PREPARE, 9, DPA, PAGE, 0, 0, 0) }, 0 },
	{ "2-fds", { ONE(PREPARE, 9, DPA, PAGE, 0, 0, 0), .n_fds = 2 }, 0 },
	{ "17-fds", { ONE(PREPARE, 9, DPA, PAGE, 0, 0, 0), .n_fds = 17 }, 0 },
	{ "200-fds", { ONE(PREPARE, 9, DPA, PAGE, 0, 0, 0), .n_fds = 200 }, 0 },
	{ "drop-fd", { ONE(DROP, 1), .n_fds = 1 }, 0 },
	{ "unknown-type", { .type = 99, .count = 1, .id = 3, RAW_WORDS(1) }, 0 },
	{ "from-host", { .type = MEM_LINK_DONE, .id = 3, RAW_WORDS(0) }, 0 },
	{ "welcome-again", { .type = MEM_LINK_WELCOME, RAW_WORDS(1) }, 0 },
	{ "count-0", { .type = MEM_LINK_DROP, .id = 3 }, 0 },
	{ "count-over",
	  { .type = MEM_LINK_DROP,
	    .count = MEM_LINK_MAX_IDS + 1,
	    .id = 3,
	    .grown_to = 16 + 8 * (MEM_LINK_MAX_IDS + 1) },
	  0 },
	{ "id-0", { .type = MEM_LINK_DROP, .count = 1, RAW_WORDS(1) }, 0 },
	{ "id-again", { .type = MEM_LINK_DROP, .count = 1, .id = 2, RAW_WORDS(1) }, 0 },
	{ "file-short", { GOOD_MAP }, FILE_SHORT },
	{ "file-unsealed", { GOOD_MAP }, FILE_UNSEALED },
	{ "file-unsealable", { GOOD_MAP }, FILE_UNSEALABLE },
	{ "file-sealed-grow-only", { GOOD_MAP }, FILE_SEALED_GROW },
	{ "file-directory", { GOOD_MAP }, FILE_DIRECTORY },
	{ "file-path", { GOOD_MAP }, FILE_PATH },
	{ "file-char-device", { GOOD_MAP }, FILE_CHAR_DEVICE },
	{ "file-socket", { GOOD_MAP }, FILE_SOCKET },
	{ "map-id-0", { MAP(0, DPA, PAGE, 0) }, 0 },
	{ "map-known", { MAP(1, DPA, PAGE, 0) }, 0 },
	{ "map-twice",
	  { .type = MEM_LINK_PREPARE,
	    .count = 2,
	    .id = 3,
	    RAW_WORDS(9, DPA, PAGE, 0, 0, 0, 9, 2 * DPA, PAGE, 0, 0, 0),
	    .n_fds = 2 },
	  0 },
	{ "map-empty", { MAP(9, DPA, 0, 0) }, 0 },
	{ "map-dpa-misaligned", { MAP(9, DPA + 0x800, PAGE, 0) }, 0 },
	{ "map-len-misaligned", { MAP(9, DPA, PAGE + 1, 0) }, 0 },
	{ "map-offset-misaligned", { MAP(9, DPA, PAGE, 1) }, 0 },
	{ "map-dpa-wrapped", { MAP(9, -PAGE, 2 * PAGE, 0) }, 0 },
	{ "map-offset-wrapped", { MAP(9, 0, 2 * PAGE, -PAGE) }, 0 },
	{ "map-len-wrapped", { MAP(9, 0, -PAGE, 2 * PAGE) }, 0 },
	{ "map-flags", { ONE(PREPARE, 9, DPA, PAGE, 0, 0, 2), .n_fds = 1 }, 0 },
	{ "map-reserved", { ONE(PREPARE, 9, DPA, PAGE, 0, 0, UINT64_C(1) << 32), .n_fds = 1 }, 0 },
	{ "expose-unknown", { .type = MEM_LINK_EXPOSE, .count = 2, .id = 3, RAW_WORDS(2, 99) }, 0 },
	{ "expose-exposed", { .type = MEM_LINK_EXPOSE, .count = 2, .id = 3, RAW_WORDS(2, 1) }, 0 },
	{ "expose-twice", { .type = MEM_LINK_EXPOSE, .count = 2, .id = 3, RAW_WORDS(2, 2) }, 0 },
	{ "revoke-unknown", { ONE(REVOKE, 99, 0, PAGE) }, 0 },
	{ "revoke-outside", { ONE(REVOKE, 1, 4 * PAGE, 2 * PAGE) }, 0 },
	{ "revoke-before", { ONE(REVOKE, 2, 4 * PAGE, 5 * PAGE) }, 0 },
	{ "revoke-misaligned", { ONE(REVOKE, 1, 16, 16) }, 0 },
	{ "revoke-wrapped", { ONE(REVOKE, 1, PAGE, -PAGE) }, 0 },
	{ "revoke-hole", { ONE(REVOKE, 1, 0, 5 * PAGE) }, 0 },
	{ "decoder-index", { DECODER(MEM_LINK_MAX_DECODERS, 1, 256, 1 << 28) }, 0 },
	{ "decoder-ways", { DECODER(0, 5, 256, 5 << 20) }, 0 },
	{ "decoder-ways-0", { DECODER(0, 0, 256, 1 << 28) }, 0 },
	{ "decoder-granularity", { DECODER(0, 1, 384, 384 << 20) }, 0 },
	{ "decoder-empty", { DECODER(0, 1, 256, 0) }, 0 },
	{ "decoder-odd", { DECODER(0, 3, 256, 1 << 28) }, 0 },
	{ "decoder-flags",
	  { ONE(DECODER, UINT64_C(3) << 32, 1 | UINT64_C(256) << 32, 0, 1 << 28, 0) },
	  0 },
	{ "decoder-wrapped",
	  { ONE(DECODER, UINT64_C(1) << 32, 1 | UINT64_C(256) << 32, 0, 1 << 28, -PAGE) },
	  0 },
};

/*
 * Map 1 (pages 0-4, page 2 revoked) is exposed, map 2 (pages 5-8) only prepared. A violation runs
 * no op, leaves no descriptor, drops map 2 and keeps map 1.
 */
static void test_violation(const void *data)
{
	const Violation *violation = data;
	MemLinkHeld held[] = {
		{ .map_id = le64_put(1), .len = le64_put(2 * PAGE) },
		{ .map_id = le64_put(1), .dpa = le64_put(3 * PAGE), .len = le64_put(2 * PAGE) },
	};
	g_autoptr(Bench) bench = bench_new(10, held, 2);
	unsigned n_fds = count_fds();
	int fd;

	put_prepare(bench->device, 2, 2, 5 * PAGE, 4 * PAGE, 0);
	raw_expect_done(bench->device, 2, 0);
	assert_log(bench, "prepare 2 5000+4000@0#5 rw; ");
	fd = open_file(violation->file);
	raw_send_message(bench->device, &violation->message, fd);
	close(fd);
	assert_closed(bench);
	assert_log(bench, "drop 2; ");
	g_assert_cmpuint(count_fds(), ==, n_fds);
}

/* Named files are taken on trust, wherever they live; a hole too many is not. */
static void test_named_file(void)
{
	static const char *const dirs[] = { "/dev/shm", "/tmp" };
	static const RawMessage map = { GOOD_MAP };

	for (unsigned i = 0; i < G_N_ELEMENTS(dirs); i++) {
		g_autoptr(Bench) bench = bench_new(10, NULL, 0);
		g_autofree char *path = g_build_filename(dirs[i], "softdcd-test-XXXXXX", NULL);
		int fd = g_mkstemp(path);

		if (fd < 0)
			continue;
		g_assert_cmpint(ftruncate(fd, 5 * (off_t)PAGE), ==, 0);
		raw_send_message(bench->device, &map, fd);
		close(fd);
		raw_expect_done(bench->device, 3, MEM_LINK_OK);
		unlink(path);
	}
}

static void test_too_many_pieces(void)
{
	g_autoptr(Bench) bench = bench_new(1, NULL, 0);

	put_prepare(bench->device, 1, 1, 0, 4 * PAGE, 0);
	raw_expect_done(bench->device, 1, MEM_LINK_OK);
	raw_put(bench->device, MEM_LINK_REVOKE, 1, 2, ARRAY(1, PAGE, PAGE), 3);
	assert_closed(bench);
}

#define P "/protocol/mem-link/client/"

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func(P "golden", test_golden);
	g_test_add_func(P "held-many", test_held_many);
	for (unsigned i = 0; i < G_N_ELEMENTS(welcomes); i++) {
		g_autofree char *path = g_strconcat(P "welcome/", welcomes[i].name, NULL);

		g_test_add_data_func(path, &welcomes[i], test_welcome);
	}
	g_test_add_func(P "welcome/refused-unread", test_refused_unread);
	g_test_add_func(P "welcome/hello-stuck", test_hello_stuck);
	g_test_add_func(P "welcome/held-refused", test_held_refused);
	g_test_add_func(P "life", test_life);
	g_test_add_func(P "failures", test_failures);
	g_test_add_func(P "help", test_help);
	g_test_add_func(P "device-gone", test_device_gone);
	g_test_add_func(P "free", test_free);
	g_test_add_func(P "free-stuck", test_free_stuck);
	g_test_add_func(P "named-file", test_named_file);
	g_test_add_func(P "too-many-pieces", test_too_many_pieces);
	for (unsigned i = 0; i < G_N_ELEMENTS(violations); i++) {
		g_autofree char *path = g_strconcat(P "violation/", violations[i].name, NULL);

		g_test_add_data_func(path, &violations[i], test_violation);
	}
	return g_test_run();
}
