/* SPDX-License-Identifier: BSD-3-Clause */
/* Valid vfio-user messages, randomly spoiled, thrown at both ends; --seed repeats a run. */
#include "vfu-fixture.h"

#include "link/vfu_client.h"
#include "link/vfu_session.h"

#define N_DIRECT 50000
#define N_SOCKET 50000
#define N_CLIENT 2000

static const struct {
	unsigned command;
	const char *payload;
} corpus[] = {
	{ VFU_VERSION, "0000 0000 '" QEMU_CAPS },
	{ VFU_VERSION, "0000 0000 '{\"capabilities\":{\"max_msg_fds\":0}}" },
	{ VFU_DMA_MAP, "20000000 03000000 0000000000000000 0000000000000000 0000008000000000" },
	{ VFU_DMA_UNMAP, "18000000 00000000 0000000000000000 0000008000000000" },
	{ VFU_DEVICE_GET_INFO, "10000000 00000000 00000000 00000000" },
	{ VFU_DEVICE_GET_REGION_INFO,
	  "20000000 00000000 00000000 00000000 0000000000000000 0000000000000000" },
	{ VFU_DEVICE_GET_REGION_INFO,
	  "40000000 00000000 00000000 00000000 0000000000000000 0000000000000000" },
	{ VFU_DEVICE_GET_REGION_IO_FDS, "10000000 00000000 00000000 00000000" },
	{ VFU_DEVICE_GET_IRQ_INFO, "10000000 00000000 02000000 00000000" },
	{ VFU_DEVICE_SET_IRQS, "14000000 24000000 02000000 00000000 01000000" },
	{ VFU_DEVICE_SET_IRQS, "14000000 24000000 02000000 00000000 03000000" },
	{ VFU_DEVICE_SET_IRQS, "14000000 21000000 02000000 00000000 00000000" },
	{ VFU_DEVICE_SET_IRQS, "17000000 22000000 02000000 00000000 03000000 010001" },
	{ VFU_REGION_READ, "0000000000000000 07000000 00100000" },
	{ VFU_REGION_READ, "fcff010000000000 00000000 04000000" },
	{ VFU_REGION_WRITE, "0800000000000000 00000000 08000000 1122334455667788" },
	{ VFU_REGION_WRITE, "ff0f000000000000 07000000 01000000 11" },
	{ VFU_DEVICE_RESET, "" },
	{ VFU_REGION_WRITE_MULTI,
	  "0100000000000000 0000000000000000 00000000 01000000 0000000000000000" },
	{ VFU_DEVICE_FEATURE, "08000000 01000100" },
};

static uint32_t pick(uint32_t n)
{
	return (uint32_t)g_test_rand_int() % n;
}

static GByteArray *random_message(unsigned first, unsigned n)
{
	unsigned i = first + pick(n);

	return message_hex(pick(0x10000), corpus[i].command,
			   pick(8) == 0 ? VFU_FLAGS_NO_REPLY : VFU_TYPE_COMMAND, corpus[i].payload);
}

/* One change anywhere from FROM on: bits, bytes, words that are near some limit, the length. */
static void spoil(GByteArray *bytes, guint from, bool may_resize)
{
	static const uint32_t words[] = {
		0,        1,        7,          8,          9,          15,        16,
		17,       0x1000,   0x1001,     0xffff,     0x10000,    0x100000,  0x100001,
		0x100021, 1u << 31, 0x7fffffff, 0xfffffff0, 0xfffffffe, 0xffffffff
	};
	uint8_t extra[24];
	guint at;

	if (bytes->len <= from)
		return;
	at = from + pick(bytes->len - from);
	switch (pick(may_resize ? 5 : 3)) {
	case 0:
		bytes->data[at] ^= (uint8_t)(1 << pick(8));
		break;
	case 1:
		bytes->data[at] = (uint8_t)pick(256);
		break;
	case 2:
		at &= ~3u;
		if (at + 4 <= bytes->len && at >= from)
			le32_store(bytes->data + at, words[pick(G_N_ELEMENTS(words))]);
		break;
	case 3:
		g_byte_array_set_size(bytes, MAX(at, (guint)sizeof(VfuHeader)));
		break;
	default:
		memset(extra, (int)pick(256), sizeof(extra));
		g_byte_array_append(bytes, extra, 1 + pick(sizeof(extra)));
		break;
	}
}

