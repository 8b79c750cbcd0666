/* SPDX-License-Identifier: BSD-3-Clause */
/* The keeper's protocol, byte by byte: every request, every refusal, peers that misbehave. */
#include "../unit/processes.h"
#include "keeper_fixture.h"

typedef struct StoreMessage {
	KeeperHeader header;
	KeeperWireItem items[4];
} StoreMessage;

static size_t store_len(unsigned n)
{
	return sizeof(KeeperHeader) + n * sizeof(KeeperWireItem);
}

static StoreMessage make_store(unsigned n, uint64_t first_key, uint32_t id)
{
	StoreMessage message = { .header = make_header(KEEPER_STORE, n, id) };

	for (unsigned i = 0; i < n; i++) {
		message.items[i].incarnation = le64_put(first_key + i);
		message.items[i].len = le64_put(4096);
		memset(message.items[i].label, 0xa0 + (int)i, KEEPER_LABEL_LEN);
	}
	return message;
}

static KeeperRc store_one(int sock, uint64_t key, uint64_t len, int fd)
{
	StoreMessage message = make_store(1, key, 9);

	message.items[0].len = le64_put(len);
	raw_send(sock, &message, store_len(1), &fd, 1);
	return raw_status(sock, 9, NULL);
}

static uint32_t count_held(const Keeper *keeper)
{
	KeeperWelcome welcome;

	close(raw_hello(keeper, KEEPER_OBSERVER, &welcome));
	return le32_get(welcome.n_held);
}

static void test_golden(Keeper *keeper, gconstpointer data)
{
	static const uint8_t hello[] = { 1, 0, 0, 0, 7, 0, 0, 0, 'S', 'D', 'C', 'K', 1, 0, 1, 0 };
	static const uint8_t drop[] = { 3, 0, 1, 0, 5, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8 };
	static const uint8_t list[] = { 4, 0, 0, 0, 6, 0, 0, 0 };
	static const uint8_t welcome[] = {
		0x81, 0, 0, 0, 7, 0, 0, 0, 'S', 'D', 'C', 'K', 1, 0, 0, 0
	};
	static const uint8_t dropped[] = { 0x82, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0 };
	uint8_t store[8 + 64] = { 2, 0, 1, 0, 4, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 16 };
	uint8_t answer[256];
	int fd = make_file(0, 4096);
	int sock;

	memset(store + 24, 'l', 48);
	keeper_start(keeper);
	sock = raw_connect(keeper->path);
	raw_send(sock, hello, sizeof(hello), NULL, 0);
	g_assert_cmpuint(raw_recv(sock, answer, sizeof(answer)), ==, 32);
	g_assert_cmpmem(answer, sizeof(welcome), welcome, sizeof(welcome));
	g_assert_cmpuint(le64_load(answer + 16), !=, 0);
	g_assert_cmpuint(le32_load(answer + 24), ==, 0);
	g_assert_cmpuint(le32_load(answer + 28), >, 100);

	raw_send(sock, store, sizeof(store), &fd, 1);
	g_assert_cmpuint(raw_recv(sock, answer, sizeof(answer)), ==, 24);
	g_assert_cmpuint(le32_load(answer + 8), ==, KEEPER_OK);
	g_assert_cmpuint(le32_load(answer + 16), ==, 1);

	raw_send(sock, list, sizeof(list), NULL, 0);
	g_assert_cmpuint(raw_recv(sock, answer, sizeof(answer)), ==, sizeof(store));
	g_assert_cmpuint(answer[0], ==, KEEPER_ITEMS);
	g_assert_cmpuint(answer[2], ==, 1);
	g_assert_cmpmem(answer + 8, 64, store + 8, 64);
	g_assert_cmpuint(raw_recv(sock, answer, sizeof(answer)), ==, 24);

	raw_send(sock, drop, sizeof(drop), NULL, 0);
	g_assert_cmpuint(raw_recv(sock, answer, sizeof(answer)), ==, 24);
	g_assert_cmpmem(answer, sizeof(dropped), dropped, sizeof(dropped));
	close(sock);
	close(fd);
}

