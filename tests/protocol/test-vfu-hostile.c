/* SPDX-License-Identifier: BSD-3-Clause */
/* The vfio-user server against clients that cut, stall, flood or vanish. */
#include "vfu-fixture.h"

#include <sys/resource.h>

#define STALL_MS 150

/* ---- cut into pieces ---- */

typedef struct Talk {
	GByteArray *bytes; /* VERSION, reads, posted and acknowledged writes, a refusal */
	GByteArray *replies;
} Talk;

static void talk_add(Talk *talk, GByteArray *request, GByteArray *reply)
{
	g_byte_array_append(talk->bytes, request->data, request->len);
	g_byte_array_unref(request);
	if (reply != NULL) {
		g_byte_array_append(talk->replies, reply->data, reply->len);
		g_byte_array_unref(reply);
	}
}

static Talk talk_new(void)
{
	Talk talk = { g_byte_array_new(), g_byte_array_new() };
	GByteArray *error = message(5, 99, 0x21, NULL, 0);

	error->data[12] = EINVAL;
	talk_add(&talk, message_hex(0, VFU_VERSION, 0, "0000 0000 '{}"),
		 message_hex(0, VFU_VERSION, 1, "0000 0000 '" OUR_CAPS));
	talk_add(&talk,
		 message_hex(1, VFU_DMA_UNMAP, 0,
			     "18000000 00000000 0000000000000000 0000008000000000"),
		 message_hex(1, VFU_DMA_UNMAP, 1,
			     "18000000 00000000 0000000000000000 0000008000000000"));
	talk_add(&talk, read_request(2), read_reply(2));
	talk_add(&talk,
		 message_hex(3, VFU_REGION_WRITE, VFU_FLAGS_NO_REPLY,
			     "1000000000000000 00000000 04000000 | c1c2c3c4"),
		 NULL);
	talk_add(&talk,
		 message_hex(4, VFU_REGION_WRITE, 0, "1200000000000000 00000000 01000000 | ff"),
		 message_hex(4, VFU_REGION_WRITE, 1, "1200000000000000 00000000 01000000"));
	talk_add(&talk, message_hex(5, 99, 0, "0102030405"), error);
	talk_add(&talk, message_hex(6, VFU_REGION_READ, 0, "1000000000000000 00000000 04000000"),
		 message_hex(6, VFU_REGION_READ, 1,
			     "1000000000000000 00000000 04000000 | c1c2ffc4"));
	return talk;
}

static void talk_clear(Talk *talk)
{
	g_byte_array_unref(talk->bytes);
	g_byte_array_unref(talk->replies);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Talk, talk_clear)

/* A first piece, then pieces of at most REST bytes. */
static void talk_in_pieces(Fake *fake, const Talk *talk, guint first, guint rest)
{
	int sock = fake_attach(fake);
	guint n = first;

	for (guint at = 0; at < talk->bytes->len; at += n, n = MIN(rest, talk->bytes->len - at)) {
		g_assert_true(raw_send(sock, talk->bytes->data + at, n, NULL, 0));
		fake_pump(fake);
	}
	expect_bytes(sock, talk->replies);
	expect_silence(sock);
	close(sock);
	fake_pump(fake);
}

static void test_fragments(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_auto(Talk) talk = talk_new();

	for (guint n = 1; n <= talk.bytes->len; n++) {
		talk_in_pieces(fake, &talk, n, talk.bytes->len);
		talk_in_pieces(fake, &talk, n, n);
	}
}

static void test_early_close(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_auto(Talk) talk = talk_new();
	unsigned before = count_fds();

	for (guint len = 0; len <= talk.bytes->len; len++) {
		for (unsigned how = 0; how < 3; how++) {
			int sock = fake_attach(fake);
			int fd = how == 2 ? eventfd(0, EFD_CLOEXEC) : -1;

			if (len > 0)
				raw_send(sock, talk.bytes->data, len, &fd, how == 2 ? 1 : 0);
			if (how == 1)
				fake_pump(fake);
			if (fd >= 0)
				close(fd);
			close(sock);
			fake_pump(fake);
			g_assert_false(vfu_server_is_connected(fake->server));
			g_assert_cmpuint(fake->n_connected, ==, fake->n_disconnected);
			g_assert_cmpuint(count_fds(), ==, before);
		}
	}
}

