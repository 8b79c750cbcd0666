/* SPDX-License-Identifier: BSD-3-Clause */
/* Sizes, UUIDs, descriptor passing and descriptor cleanup. */
#include "processes.h"
#include "util/autofd.h"
#include "util/fdpass.h"
#include "util/size.h"
#include "util/uuid.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <stdio.h>
#include <string.h>

static void test_size_parse(void)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} cases[] = {
		{ "0", 0 },
		{ "4096", 4096 },
		{ "0x1000", 4096 },
		{ "0X1b", 27 },
		{ "4K", 4096 },
		{ "4k", 4096 },
		{ "4KiB", 4096 },
		{ "4KB", 4096 },
		{ "256M", UINT64_C(256) << 20 },
		{ "3GiB", UINT64_C(3) << 30 },
		{ "16t", UINT64_C(16) << 40 },
		{ "16777215T", UINT64_C(16777215) << 40 },
		{ "18446744073709551615", UINT64_MAX },
		{ "0xffffffffffffffff", UINT64_MAX },
	};

	for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		uint64_t bytes = 1;

		g_assert_true(size_parse(cases[i].text, &bytes, &error));
		g_assert_no_error(error);
		g_assert_cmpuint(bytes, ==, cases[i].bytes);
	}
}

static void test_size_parse_refused(void)
{
	static const struct {
		const char *text;
		const char *rule;
	} cases[] = {
		{ "", "must be bytes" },
		{ " 1", "must be bytes" },
		{ "1 ", "must be bytes" },
		{ "+1", "must be bytes" },
		{ "-1", "negative" },
		{ "-0", "negative" },
		{ "1.5G", "must be bytes" },
		{ "1P", "must be bytes" },
		{ "1Kb1", "must be bytes" },
		{ "1Ki", "must be bytes" },
		{ "1iB", "must be bytes" },
		{ "K", "must be bytes" },
		{ "0x", "must be bytes" },
		{ "0xK", "must be bytes" },
		{ "0x10K", "must be bytes" },
		{ "1K\n", "1K\\n" }, /* what is shown is printable */
		{ "18446744073709551616", "below 16 EiB" },
		{ "0x10000000000000000", "below 16 EiB" },
		{ "16777216T", "below 16 EiB" },
		{ "99999999999999999999999T", "below 16 EiB" },
	};

	for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		uint64_t bytes = 77;

		g_assert_false(size_parse(cases[i].text, &bytes, &error));
		g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
		g_assert_nonnull(strstr(error->message, cases[i].rule));
		g_assert_cmpuint(bytes, ==, 77);
	}
}

static void test_size_format(void)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{ 0, "0 B" },
		{ 1023, "1023 B" },
		{ 1024, "1 KiB" },
		{ 1536, "1.50 KiB" },
		{ (1 << 20) - 1, "1.00 MiB" },
		{ UINT64_C(1) << 30, "1 GiB" },
		{ (UINT64_C(1) << 30) + 1, "1.00 GiB" },
		{ UINT64_C(16) << 40, "16 TiB" },
		{ UINT64_MAX, "16.00 EiB" },
	};

	for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *text = size_format_human(cases[i].bytes);

		g_assert_cmpstr(text, ==, cases[i].text);
	}
}