static void fix_size(GByteArray *bytes)
{
	((VfuHeader *)bytes->data)->size = le32_put(bytes->len);
}

static unsigned random_fds(int fds[8])
{
	unsigned n = pick(4) == 0 ? pick(9) : 0;

	for (unsigned i = 0; i < n; i++) {
		fds[i] = pick(8) > 0 ? eventfd(0, EFD_CLOEXEC) : memfd_create("f", MFD_CLOEXEC);
		g_assert_cmpint(fds[i], >=, 0);
	}
	return n;
}

/* ---- message by message, in blocks of their exact size ---- */

static void check_reply(const uint8_t *msg, const uint8_t *out, uint32_t len)
{
	const VfuHeader *request = (const VfuHeader *)msg;
	const VfuHeader *reply = (const VfuHeader *)out;

	if ((le32_get(request->flags) & VFU_FLAGS_NO_REPLY) != 0) {
		g_assert_cmpuint(len, ==, 0);
		return;
	}
	g_assert_cmpuint(len, >=, sizeof(*reply));
	g_assert_cmpuint(len, ==, le32_get(reply->size));
	g_assert_cmpuint(le16_get(reply->id), ==, le16_get(request->id));
	g_assert_cmpuint(le16_get(reply->command), ==, le16_get(request->command));
	if ((le32_get(reply->flags) & VFU_FLAGS_ERROR) != 0) {
		g_assert_cmpuint(len, ==, sizeof(*reply));
		g_assert_cmpuint(le32_get(reply->error), !=, 0);
	}
}

static void test_fuzz_direct(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autofree uint8_t *out = g_malloc0(VFU_MAX_MESSAGE);
	VfuNotifier notifier = VFU_NOTIFIER_INIT;
	const VfuPeer peer = { .pid = 1 };
	unsigned before = count_fds();
	unsigned n_handled = 0;
	VfuSession session;

	vfu_session_init(&session, &fake_ops, fake, &notifier, &peer);
	for (unsigned i = 0; i < N_DIRECT; i++) {
		g_autoptr(GByteArray) bytes = session.connected
						      ? random_message(2, G_N_ELEMENTS(corpus) - 2)
						      : random_message(0, 2);
		g_autofree uint8_t *exact = NULL;
		int fds[8];
		unsigned n_fds = random_fds(fds);
		uint32_t len;
		int fd;

		for (unsigned n = pick(4); n > 0; n--)
			spoil(bytes, 0, true);
		fix_size(bytes);
		exact = g_memdup2(bytes->data, bytes->len);
		if (!vfu_session_accepts_header(&session, (const VfuHeader *)exact)) {
			for (unsigned j = 0; j < n_fds; j++)
				close(fds[j]);
			continue;
		}
		vfu_session_handle(&session, exact, fds, n_fds, out, &len, &fd);
		check_reply(exact, out, len);
		n_handled++;
		if (pick(2000) == 0) {
			vfu_session_clear(&session);
			vfu_session_init(&session, &fake_ops, fake, &notifier, &peer);
		}
	}
	vfu_session_clear(&session);
	vfu_notifier_clear(&notifier);
	g_assert_cmpuint(count_fds(), ==, before);
	g_assert_cmpuint(n_handled, >, N_DIRECT / 2);
}

/* ---- through a socket, in pieces ---- */

static void drain(int sock)
{
	uint8_t buf[16384];
	int fd;

	while (raw_receive(sock, buf, sizeof(buf), &fd) > 0) {
		if (fd >= 0)
			close(fd);
	}
}