static void test_pipelined(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(GByteArray) requests = g_byte_array_new();
	int sock = fake_client(fake);

	/* More than one turn of the server handles. */
	for (unsigned i = 0; i < 150; i++) {
		g_autoptr(GByteArray) request = read_request(i);

		g_byte_array_append(requests, request->data, request->len);
	}
	g_assert_true(send_bytes(sock, requests));
	fake_pump(fake);
	for (unsigned i = 0; i < 150; i++) {
		g_autoptr(GByteArray) reply = read_reply(i);

		expect_bytes(sock, reply);
	}
	expect_silence(sock);
	close(sock);
}

/* ---- time ---- */

static void pump_until_closed(Fake *fake, int sock)
{
	int64_t end = g_get_monotonic_time() + 50 * STALL_MS * 1000;

	while (!is_closed(sock) && g_get_monotonic_time() < end)
		g_main_context_iteration(fake->context, TRUE);
	g_assert_true(is_closed(sock));
	close(sock);
}

static void test_stalls(void)
{
	static const struct {
		bool hello;
		size_t n;
	} cases[] = { { false, 0 }, { false, 1 }, { false, 16 },
		      { true, 1 },  { true, 16 }, { true, 31 } };
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(GByteArray) version = message_hex(0, VFU_VERSION, 0, "0000 0000 '{}");
	g_autoptr(GByteArray) read = read_request(1);

	vfu_server_set_stall_timeout(fake->server, STALL_MS);
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		const GByteArray *from = cases[i].hello ? read : version;
		int64_t began = g_get_monotonic_time();
		int sock = cases[i].hello ? fake_client(fake) : fake_attach(fake);

		if (cases[i].n > 0)
			g_assert_true(raw_send(sock, from->data, cases[i].n, NULL, 0));
		pump_until_closed(fake, sock);
		g_assert_cmpint(g_get_monotonic_time() - began, >=, STALL_MS * 1000);
	}
}

/* A byte now and then does not buy more time. */
static void test_drip(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(GByteArray)
		request = message_hex(0, VFU_REGION_WRITE, 0, "0000000000000000 00000000 00000100");
	int sock = fake_client(fake);
	int64_t began = g_get_monotonic_time();

	vfu_server_set_stall_timeout(fake->server, STALL_MS);
	((VfuHeader *)request->data)->size = le32_put(32 + 0x10000);
	g_assert_true(send_bytes(sock, request));
	while (!is_closed(sock)) {
		g_assert_cmpint(g_get_monotonic_time() - began, <, 50 * STALL_MS * 1000);
		raw_send(sock, "", 1, NULL, 0);
		fake_pump(fake);
		g_usleep(2000);
	}
	close(sock);
	g_assert_cmpuint(fake->n_writes, ==, 0);
}

static void test_idle_is_fine(void)
{
	g_autoptr(Fake) fake = fake_new();
	int64_t end;
	int sock;

	vfu_server_set_stall_timeout(fake->server, STALL_MS);
	sock = fake_client(fake);
	end = g_get_monotonic_time() + 3 * STALL_MS * 1000;
	while (g_get_monotonic_time() < end) {
		fake_pump(fake);
		g_usleep(5000);
	}
	expect_alive(fake, sock);
	close(sock);
}

static unsigned fill_with_requests(Fake *fake, int sock, unsigned *ret_n_sent)
{
	unsigned id = 0;

	for (;;) {
		g_autoptr(GByteArray) request = message_hex(id, VFU_REGION_READ, 0,
							    "0000000000000000 07000000 00100000");

		if (!send_bytes(sock, request))
			break;
		id++;
		fake_pump(fake);
	}
	*ret_n_sent = id;
	return fake->n_reads;
}

static void test_never_reads(void)
{
	g_autoptr(Fake) fake = fake_new();
	int sock = fake_client(fake);
	unsigned n_sent;

	vfu_server_set_stall_timeout(fake->server, STALL_MS);
	/* It stopped long before it handled all of them. */
	g_assert_cmpuint(fill_with_requests(fake, sock, &n_sent), <, n_sent);
	pump_until_closed(fake, sock);
}