static void test_refusals(Keeper *keeper, gconstpointer data)
{
	int a = make_file(1, 4096), b = make_file(2, 4096);
	int pipe_fds[2], sock;

	keeper_start(keeper);
	sock = raw_hello(keeper, KEEPER_OWNER, NULL);
	g_assert_cmpint(pipe(pipe_fds), ==, 0);
	g_assert_cmpuint(store_one(sock, 1, 4096, a), ==, KEEPER_OK);
	/* Again the same, through another open file of it too. */
	g_assert_cmpuint(store_one(sock, 1, 4096, a), ==, KEEPER_OK);
	g_assert_cmpuint(store_one(sock, 1, 4096, b), ==, KEEPER_EXISTS);
	g_assert_cmpuint(store_one(sock, 2, 4097, b), ==, KEEPER_BAD_FILE_LEN);
	g_assert_cmpuint(store_one(sock, 2, UINT64_MAX, b), ==, KEEPER_BAD_FILE_LEN);
	g_assert_cmpuint(store_one(sock, 2, 0, pipe_fds[0]), ==, KEEPER_BAD_FILE);
	g_assert_cmpuint(store_one(sock, 2, 0, sock), ==, KEEPER_BAD_FILE);
	g_assert_cmpuint(count_held(keeper), ==, 1);
	g_assert_cmpuint(store_one(sock, UINT64_MAX, 4096, b), ==, KEEPER_OK);
	g_assert_cmpuint(store_one(sock, 0, 4096, b), ==, KEEPER_OK);
	g_assert_cmpuint(count_held(keeper), ==, 3);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	close(sock);
	close(a);
	close(b);
}

static void test_all_or_none(Keeper *keeper, gconstpointer data)
{
	int fds[3] = { make_file(1, 4096), make_file(2, 4096), make_file(3, 4096) };
	StoreMessage message = make_store(3, 10, 21);
	uint32_t count;
	int sock;

	keeper_start(keeper);
	sock = raw_hello(keeper, KEEPER_OWNER, NULL);
	message.items[2].len = le64_put(8192);
	raw_send(sock, &message, store_len(3), fds, 3);
	g_assert_cmpuint(raw_status(sock, 21, &count), ==, KEEPER_BAD_FILE_LEN);
	g_assert_cmpuint(count, ==, 2);
	g_assert_cmpuint(count_held(keeper), ==, 0);
	/* The same key twice in one message, with two files. */
	message = make_store(2, 10, 22);
	message.items[1].incarnation = message.items[0].incarnation;
	raw_send(sock, &message, store_len(2), fds, 2);
	g_assert_cmpuint(raw_status(sock, 22, &count), ==, KEEPER_EXISTS);
	g_assert_cmpuint(count, ==, 1);
	g_assert_cmpuint(count_held(keeper), ==, 0);
	message = make_store(3, 10, 23);
	raw_send(sock, &message, store_len(3), fds, 3);
	g_assert_cmpuint(raw_status(sock, 23, &count), ==, KEEPER_OK);
	g_assert_cmpuint(count, ==, 3);
	g_assert_cmpuint(count_held(keeper), ==, 3);
	close(sock);
	for (unsigned i = 0; i < 3; i++)
		close(fds[i]);
}

typedef struct Malformed {
	const char *what;
	size_t len;
	unsigned type, n;
	int n_fds;
	bool after_hello;
	KeeperRc rc;
} Malformed;