static void test_fuzz_socket(void)
{
	g_autoptr(Fake) fake = fake_new();
	unsigned before = count_fds();
	unsigned n_reconnects = 0;
	int sock = -1;

	for (unsigned i = 0; i < N_SOCKET; i++) {
		g_autoptr(GByteArray) bytes = NULL;
		int fds[8];
		unsigned n_fds, n;

		if (sock >= 0 && (is_closed(sock) || pick(500) == 0)) {
			close(sock);
			sock = -1;
			fake_pump(fake);
		}
		if (sock < 0) {
			n_reconnects++;
			sock = pick(10) == 0 ? fake_attach(fake) : fake_client(fake);
		}
		bytes = vfu_server_is_connected(fake->server)
				? random_message(2, G_N_ELEMENTS(corpus) - 2)
				: random_message(0, 2);
		for (n = pick(3); n > 0; n--)
			spoil(bytes, sizeof(VfuHeader), true);
		if (pick(50) > 0)
			fix_size(bytes);
		if (pick(100) == 0)
			spoil(bytes, 0, false);
		n_fds = random_fds(fds);
		n = pick(3) == 0 ? 1 + pick(bytes->len) : bytes->len;
		raw_send(sock, bytes->data, MIN(n, bytes->len), fds, n_fds);
		if (pick(4) > 0)
			fake_pump(fake);
		if (n < bytes->len)
			raw_send(sock, bytes->data + n, bytes->len - n, NULL, 0);
		for (unsigned j = 0; j < n_fds; j++)
			close(fds[j]);
		if (pick(4) > 0)
			fake_pump(fake);
		if (pick(4) > 0)
			drain(sock);
		vfu_server_irq(fake->server, VFU_IRQ_MSIX, pick(N_VECTORS + 1));
	}
	close(sock);
	fake_pump(fake);
	/* One for what signals interrupts. */
	g_assert_cmpuint(count_fds(), <=, before + 1);
	g_test_message("%u connections", n_reconnects);
	sock = fake_client(fake);
	close(sock);
}

/* ---- the client ---- */

typedef struct Mumbler {
	Fake *fake;
	int sock;
	unsigned clear; /* replies before the first spoiled one */
	GRand *rand;
} Mumbler;

static gpointer mumble(gpointer opaque)
{
	Mumbler *mumbler = opaque;
	g_autofree uint8_t *out = g_malloc0(VFU_MAX_MESSAGE);
	VfuNotifier notifier = VFU_NOTIFIER_INIT;
	const VfuPeer peer = { .pid = 1 };
	VfuSession session;
	uint8_t buf[8192];
	bool goes_on = true;

	vfu_session_init(&session, &fake_ops, mumbler->fake, &notifier, &peer);
	for (unsigned i = 0; goes_on && receive_message(mumbler->sock, buf, sizeof(buf)); i++) {
		uint32_t len;
		int fd;

		vfu_session_handle(&session, buf, NULL, 0, out, &len, &fd);
		if (len == 0)
			continue;
		if (i >= mumbler->clear) {
			guint32 at = (guint32)g_rand_int_range(mumbler->rand, 0, (gint32)len);

			out[at] ^= (uint8_t)g_rand_int_range(mumbler->rand, 1, 256);
			/* A client that waits for more sees the end, not a time-out. */
			goes_on = le32_get(((VfuHeader *)out)->size) <= len;
		}
		raw_send(mumbler->sock, out, len, &fd, fd >= 0);
	}
	shutdown(mumbler->sock, SHUT_RDWR);
	vfu_session_clear(&session);
	vfu_notifier_clear(&notifier);
	return NULL;
}

static void test_fuzz_client(void)
{
	g_autoptr(Fake) fake = fake_new();
	unsigned before = count_fds();
	unsigned n_connected = 0;

	for (unsigned i = 0; i < N_CLIENT; i++) {
		Mumbler mumbler = {
			.fake = fake,
			.clear = pick(20),
			.rand = g_rand_new_with_seed((guint32)g_test_rand_int()),
		};
		g_autoptr(VfuClient) client = NULL;
		uint8_t buf[64];
		GThread *thread;
		int pair[2];

		g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
		mumbler.sock = pair[0];
		thread = g_thread_new("mumbler", mumble, &mumbler);
		client = vfu_client_new(pair[1], 10000, NULL);
		n_connected += client != NULL;
		for (unsigned n = 0; client != NULL && n < 4; n++) {
			vfu_client_read(client, pick(9), pick(8192), buf, 1 + pick(sizeof(buf)));
			vfu_client_write(client, pick(9), pick(8192), buf, 1 + pick(sizeof(buf)),
					 pick(2));
		}
		g_clear_pointer(&client, vfu_client_free);
		g_thread_join(thread);
		close(pair[0]);
		g_rand_free(mumbler.rand);
	}
	g_assert_cmpuint(count_fds(), ==, before);
	g_test_message("%u connections made", n_connected);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/vfu/server/fuzz-direct", test_fuzz_direct);
	g_test_add_func("/protocol/vfu/server/fuzz-socket", test_fuzz_socket);
	g_test_add_func("/protocol/vfu/client/fuzz", test_fuzz_client);
	return g_test_run();
}