/* Backpressure loses and reorders nothing, and descriptors wait with their reply. */
static void test_reads_late(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(GByteArray) info = message_hex(
		9, VFU_DEVICE_GET_REGION_INFO, 0,
		"40000000 00000000 00000000 00000000 0000000000000000 0000000000000000");
	int sock = fake_client(fake);
	unsigned n_sent = 0, n_got = 0, n_fds = 0;
	uint8_t buf[16 + 16 + CONFIG_LEN];
	const VfuHeader *header = (const VfuHeader *)buf;
	size_t have = 0;

	/* Region infos with descriptors until nothing more fits. */
	while (send_bytes(sock, info)) {
		fake_pump(fake);
		n_sent++;
	}
	while (n_got < n_sent) {
		int fd;
		ssize_t got = raw_receive(sock, buf + have, 16 + 64 - have, &fd);

		fake_pump(fake);
		if (got <= 0) {
			g_assert_cmpint(got, ==, -1);
			continue;
		}
		have += (size_t)got;
		if (fd >= 0) {
			n_fds++;
			close(fd);
		}
		if (have < 16 + 64)
			continue;
		g_assert_cmpuint(le16_get(header->id), ==, 9);
		g_assert_cmpuint(le32_get(header->flags), ==, 1);
		have = 0;
		n_got++;
	}
	g_assert_cmpuint(n_fds, ==, n_sent);
	expect_alive(fake, sock);
	close(sock);
}

/* ---- listening ---- */

typedef struct Door {
	char *dir, *path;
} Door;

static Door door_open(Fake *fake)
{
	g_autoptr(GError) error = NULL;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	Door door;
	int fd;

	door.dir = g_dir_make_tmp("softdcd-vfu-XXXXXX", &error);
	g_assert_no_error(error);
	door.path = g_build_filename(door.dir, "s", NULL);
	g_strlcpy(address.sun_path, door.path, sizeof(address.sun_path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
	g_assert_cmpint(listen(fd, 64), ==, 0);
	vfu_server_listen(fake->server, fd);
	return door;
}

static void door_clear(Door *door)
{
	unlink(door->path);
	rmdir(door->dir);
	g_free(door->path);
	g_free(door->dir);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Door, door_clear)

static int door_connect(const Door *door)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_strlcpy(address.sun_path, door->path, sizeof(address.sun_path));
	g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
	return fd;
}

static void test_second_client(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_auto(Door) door = door_open(fake);
	int first = door_connect(&door);
	int pair[2];

	/* The place is taken before VERSION already. */
	fake_pump(fake);
	for (unsigned i = 0; i < 3; i++) {
		int second = door_connect(&door);

		fake_pump(fake);
		expect_end(second);
		if (i == 0)
			hello(fake, first);
		expect_alive(fake, first);
	}
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
	g_assert_false(vfu_server_attach(fake->server, pair[0]));
	expect_end(pair[1]);
	expect_alive(fake, first);
	close(first);
	fake_pump(fake);
	first = door_connect(&door);
	hello(fake, first);
	close(first);
	g_assert_cmpuint(fake->n_connected, ==, 2);
}

/* Killed and started again, before the server looked: what it still sent counts. */
static void test_client_replaced(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_auto(Door) door = door_open(fake);
	g_autoptr(GByteArray) write = message_hex(7, VFU_REGION_WRITE, VFU_FLAGS_NO_REPLY,
						  "1000000000000000 00000000 01000000 | 5a");

	for (unsigned i = 0; i < 20; i++) {
		int sock = door_connect(&door);

		hello(fake, sock);
		g_assert_true(send_bytes(sock, write));
		close(sock);
	}
	fake_pump(fake);
	g_assert_cmpuint(fake->n_writes, ==, 20);
	g_assert_cmpuint(fake->n_connected, ==, 20);
}

static void test_connect_storm(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_auto(Door) door = door_open(fake);
	g_autoptr(GByteArray) version = message_hex(0, VFU_VERSION, 0, "0000 0000 '{}");
	unsigned before = count_fds();
	int sock;

	for (unsigned i = 0; i < 1000; i++) {
		sock = door_connect(&door);
		if (i % 3 > 0)
			raw_send(sock, version->data, i % 3 == 1 ? i % version->len : version->len,
				 NULL, 0);
		if (i % 5 == 0)
			fake_pump(fake);
		close(sock);
		if (i % 32 == 0)
			fake_pump(fake);
	}
	fake_pump(fake);
	g_assert_cmpuint(count_fds(), ==, before);
	g_assert_cmpuint(fake->n_connected, ==, fake->n_disconnected);
	sock = door_connect(&door);
	hello(fake, sock);
	expect_alive(fake, sock);
	close(sock);
}

/* Out of descriptors: the next client waits, the main loop does not run hot. */
static void test_no_descriptors_left(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_auto(Door) door = door_open(fake);
	struct rlimit limit, none;
	int sock = door_connect(&door);
	int64_t end;
	unsigned n_turns = 0;

	g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &limit), ==, 0);
	none = limit;
	none.rlim_cur = 3;
	g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &none), ==, 0);
	end = g_get_monotonic_time() + 50 * 1000;
	while (g_get_monotonic_time() < end) {
		n_turns += g_main_context_iteration(fake->context, FALSE);
		g_usleep(1000);
	}
	g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);
	g_assert_cmpuint(n_turns, <=, 5);
	g_assert_false(is_closed(sock));
	end = g_get_monotonic_time() + 5 * G_TIME_SPAN_SECOND;
	while (fake->n_connected == 0 && g_get_monotonic_time() < end) {
		g_autoptr(GByteArray) version = message_hex(0, VFU_VERSION, 0, "0000 0000 '{}");

		if (n_turns != 0)
			g_assert_true(send_bytes(sock, version));
		n_turns = 0;
		g_main_context_iteration(fake->context, TRUE);
	}
	g_assert_cmpuint(fake->n_connected, ==, 1);
	close(sock);
}