/* clang-format off */
static const Malformed malformed[] = {
	{ "a byte",               1,           0,             0,    0, true,  KEEPER_MALFORMED },
	{ "7 bytes",              7,           KEEPER_LIST,   0,    0, true,  KEEPER_MALFORMED },
	{ "type 0",               8,           0,             0,    0, true,  KEEPER_MALFORMED },
	{ "unknown type",         8,           7,             0,    0, true,  KEEPER_MALFORMED },
	{ "an answer's type",     24,          KEEPER_STATUS, 0,    0, true,  KEEPER_MALFORMED },
	{ "type 65535",           8,           65535,         0,    0, true,  KEEPER_MALFORMED },
	{ "list with a body",     9,           KEEPER_LIST,   0,    0, true,  KEEPER_MALFORMED },
	{ "list of one",          8,           KEEPER_LIST,   1,    0, true,  KEEPER_MALFORMED },
	{ "list with a file",     8,           KEEPER_LIST,   0,    1, true,  KEEPER_MALFORMED },
	{ "fetch with files",     8,           KEEPER_FETCH,  0,    3, true,  KEEPER_MALFORMED },
	{ "drop of none",         8,           KEEPER_DROP,   0,    0, true,  KEEPER_MALFORMED },
	{ "drop cut",             15,          KEEPER_DROP,   1,    0, true,  KEEPER_MALFORMED },
	{ "drop with more",       17,          KEEPER_DROP,   1,    0, true,  KEEPER_MALFORMED },
	{ "drop of too many",     8 + 8 * 1025, KEEPER_DROP,  1025, 0, true,  KEEPER_MALFORMED },
	{ "drop with a file",     16,          KEEPER_DROP,   1,    1, true,  KEEPER_MALFORMED },
	{ "store of none",        8,           KEEPER_STORE,  0,    0, true,  KEEPER_MALFORMED },
	{ "store cut",            8 + 63,      KEEPER_STORE,  1,    1, true,  KEEPER_MALFORMED },
	{ "store without files",  8 + 64,      KEEPER_STORE,  1,    0, true,  KEEPER_MALFORMED },
	{ "store, too few files", 8 + 128,     KEEPER_STORE,  2,    1, true,  KEEPER_MALFORMED },
	{ "store, more files",    8 + 64,      KEEPER_STORE,  1,    2, true,  KEEPER_MALFORMED },
	{ "store of 254",         8 + 64 * 254, KEEPER_STORE, 254,  9, true,  KEEPER_MALFORMED },
	{ "store of 65535",       8 + 64,      KEEPER_STORE,  65535, 1, true, KEEPER_MALFORMED },
	{ "a huge packet",        100000,      KEEPER_STORE,  1,    1, true,  KEEPER_MALFORMED },
	{ "hello twice",          16,          KEEPER_HELLO,  0,    0, true,  KEEPER_MALFORMED },
	{ "hello, no magic",      16,          KEEPER_HELLO,  0,    0, false, KEEPER_MALFORMED },
	{ "hello cut",            15,          KEEPER_HELLO,  0,    0, false, KEEPER_MALFORMED },
	{ "list before hello",    8,           KEEPER_LIST,   0,    0, false, KEEPER_REFUSED },
	{ "fetch before hello",   8,           KEEPER_FETCH,  0,    0, false, KEEPER_REFUSED },
	{ "store before hello",   8 + 64,      KEEPER_STORE,  1,    1, false, KEEPER_REFUSED },
	{ "drop before hello",    16,          KEEPER_DROP,   1,    0, false, KEEPER_REFUSED },
	{ "bye before hello",     8,           KEEPER_BYE,    0,    0, false, KEEPER_REFUSED },
};
/* clang-format on */

static void send_malformed(const Keeper *keeper, const Malformed *message)
{
	g_autofree uint8_t *bytes = g_malloc0(MAX(message->len, sizeof(KeeperHeader)));
	KeeperHeader header = make_header(message->type, message->n, 77);
	int fds[16];
	int sock = message->after_hello ? raw_hello(keeper, KEEPER_OWNER, NULL)
					: raw_connect(keeper->path);
	KeeperStatus status = { 0 };

	g_test_message("%s", message->what);
	memcpy(bytes, &header, sizeof(header));
	for (int i = 0; i < message->n_fds; i++)
		fds[i] = make_file(1, 4096);
	raw_send(sock, bytes, message->len, fds, message->n_fds);
	g_assert_cmpuint(raw_recv(sock, &status, sizeof(status)), ==, sizeof(status));
	g_assert_cmpuint(le32_get(status.rc), ==, message->rc);
	raw_expect_end(sock);
	for (int i = 0; i < message->n_fds; i++)
		close(fds[i]);
}

static void test_malformed(Keeper *keeper, gconstpointer data)
{
	int fd = make_file(1, 4096);
	unsigned n_fds;
	pid_t pid;
	int sock;

	keeper_start(keeper);
	sock = raw_hello(keeper, KEEPER_OWNER, NULL);
	g_assert_cmpuint(store_one(sock, 1, 4096, fd), ==, KEEPER_OK);
	close(sock);
	pid = keeper_pid(keeper);
	/* Answered: so what went before is over. */
	g_assert_cmpuint(count_held(keeper), ==, 1);
	close(raw_hello(keeper, KEEPER_OWNER, NULL));
	n_fds = count_fds_of(pid);
	for (unsigned i = 0; i < G_N_ELEMENTS(malformed); i++)
		send_malformed(keeper, &malformed[i]);
	g_assert_cmpuint(count_held(keeper), ==, 1);
	g_assert_cmpint(keeper_pid(keeper), ==, pid);
	/* One or the other connection of ours may not have been seen to close yet. */
	g_assert_cmpuint(count_fds_of(pid), <=, n_fds + 2);
	close(fd);
}