static void test_uuid_parse(void)
{
	static const char canonical[] = "5be13fe4-0f5f-4b8e-9c52-3a1c0c9ad7f1";
	static const Uuid expected = { { 0x5b, 0xe1, 0x3f, 0xe4, 0x0f, 0x5f, 0x4b, 0x8e, 0x9c, 0x52,
					 0x3a, 0x1c, 0x0c, 0x9a, 0xd7, 0xf1 } };
	static const char *const accepted[] = {
		canonical,
		"5BE13FE4-0F5F-4B8E-9C52-3A1C0C9AD7F1",
		"{5be13fe4-0f5f-4b8e-9c52-3a1c0c9ad7f1}",
		"urn:uuid:5be13fe4-0f5f-4b8e-9c52-3a1c0c9ad7f1",
		"URN:UUID:5be13fe4-0f5f-4b8e-9c52-3a1c0c9ad7f1",
	};
	static const char *const refused[] = {
		"",
		"5be13fe40f5f4b8e9c523a1c0c9ad7f1",
		"5be13fe4-0f5f-4b8e-9c52-3a1c0c9ad7f",
		"5be13fe4-0f5f-4b8e-9c52-3a1c0c9ad7f1a",
		"5be13fe4-0f5f-4b8e-9c52-3a1c0c9ad7g1",
		"5be13fe-40f5f-4b8e-9c52-3a1c0c9ad7f1",
		"{5be13fe4-0f5f-4b8e-9c52-3a1c0c9ad7f1",
		"5be13fe4-0f5f-4b8e-9c52-3a1c0c9ad7f1}",
		"{urn:uuid:5be13fe4-0f5f-4b8e-9c52-3a1c0c9ad7f1}",
		"urn:uuid:",
		" 5be13fe4-0f5f-4b8e-9c52-3a1c0c9ad7f1",
	};
	char text[UUID_TEXT_SIZE];

	for (guint i = 0; i < G_N_ELEMENTS(accepted); i++) {
		g_autoptr(GError) error = NULL;
		Uuid uuid = { 0 };

		g_assert_true(uuid_parse(accepted[i], &uuid, &error));
		g_assert_no_error(error);
		g_assert_true(uuid_equal(&uuid, &expected));
	}
	for (guint i = 0; i < G_N_ELEMENTS(refused); i++) {
		g_autoptr(GError) error = NULL;
		Uuid uuid = expected;

		g_assert_false(uuid_parse(refused[i], &uuid, &error));
		g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
		g_assert_nonnull(strstr(error->message, refused[i]));
		g_assert_true(uuid_equal(&uuid, &expected));
	}
	uuid_format(&expected, text);
	g_assert_cmpstr(text, ==, canonical);
}

static void test_uuid_table(void)
{
	g_autoptr(GHashTable) table = g_hash_table_new(uuid_key_hash, uuid_key_equal);
	static const Uuid null_uuid;
	Uuid a;
	Uuid b;
	Uuid copy;

	uuid_random(&a);
	uuid_random(&b);
	copy = a;
	g_assert_false(uuid_equal(&a, &b));
	g_assert_false(uuid_is_null(&a));
	g_assert_true(uuid_is_null(&null_uuid));
	g_assert_cmpuint(a.b[6] >> 4, ==, 4);
	g_assert_cmpuint(a.b[8] >> 6, ==, 2);
	g_hash_table_add(table, &a);
	g_assert_true(g_hash_table_contains(table, &copy));
	g_assert_false(g_hash_table_contains(table, &b));
}

/* Descriptors in use, so that a test sees one left behind. */
typedef struct Pair {
	int a;
	int b;
	int n_open; /* descriptors in use with only the pair open */
} Pair;

static void pair_open(Pair *pair, int type)
{
	int fds[2];

	g_assert_cmpint(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds), ==, 0);
	pair->a = fds[0];
	pair->b = fds[1];
	pair->n_open = count_fds();
}

static void pair_close(Pair *pair)
{
	g_assert_cmpint(count_fds(), ==, pair->n_open);
	close(pair->a);
	close(pair->b);
}

static ssize_t send_text(int sock, const char *text, int n_fds)
{
	struct iovec iov[2] = {
		{ (char *)text, 1 },
		{ (char *)text + 1, strlen(text) - 1 },
	};
	int fds[FDPASS_MAX + 1];

	for (guint i = 0; i < G_N_ELEMENTS(fds); i++)
		fds[i] = STDERR_FILENO;
	return fdpass_send(sock, iov, 2, fds, n_fds, 0);
}