static void test_disconnect_inside(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(GByteArray) request = g_byte_array_new();
	int sock = fake_client(fake);

	for (unsigned i = 0; i < 3; i++) {
		g_autoptr(GByteArray) write = message_hex(
			i, VFU_REGION_WRITE, 0, "1000000000000000 00000000 01000000 | 5a");

		g_byte_array_append(request, write->data, write->len);
	}
	fake->disconnects = true;
	g_assert_true(send_bytes(sock, request));
	fake_pump(fake);
	g_assert_cmpuint(fake->n_writes, ==, 1);
	g_assert_cmpuint(fake->n_disconnected, ==, 1);
	g_assert_true(is_closed(sock));
	close(sock);
	/* From outside, and when there is nobody. */
	fake->disconnects = false;
	sock = fake_client(fake);
	vfu_server_disconnect(fake->server);
	g_assert_cmpuint(fake->n_disconnected, ==, 2);
	expect_end(sock);
	vfu_server_disconnect(fake->server);
	vfu_server_irq(fake->server, VFU_IRQ_MSIX, 0);
}

static void test_not_a_stream(void)
{
	g_autoptr(Fake) fake = fake_new();
	unsigned before = count_fds();
	int pair[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), ==, 0);
	g_assert_false(vfu_server_attach(fake->server, pair[0]));
	close(pair[1]);
	g_assert_false(vfu_server_attach(fake->server, memfd_create("no", MFD_CLOEXEC)));
	g_assert_cmpuint(count_fds(), ==, before);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define ADD(name, func) g_test_add_func("/protocol/vfu/server/" name, func)
	ADD("fragments", test_fragments);
	ADD("early-close", test_early_close);
	ADD("pipelined", test_pipelined);
	ADD("stalls", test_stalls);
	ADD("drip", test_drip);
	ADD("idle-is-fine", test_idle_is_fine);
	ADD("never-reads", test_never_reads);
	ADD("reads-late", test_reads_late);
	ADD("second-client", test_second_client);
	ADD("client-replaced", test_client_replaced);
	ADD("connect-storm", test_connect_storm);
	ADD("no-descriptors-left", test_no_descriptors_left);
	ADD("disconnect-inside", test_disconnect_inside);
	ADD("not-a-stream", test_not_a_stream);
#undef ADD
	return g_test_run();
}