static void test_hello_refused(Keeper *keeper, gconstpointer data)
{
	KeeperHello hello[3];
	uint8_t byte = 0;

	keeper_start(keeper);
	for (unsigned i = 0; i < 3; i++)
		hello[i] = make_hello(KEEPER_OWNER);
	hello[0].version = le16_put(0);
	hello[1].role = le16_put(0);
	hello[2].role = le16_put(3);
	for (unsigned i = 0; i < 3; i++) {
		int sock = raw_connect(keeper->path);

		raw_send(sock, &hello[i], sizeof(hello[i]), NULL, 0);
		g_assert_cmpuint(raw_status(sock, 7, NULL), ==, KEEPER_MALFORMED);
		raw_expect_end(sock);
	}
	/* A newer client is answered with the version that both speak. */
	{
		int sock = raw_connect(keeper->path);
		KeeperWelcome welcome;

		hello[0].version = le16_put(65535);
		raw_send(sock, &hello[0], sizeof(hello[0]), NULL, 0);
		g_assert_cmpuint(raw_recv(sock, &welcome, sizeof(welcome)), ==, sizeof(welcome));
		g_assert_cmpuint(le16_get(welcome.version), ==, KEEPER_VERSION);
		/* The end of the connection, as an empty packet is taken for. */
		raw_send(sock, &byte, 0, NULL, 0);
		raw_expect_end(sock);
	}
}

static void test_observer(Keeper *keeper, gconstpointer data)
{
	static const unsigned refused[] = { KEEPER_STORE, KEEPER_DROP, KEEPER_FETCH, KEEPER_BYE };
	int fd = make_file(5, 4096);
	int owner;

	keeper_start(keeper);
	owner = raw_hello(keeper, KEEPER_OWNER, NULL);
	g_assert_cmpuint(store_one(owner, 5, 4096, fd), ==, KEEPER_OK);
	for (unsigned i = 0; i < G_N_ELEMENTS(refused); i++) {
		int sock = raw_hello(keeper, KEEPER_OBSERVER, NULL);
		StoreMessage message = make_store(1, 6, 3);
		bool is_store = refused[i] == KEEPER_STORE;
		unsigned n = is_store || refused[i] == KEEPER_DROP;

		message.header = make_header(refused[i], n, 3);
		raw_send(sock, &message, 8 + n * (is_store ? 64 : 8), &fd, is_store);
		g_assert_cmpuint(raw_status(sock, 3, NULL), ==, KEEPER_REFUSED);
		raw_expect_end(sock);
	}
	/* The owner was not disturbed. */
	g_assert_cmpuint(store_one(owner, 6, 4096, fd), ==, KEEPER_OK);
	g_assert_cmpuint(count_held(keeper), ==, 2);
	close(owner);
	close(fd);
}

static void test_superseded(Keeper *keeper, gconstpointer data)
{
	KeeperWelcome first, second;
	int fd = make_file(5, 4096);
	int old, new;

	keeper_start(keeper);
	old = raw_hello(keeper, KEEPER_OWNER, &first);
	g_assert_cmpuint(store_one(old, 5, 4096, fd), ==, KEEPER_OK);
	new = raw_hello(keeper, KEEPER_OWNER, &second);
	g_assert_cmpuint(raw_status(old, 0, NULL), ==, KEEPER_SUPERSEDED);
	raw_expect_end(old);
	g_assert_cmpuint(le32_get(second.n_held), ==, 1);
	g_assert_cmpuint(le64_get(second.instance), ==, le64_get(first.instance));
	g_assert_cmpuint(store_one(new, 6, 4096, fd), ==, KEEPER_OK);
	close(new);
	close(fd);
}

/* Newcomers that say nothing keep nobody out, and the owner keeps its place among them. */
static void test_crowd(Keeper *keeper, gconstpointer data)
{
	int silent[40];
	int fd = make_file(5, 4096);
	int owner;

	keeper_start(keeper);
	owner = raw_hello(keeper, KEEPER_OWNER, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(silent); i++) {
		silent[i] = raw_connect(keeper->path);
		g_assert_cmpint(silent[i], >=, 0);
	}
	g_assert_cmpuint(store_one(owner, 5, 4096, fd), ==, KEEPER_OK);
	g_assert_cmpuint(count_held(keeper), ==, 1);
	for (unsigned i = 0; i < G_N_ELEMENTS(silent); i++)
		close(silent[i]);
	for (unsigned i = 0; i < 2000; i++)
		close(raw_connect(keeper->path));
	g_assert_cmpuint(count_held(keeper), ==, 1);
	close(owner);
	close(fd);
}