static void test_fdpass_round_trip(void)
{
	static const int types[] = { SOCK_SEQPACKET, SOCK_STREAM };
	static const int counts[] = { 0, 1, 3, FDPASS_MAX };

	for (guint t = 0; t < G_N_ELEMENTS(types); t++) {
		Pair pair;

		pair_open(&pair, types[t]);
		for (guint c = 0; c < G_N_ELEMENTS(counts); c++) {
			int fds[FDPASS_MAX];
			int n_fds = -1;
			char buf[16];

			g_assert_cmpint(send_text(pair.a, "hello", counts[c]), ==, 5);
			g_assert_cmpint(
				fdpass_recv(pair.b, buf, sizeof(buf), fds, FDPASS_MAX, &n_fds, 0),
				==, 5);
			g_assert_cmpint(memcmp(buf, "hello", 5), ==, 0);
			g_assert_cmpint(n_fds, ==, counts[c]);
			for (int i = 0; i < n_fds; i++) {
				g_assert_cmpint(fcntl(fds[i], F_GETFD), ==, FD_CLOEXEC);
				close(fds[i]);
			}
		}
		pair_close(&pair);
	}
}

static void test_fdpass_refused(void)
{
	static const struct {
		const char *text;
		int n_fds;
		size_t len;
		int max_fds;
		ssize_t result;
	} cases[] = {
		{ "hello", 1, 16, 0, -EPROTO },          { "hello", 3, 16, 2, -EPROTO },
		{ "hello", FDPASS_MAX, 16, 2, -EPROTO }, { "hello", 2, 4, 2, -EMSGSIZE },
		{ "hello", 0, 4, 2, -EMSGSIZE },
	};
	int fds[2] = { -1, -1 };
	int n_fds = -1;
	char buf[16];
	Pair pair;

	pair_open(&pair, SOCK_SEQPACKET);
	for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_assert_cmpint(send_text(pair.a, cases[i].text, cases[i].n_fds), ==, 5);
		g_assert_cmpint(
			fdpass_recv(pair.b, buf, cases[i].len, fds, cases[i].max_fds, &n_fds, 0),
			==, cases[i].result);
		g_assert_cmpint(n_fds, ==, -1);
		g_assert_cmpint(fds[0], ==, -1);
	}
	g_assert_cmpint(send_text(pair.a, "hello", FDPASS_MAX + 1), ==, -EINVAL);
	g_assert_cmpint(fdpass_recv(pair.b, buf, sizeof(buf), fds, 2, &n_fds, MSG_DONTWAIT), ==,
			-EAGAIN);
	pair_close(&pair);
}

static void test_fdpass_hangup(void)
{
	int fds[2];
	int n_fds = -1;
	char buf[16];
	Pair pair;

	pair_open(&pair, SOCK_STREAM);
	shutdown(pair.a, SHUT_RDWR);
	g_assert_cmpint(fdpass_recv(pair.b, buf, sizeof(buf), fds, 2, &n_fds, 0), ==, 0);
	g_assert_cmpint(n_fds, ==, 0);
	/* An error, not a SIGPIPE. */
	g_assert_cmpint(send_text(pair.b, "hello", 1), ==, -EPIPE);
	pair_close(&pair);
}

static void test_autofd(void)
{
	int n_open = count_fds();
	int kept;

	{
		AUTOFD int closed = open("/dev/null", O_RDONLY | O_CLOEXEC);
		AUTOFD int stolen = open("/dev/null", O_RDONLY | O_CLOEXEC);
		AUTOFD int never = -EBADF;

		g_assert_cmpint(never, ==, -EBADF);
		g_assert_cmpint(closed, >=, 0);
		kept = fd_steal(&stolen);
		g_assert_cmpint(stolen, ==, -EBADF);
		errno = EDOM;
	}
	g_assert_cmpint(errno, ==, EDOM);
	g_assert_cmpint(count_fds(), ==, n_open + 1);
	close(kept);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/util/size/parse", test_size_parse);
	g_test_add_func("/unit/util/size/parse-refused", test_size_parse_refused);
	g_test_add_func("/unit/util/size/format", test_size_format);
	g_test_add_func("/unit/util/uuid/parse", test_uuid_parse);
	g_test_add_func("/unit/util/uuid/table", test_uuid_table);
	g_test_add_func("/unit/util/fdpass/round-trip", test_fdpass_round_trip);
	g_test_add_func("/unit/util/fdpass/refused", test_fdpass_refused);
	g_test_add_func("/unit/util/fdpass/hangup", test_fdpass_hangup);
	g_test_add_func("/unit/util/autofd", test_autofd);
	return g_test_run();
}