/* One who asks and asks and reads nothing is not read either, and hinders nobody. */
static void test_slow_reader(Keeper *keeper, gconstpointer data)
{
	KeeperHeader list = make_header(KEEPER_LIST, 0, 1);
	struct iovec iov = { .iov_base = &list, .iov_len = sizeof(list) };
	int fd = make_file(5, 4096);
	unsigned n_asked = 0;
	int owner, slow;

	keeper_start(keeper);
	owner = raw_hello(keeper, KEEPER_OWNER, NULL);
	for (uint64_t key = 1; key <= 500; key++)
		g_assert_cmpuint(store_one(owner, key, 4096, fd), ==, KEEPER_OK);
	slow = raw_hello(keeper, KEEPER_OBSERVER, NULL);
	while (fdpass_send(slow, &iov, 1, NULL, 0, MSG_DONTWAIT) >= 0 && n_asked < 1000000)
		n_asked++;
	g_assert_cmpuint(n_asked, <, 1000000);
	g_assert_cmpuint(store_one(owner, 501, 4096, fd), ==, KEEPER_OK);
	g_assert_cmpuint(count_held(keeper), ==, 501);
	close(slow);
	g_assert_cmpuint(store_one(owner, 502, 4096, fd), ==, KEEPER_OK);
	close(owner);
	close(fd);
}

/* Sends random bytes, mostly with a header that could be right. */
static void test_noise(Keeper *keeper, gconstpointer data)
{
	pid_t pid;

	keeper_start(keeper);
	pid = keeper_pid(keeper);
	for (unsigned round = 0; round < 500; round++) {
		int sock = raw_hello(keeper, KEEPER_OWNER, NULL);
		uint8_t bytes[600];
		size_t len = (size_t)g_test_rand_int_range(1, sizeof(bytes));
		int n_fds = g_test_rand_int_range(0, 4);
		int fds[4];

		for (size_t i = 0; i < len; i++)
			bytes[i] = (uint8_t)g_test_rand_int();
		if (g_test_rand_bit() && len >= 8) {
			le16_store(bytes, (uint16_t)g_test_rand_int_range(0, 7));
			le16_store(bytes + 2, (uint16_t)g_test_rand_int_range(0, 6));
			if (le16_load(bytes) == KEEPER_BYE)
				bytes[0] = KEEPER_FETCH;
		}
		for (int i = 0; i < n_fds; i++)
			fds[i] = make_file(1, 4096);
		raw_send(sock, bytes, len, fds, n_fds);
		for (int i = 0; i < n_fds; i++)
			close(fds[i]);
		close(sock);
	}
	close(raw_hello(keeper, KEEPER_OWNER, NULL));
	g_assert_cmpint(keeper_pid(keeper), ==, pid);
}

static void test_other_user(Keeper *keeper, gconstpointer data)
{
	pid_t child;

	if (geteuid() != 0) {
		g_test_skip("needs root, to be another user");
		return;
	}
	keeper_start(keeper);
	/* What keeps others out at first is opened: the keeper has to look for itself. */
	g_assert_cmpint(chmod(keeper->dir, 0755), ==, 0);
	g_assert_cmpint(chmod(keeper->path, 0666), ==, 0);
	child = fork();
	g_assert_cmpint(child, >=, 0);
	if (child == 0) {
		KeeperHello hello = make_hello(KEEPER_OWNER);
		struct iovec iov = { .iov_base = &hello, .iov_len = sizeof(hello) };
		KeeperWelcome welcome;
		int sock;

		if (setgid(65534) != 0 || setuid(65534) != 0)
			_exit(2);
		sock = raw_connect(keeper->path);
		if (sock < 0)
			_exit(3);
		(void)fdpass_send(sock, &iov, 1, NULL, 0, 0);
		_exit(raw_recv(sock, &welcome, sizeof(welcome)) == 0 ? 0 : 4);
	}
	g_assert_cmpint(wait_for_exit(child), ==, 0);
	g_assert_cmpuint(count_held(keeper), ==, 0);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(Keeper *keeper, gconstpointer data);
	} cases[] = {
		{ "golden", test_golden },
		{ "refusals", test_refusals },
		{ "all-or-none", test_all_or_none },
		{ "malformed", test_malformed },
		{ "hello-refused", test_hello_refused },
		{ "observer", test_observer },
		{ "superseded", test_superseded },
		{ "crowd", test_crowd },
		{ "slow-reader", test_slow_reader },
		{ "noise", test_noise },
		{ "other-user", test_other_user },
	};

	g_test_init(&argc, &argv, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *path = g_strdup_printf("/protocol/keeper-wire/%s", cases[i].name);

		g_test_add(path, Keeper, NULL, keeper_setup, cases[i].run, keeper_teardown);
	}
	return g_test_run();
}
