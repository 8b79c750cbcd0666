/* SPDX-License-Identifier: BSD-3-Clause */
/* The vfio-user server's messages: golden bytes both ways, and every refusal with its errno. */
#include "vfu-fixture.h"

/* ---- golden bytes ---- */

static const struct {
	const char *name;
	unsigned command;
	const char *request, *reply; /* payloads */
} golden[] = {
	/* QEMU 11.1: before GET_INFO it maps its memory. */
	{ "dma-map", 2, "20000000 03000000 0000000000000000 0000000000000000 0000008000000000",
	  "" },
	{ "dma-map-rom", 2, "20000000 01000000 0000000000000000 0000fcff00000000 0000040000000000",
	  "" },
	{ "get-info", 4, "10000000 00000000 00000000 00000000",
	  "10000000 03000000 09000000 05000000" },
	{ "bar0-first", 5, "20000000 00000000 00000000 00000000 0000000000000000 0000000000000000",
	  "40000000 07000000 00000000 00000000 0000020000000000 0030000000000000" },
	{ "bar0-again", 5, "40000000 00000000 00000000 00000000 0000000000000000 0000000000000000",
	  "40000000 0f000000 00000000 20000000 0000020000000000 0030000000000000 |"
	  "0100 0100 00000000 01000000 00000000 0000010000000000 0000010000000000" },
	{ "bar0-more-room", 5,
	  "00100000 00000000 00000000 00000000 0000000000000000 0000000000000000",
	  "40000000 0f000000 00000000 20000000 0000020000000000 0030000000000000 |"
	  "0100 0100 00000000 01000000 00000000 0000010000000000 0000010000000000" },
	{ "bar0-with-room-sent", 5,
	  "40000000 00000000 00000000 00000000 0000000000000000 0000000000000000"
	  "0000000000000000 0000000000000000 0000000000000000 0000000000000000",
	  "40000000 0f000000 00000000 20000000 0000020000000000 0030000000000000 |"
	  "0100 0100 00000000 01000000 00000000 0000010000000000 0000010000000000" },
	{ "bar1", 5, "20000000 00000000 01000000 00000000 0000000000000000 0000000000000000",
	  "20000000 00000000 01000000 00000000 0000000000000000 0000000000000000" },
	{ "bar2", 5, "20000000 00000000 02000000 00000000 0000000000000000 0000000000000000",
	  "20000000 01000000 02000000 00000000 0010000000000000 0000000000000000" },
	{ "rom", 5, "20000000 00000000 06000000 00000000 0000000000000000 0000000000000000",
	  "20000000 00000000 06000000 00000000 0000000000000000 0000000000000000" },
	{ "config", 5, "20000000 00000000 07000000 00000000 0000000000000000 0000000000000000",
	  "20000000 03000000 07000000 00000000 0010000000000000 0000000000000000" },
	{ "vga", 5, "20000000 00000000 08000000 00000000 0000000000000000 0000000000000000",
	  "20000000 00000000 08000000 00000000 0000000000000000 0000000000000000" },
	{ "irq-err", 7, "10000000 00000000 03000000 00000000",
	  "10000000 01000000 03000000 01000000" },
	{ "irq-msix", 7, "10000000 00000000 02000000 00000000",
	  "10000000 01000000 02000000 08000000" },
	{ "irq-intx", 7, "10000000 00000000 00000000 00000000",
	  "10000000 01000000 00000000 00000000" },
	{ "irq-msi", 7, "10000000 00000000 01000000 00000000",
	  "10000000 01000000 01000000 00000000" },
	{ "read-config-2", 9, "0400000000000000 07000000 02000000",
	  "0400000000000000 07000000 02000000 | 0c0f" },
	{ "read-config-1", 9, "3d00000000000000 07000000 01000000",
	  "3d00000000000000 07000000 01000000 | b7" },
	{ "write-rom-bar", 10, "3000000000000000 07000000 04000000 | 00f8ffff",
	  "3000000000000000 07000000 04000000" },
	{ "read-rom-bar", 9, "3000000000000000 07000000 04000000",
	  "3000000000000000 07000000 04000000 | 00f8ffff" },
	{ "msix-probe", 8, "14000000 24000000 02000000 00000000 01000000", "" },
	{ "msix-off", 8, "14000000 21000000 02000000 00000000 00000000", "" },
	{ "msi-off", 8, "14000000 21000000 01000000 00000000 00000000", "" },
	{ "read-bar-8", 9, "0800000000000000 00000000 08000000",
	  "0800000000000000 00000000 08000000 | 383f464d545b6269" },
	{ "read-bar-3", 9, "fdff010000000000 00000000 03000000",
	  "fdff010000000000 00000000 03000000 | eaf1f8" },
	{ "write-bar-8", 10, "0800000000000000 00000000 08000000 | 1122334455667788",
	  "0800000000000000 00000000 08000000" },
	{ "read-bar-back", 9, "0a00000000000000 00000000 02000000",
	  "0a00000000000000 00000000 02000000 | 3344" },
	{ "reset", 13, "", "" },
	{ "io-fds", 6, "10000000 00000000 00000000 03000000",
	  "10000000 00000000 00000000 00000000" },
	{ "dma-unmap", 3, "18000000 00000000 0000000000000000 0000008000000000",
	  "18000000 00000000 0000000000000000 0000008000000000" },
	{ "dma-unmap-all", 3, "18000000 02000000 0000000000000000 0000000000000000",
	  "18000000 02000000 0000000000000000 0000000000000000" },
};

static void test_golden(void)
{
	g_autoptr(Fake) fake = fake_new();
	int sock = fake_client(fake);

	for (unsigned i = 0; i < G_N_ELEMENTS(golden); i++) {
		g_autoptr(GByteArray)
			request = message_hex(i + 900, golden[i].command, 0, golden[i].request);
		g_autoptr(GByteArray)
			reply = message_hex(i + 900, golden[i].command, 1, golden[i].reply);
		uint8_t buf[8192];
		ssize_t got;
		int fd;

		g_test_message("%s", golden[i].name);
		g_assert_true(send_bytes(sock, request));
		fake_pump(fake);
		got = raw_receive(sock, buf, sizeof(buf), &fd);
		g_assert_cmpint(got, >, 0);
		g_assert_cmpmem(buf, (size_t)got, reply->data, reply->len);
		/* The descriptor comes with a complete description only. */
		g_assert_cmpint(fd >= 0, ==, golden[i].command == 5 && got > 48);
		if (fd >= 0) {
			g_assert_cmphex((guint)fcntl(fd, F_GET_SEALS), ==,
					F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
			close(fd);
		}
	}
	g_assert_cmpuint(fake->n_resets, ==, 1);
	close(sock);
	fake_pump(fake);
	g_assert_cmpuint(fake->n_disconnected, ==, 1);
}

/* The whole message, so that the header is also written out once. */
static void test_golden_header(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(GByteArray) request = bytes_of(
		"3412 0900 20000000 00000000 78563412 | 0000000000000000 07000000 04000000");
	g_autoptr(GByteArray) reply = bytes_of(
		"3412 0900 24000000 01000000 00000000 | 0000000000000000 07000000 04000000"
		"00030609");
	g_autoptr(GByteArray) wrong = bytes_of("ffff 0e00 10000000 00000000 00000000");
	g_autoptr(GByteArray) error = bytes_of("ffff 0e00 10000000 21000000 16000000");
	int sock = fake_client(fake);

	g_assert_true(send_bytes(sock, request));
	fake_pump(fake);
	expect_bytes(sock, reply);
	g_assert_true(send_bytes(sock, wrong));
	fake_pump(fake);
	expect_bytes(sock, error);
	close(sock);
}

static void test_read_whole_config(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(GByteArray)
		request = message_hex(6, VFU_REGION_READ, 0, "0000000000000000 07000000 00100000");
	g_autoptr(GByteArray) reply = g_byte_array_new();
	g_autoptr(GByteArray) head = bytes_of(
		"0600 0900 20100000 01000000 00000000 | 0000000000000000 07000000 00100000");
	int sock = fake_client(fake);

	g_byte_array_append(reply, head->data, head->len);
	g_byte_array_append(reply, fake->config, CONFIG_LEN);
	g_assert_true(send_bytes(sock, request));
	fake_pump(fake);
	expect_bytes(sock, reply);
	close(sock);
}

/* ---- VERSION ---- */

static const struct {
	const char *payload;
	int error; /* 0 = accepted */
	const char *caps;
} versions[] = {
	{ "0000 0000 '" QEMU_CAPS, 0, OUR_CAPS },
	{ "0000 0200 '{\"capabilities\":{}}", 0, OUR_CAPS },
	{ "0000 0000 '{}", 0, OUR_CAPS },
	{ "0000 0000", 0, OUR_CAPS },
	{ "0000 0000 '{\"capabilities\":{\"max_data_xfer_size\":4096,\"new\":[{}]}}", 0,
	  "{\"capabilities\":{\"max_msg_fds\":8,\"max_data_xfer_size\":4096}}" },
	{ "0100 0000 '{}", EINVAL, NULL },
	{ "0000 0000 '", EINVAL, NULL },
	{ "0000 0000 7b7d", EINVAL, NULL }, /* no NUL */
	{ "0000 0000 7b7d0000", EINVAL, NULL },
	{ "0000 0000 7b00 '}", EINVAL, NULL },
	{ "0000 0000 '[]", EINVAL, NULL },
	{ "0000 0000 '{", EINVAL, NULL },
	{ "0000 0000 'null", EINVAL, NULL },
	{ "0000 0000 '{\"capabilities\":[]}", EINVAL, NULL },
	{ "0000 0000 '{\"capabilities\":{\"max_msg_fds\":-1}}", EINVAL, NULL },
	{ "0000 0000 '{\"capabilities\":{\"max_msg_fds\":1.5}}", EINVAL, NULL },
	{ "0000 0000 '{\"capabilities\":{\"max_msg_fds\":\"1\"}}", EINVAL, NULL },
	{ "0000 0000 '{\"capabilities\":{\"max_msg_fds\":null}}", EINVAL, NULL },
	{ "0000 0000 '{\"capabilities\":{\"max_data_xfer_size\":0}}", EINVAL, NULL },
	{ "0000 0000 '{\"capabilities\":{\"write_multiple\":1}}", EINVAL, NULL },
	{ "0000 0000 '{\"capabilities\":{\"migration\":true}}", EINVAL, NULL },
	{ "0000 0000 7b22ff223a317d00", EINVAL, NULL }, /* not UTF-8 */
	{ "0000", EINVAL, NULL },
	{ "", EINVAL, NULL },
};

static void test_version(void)
{
	g_autoptr(Fake) fake = fake_new();

	for (unsigned i = 0; i < G_N_ELEMENTS(versions); i++) {
		g_autoptr(GByteArray) request = message_hex(i, VFU_VERSION, 0, versions[i].payload);
		int sock = fake_attach(fake);

		g_test_message("%s", versions[i].payload);
		g_assert_false(vfu_server_is_connected(fake->server));
		g_assert_true(send_bytes(sock, request));
		fake_pump(fake);
		if (versions[i].error != 0) {
			expect_error(sock, i, VFU_VERSION, versions[i].error);
			expect_end(sock);
			g_assert_false(vfu_server_is_connected(fake->server));
		} else {
			g_autofree char *text = g_strconcat("0000 0000 '", versions[i].caps, NULL);
			g_autoptr(GByteArray) reply = message_hex(i, VFU_VERSION, 1, text);

			expect_bytes(sock, reply);
			g_assert_true(vfu_server_is_connected(fake->server));
			g_assert_cmpint(fake->peer.pid, ==, getpid());
			g_assert_cmpint((int)fake->peer.uid, ==, (int)getuid());
			close(sock);
			fake_pump(fake);
		}
		g_assert_cmpuint(fake->n_connected, ==, fake->n_disconnected);
	}
}

static void test_version_deep(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(GByteArray) request = g_byte_array_new();
	g_autoptr(GByteArray) framed = NULL;
	int sock = fake_attach(fake);

	g_byte_array_append(request, (const uint8_t *)"\0\0\0\0", 4);
	/* A quote that starts no string in JSON, so that a naive counter sees no brackets. */
	g_byte_array_append(request, (const uint8_t *)"{'\"':", 5);
	while (request->len < 4 + VFU_MAX_JSON - 1)
		g_byte_array_append(request, (const uint8_t *)"[", 1);
	g_byte_array_append(request, (const uint8_t *)"", 1);
	framed = message(1, VFU_VERSION, 0, request->data, request->len);
	g_assert_true(send_bytes(sock, framed));
	fake_pump(fake);
	expect_error(sock, 1, VFU_VERSION, EINVAL);
	expect_end(sock);
}

static void test_version_order(void)
{
	static const struct {
		unsigned command;
		uint32_t flags;
		uint32_t extra_size;
	} first[] = {
		{ VFU_DEVICE_GET_INFO, 0, 0 },
		{ VFU_DEVICE_RESET, 0, 0 },
		{ VFU_VERSION, VFU_FLAGS_NO_REPLY, 4 },
		{ VFU_VERSION, 0, VFU_MAX_JSON + 5 },
		{ 0, 0, 0 },
	};
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(GByteArray) again = message_hex(1, VFU_VERSION, 0, "0000 0000 '{}");
	uint8_t body[VFU_MAX_JSON + 5] = { 0 };
	int sock;

	for (unsigned i = 0; i < G_N_ELEMENTS(first); i++) {
		g_autoptr(GByteArray) request = message(0, first[i].command, first[i].flags, body,
							first[i].extra_size);

		sock = fake_attach(fake);
		g_assert_true(send_bytes(sock, request));
		fake_pump(fake);
		expect_end(sock);
	}
	sock = fake_client(fake);
	g_assert_true(send_bytes(sock, again));
	fake_pump(fake);
	expect_end(sock);
	g_assert_cmpuint(fake->n_resets, ==, 0);
}

static void test_version_refused(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(GByteArray) request = message_hex(1, VFU_VERSION, 0, "0000 0000 '{}");
	int sock = fake_attach(fake);

	fake->refuses = true;
	g_assert_true(send_bytes(sock, request));
	fake_pump(fake);
	expect_error(sock, 1, VFU_VERSION, EACCES);
	expect_end(sock);
	g_assert_cmpuint(fake->n_disconnected, ==, 0);
}

/* What the client bounds, and we agreed to, holds for what it asks. */
static void test_version_less_data(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(GByteArray) version = message_hex(
		1, VFU_VERSION, 0, "0000 0000 '{\"capabilities\":{\"max_data_xfer_size\":4096}}");
	g_autoptr(GByteArray)
		most = message_hex(2, VFU_REGION_READ, 0, "0000000000000000 00000000 00100000");
	g_autoptr(GByteArray)
		more = message_hex(3, VFU_REGION_READ, 0, "0000000000000000 00000000 01100000");
	int sock = fake_attach(fake);
	uint8_t buf[8192];

	g_assert_true(send_bytes(sock, version));
	fake_pump(fake);
	g_assert_cmpint(raw_receive(sock, buf, sizeof(buf), NULL), >, 20);
	g_assert_true(send_bytes(sock, most));
	fake_pump(fake);
	g_assert_cmpint(raw_receive(sock, buf, sizeof(buf), NULL), ==, 32 + 4096);
	g_assert_true(send_bytes(sock, more));
	fake_pump(fake);
	expect_error(sock, 3, VFU_REGION_READ, EINVAL);
	close(sock);
}

/* A client that can take no descriptor gets a region to be trapped. */
static void test_version_no_fds(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(GByteArray) version =
		message_hex(1, VFU_VERSION, 0, "0000 0000 '{\"capabilities\":{\"max_msg_fds\":0}}");
	g_autoptr(GByteArray) request = message_hex(
		2, VFU_DEVICE_GET_REGION_INFO, 0,
		"00100000 00000000 00000000 00000000 0000000000000000 0000000000000000");
	g_autoptr(GByteArray) reply = message_hex(
		2, VFU_DEVICE_GET_REGION_INFO, 1,
		"20000000 03000000 00000000 00000000 0000020000000000 0000000000000000");
	int sock = fake_attach(fake);
	uint8_t buf[256];

	g_assert_true(send_bytes(sock, version));
	fake_pump(fake);
	g_assert_cmpint(raw_receive(sock, buf, sizeof(buf), NULL), >, 16);
	g_assert_true(send_bytes(sock, request));
	fake_pump(fake);
	expect_bytes(sock, reply);
	close(sock);
}

/* ---- refusals ---- */

#define EINVAL_ROW(command, payload)    \
	{                               \
		(command), 0, (payload) \
	}

static const struct {
	unsigned command;
	uint32_t flags;
	const char *payload;
} refused[] = {
	/* DMA_MAP: sizes, argsz, flags, empty, wrapping */
	EINVAL_ROW(2, ""),
	EINVAL_ROW(2, "20000000 03000000 0000000000000000 0000000000000000 00000080000000"),
	EINVAL_ROW(2, "20000000 03000000 0000000000000000 0000000000000000 0000008000000000 00"),
	EINVAL_ROW(2, "1f000000 03000000 0000000000000000 0000000000000000 0000008000000000"),
	EINVAL_ROW(2, "20000000 10000000 0000000000000000 0000000000000000 0000008000000000"),
	EINVAL_ROW(2, "20000000 03000000 0000000000000000 0000000000000000 0000000000000000"),
	EINVAL_ROW(2, "20000000 03000000 0000000000000000 00f0ffffffffffff 0020000000000000"),
	EINVAL_ROW(2, "20000000 03000000 00f0ffffffffffff 0000000000000000 0020000000000000"),
	/* DMA_UNMAP */
	EINVAL_ROW(3, "18000000 00000000 0000000000000000"),
	EINVAL_ROW(3, "10000000 00000000 0000000000000000 0010000000000000"),
	EINVAL_ROW(3, "18000000 00000000 0000000000000000 0000000000000000"),
	EINVAL_ROW(3, "18000000 00000000 ffffffffffffffff 0200000000000000"),
	EINVAL_ROW(3, "18000000 01000000 0000000000000000 0010000000000000"),
	EINVAL_ROW(3, "18000000 02000000 0000000000000000 0010000000000000"),
	EINVAL_ROW(3, "18000000 03000000 0000000000000000 0000000000000000"),
	/* GET_INFO */
	EINVAL_ROW(4, "10000000 00000000 00000000"),
	EINVAL_ROW(4, "10000000 00000000 00000000 00000000 00"),
	EINVAL_ROW(4, "0f000000 00000000 00000000 00000000"),
	/* GET_REGION_INFO: short, trailing, argsz, index */
	EINVAL_ROW(5, "20000000 00000000 00000000 00000000 0000000000000000"),
	EINVAL_ROW(5, "20000000 00000000 00000000 00000000 0000000000000000 0000000000000000 00"),
	EINVAL_ROW(5, "1f000000 00000000 00000000 00000000 0000000000000000 0000000000000000"),
	EINVAL_ROW(5, "20000000 00000000 09000000 00000000 0000000000000000 0000000000000000"),
	EINVAL_ROW(5, "20000000 00000000 ffffffff 00000000 0000000000000000 0000000000000000"),
	/* GET_REGION_IO_FDS */
	EINVAL_ROW(6, "10000000 00000000 09000000 00000000"),
	EINVAL_ROW(6, "10000000 01000000 00000000 00000000"),
	EINVAL_ROW(6, "0f000000 00000000 00000000 00000000"),
	EINVAL_ROW(6, ""),
	/* GET_IRQ_INFO; index 4 there is, but no interrupt of it */
	EINVAL_ROW(7, "10000000 00000000 04000000 00000000"),
	EINVAL_ROW(7, "10000000 00000000 05000000 00000000"),
	EINVAL_ROW(7, "10000000 00000000 ffffffff 00000000"),
	EINVAL_ROW(7, "00000000 00000000 02000000 00000000"),
	EINVAL_ROW(7, "10000000"),
	/* SET_IRQS: sizes */
	EINVAL_ROW(8, "14000000 24000000 02000000 00000000"),
	EINVAL_ROW(8, "14000000 24000000 02000000 00000000 01000000 00"),
	EINVAL_ROW(8, "15000000 24000000 02000000 00000000 01000000"),
	EINVAL_ROW(8, "15000000 24000000 02000000 00000000 01000000 00"),
	/* no, two, unknown data or action */
	EINVAL_ROW(8, "14000000 20000000 02000000 00000000 01000000"),
	EINVAL_ROW(8, "14000000 04000000 02000000 00000000 01000000"),
	EINVAL_ROW(8, "14000000 25000000 02000000 00000000 01000000"),
	EINVAL_ROW(8, "14000000 2c000000 02000000 00000000 01000000"),
	EINVAL_ROW(8, "14000000 64000000 02000000 00000000 01000000"),
	EINVAL_ROW(8, "14000000 24000080 02000000 00000000 01000000"),
	/* masking, which IRQ_INFO did not offer */
	EINVAL_ROW(8, "14000000 09000000 02000000 00000000 01000000"),
	EINVAL_ROW(8, "15000000 0a000000 02000000 00000000 01000000 01"),
	EINVAL_ROW(8, "14000000 11000000 02000000 00000000 01000000"),
	EINVAL_ROW(8, "14000000 14000000 02000000 00000000 01000000"),
	/* index, start, count, wrap */
	EINVAL_ROW(8, "14000000 24000000 05000000 00000000 01000000"),
	EINVAL_ROW(8, "14000000 24000000 ffffffff 00000000 01000000"),
	EINVAL_ROW(8, "14000000 24000000 00000000 00000000 01000000"),
	EINVAL_ROW(8, "14000000 24000000 02000000 08000000 01000000"),
	EINVAL_ROW(8, "14000000 24000000 02000000 01000000 08000000"),
	EINVAL_ROW(8, "14000000 24000000 02000000 00000000 ffffffff"),
	EINVAL_ROW(8, "14000000 24000000 02000000 ffffffff 02000000"),
	EINVAL_ROW(8, "14000000 24000000 02000000 01000000 ffffffff"),
	EINVAL_ROW(8, "14000000 24000000 03000000 00000000 02000000"),
	EINVAL_ROW(8, "14000000 24000000 02000000 00000000 00000000"),
	EINVAL_ROW(8, "14000000 21000000 02000000 01000000 00000000"),
	EINVAL_ROW(8, "14000000 21000000 05000000 00000000 00000000"),
	EINVAL_ROW(8, "14000000 21000000 02000000 07000000 02000000"),
	/* DATA_BOOL: length, values */
	EINVAL_ROW(8, "15000000 22000000 02000000 00000000 02000000 01"),
	EINVAL_ROW(8, "16000000 22000000 02000000 00000000 01000000 0101"),
	EINVAL_ROW(8, "16000000 22000000 02000000 00000000 02000000 0102"),
	EINVAL_ROW(8, "14000000 22000000 02000000 00000000 00000000"),
	/* REGION_READ: short, trailing, empty, outside, wrapping, too much, absent region */
	EINVAL_ROW(9, "0000000000000000 07000000"),
	EINVAL_ROW(9, "0000000000000000 07000000 04000000 00"),
	EINVAL_ROW(9, "0000000000000000 07000000 00000000"),
	EINVAL_ROW(9, "0010000000000000 07000000 01000000"),
	EINVAL_ROW(9, "ff0f000000000000 07000000 02000000"),
	EINVAL_ROW(9, "0000000000000000 07000000 01100000"),
	EINVAL_ROW(9, "fcffffffffffffff 07000000 08000000"),
	EINVAL_ROW(9, "ffffffffffffffff 07000000 01000000"),
	EINVAL_ROW(9, "0000000000000000 00000000 01001000"),
	EINVAL_ROW(9, "0000000000000000 00000000 ffffffff"),
	EINVAL_ROW(9, "0000000000000000 01000000 01000000"),
	EINVAL_ROW(9, "0000000000000000 09000000 01000000"),
	EINVAL_ROW(9, "0000000000000000 ffffffff 01000000"),
	/* REGION_WRITE: as above, and count against the bytes present, read-only region */
	EINVAL_ROW(10, "0000000000000000 07000000"),
	EINVAL_ROW(10, "0000000000000000 07000000 00000000"),
	EINVAL_ROW(10, "0000000000000000 07000000 04000000 | 112233"),
	EINVAL_ROW(10, "0000000000000000 07000000 04000000 | 1122334455"),
	EINVAL_ROW(10, "0000000000000000 07000000 00000000 | 11"),
	EINVAL_ROW(10, "ff0f000000000000 07000000 02000000 | 1122"),
	EINVAL_ROW(10, "feffffffffffffff 07000000 04000000 | 11223344"),
	EINVAL_ROW(10, "0000000000000000 08000000 01000000 | 11"),
	EINVAL_ROW(10, "0000000000000000 09000000 01000000 | 11"),
	EINVAL_ROW(10, "0000000000000000 02000000 01000000 | 11"),
	EINVAL_ROW(10, "0000000000000000 00000000 ffffffff | 11"),
	/* commands of the other direction, of other devices, of nobody */
	EINVAL_ROW(11, "0000000000000000 0100000000000000"),
	EINVAL_ROW(12, "0000000000000000 0100000000000000 00"),
	EINVAL_ROW(13, "00"),
	EINVAL_ROW(14, ""),
	EINVAL_ROW(15, "0100000000000000 0000000000000000 00000000 01000000 0000000000000000"),
	EINVAL_ROW(16, "08000000 01000100"),
	EINVAL_ROW(17, "08000000 00000000"),
	EINVAL_ROW(18, "08000000 00000000"),
	EINVAL_ROW(0, ""),
	EINVAL_ROW(19, ""),
	EINVAL_ROW(0xffff, "00"),
	/* flags of the header */
	{ 4, 0x20, "10000000 00000000 00000000 00000000" },
	{ 4, 0x40, "10000000 00000000 00000000 00000000" },
	{ 4, 0x80000000, "10000000 00000000 00000000 00000000" },
};

static void test_refused(void)
{
	g_autoptr(Fake) fake = fake_new();
	int sock = fake_client(fake);
	g_autofree uint8_t *bar0 = g_memdup2(fake->bar0, BAR0_LEN);
	g_autofree uint8_t *config = g_memdup2(fake->config, CONFIG_LEN);

	for (unsigned i = 0; i < G_N_ELEMENTS(refused); i++) {
		g_autoptr(GByteArray) request = message_hex(i, refused[i].command, refused[i].flags,
							    refused[i].payload);

		g_test_message("%u: %s", refused[i].command, refused[i].payload);
		g_assert_true(send_bytes(sock, request));
		fake_pump(fake);
		expect_error(sock, i, refused[i].command, EINVAL);
	}
	/* And the same, unanswered. */
	for (unsigned i = 0; i < G_N_ELEMENTS(refused); i++) {
		g_autoptr(GByteArray) request = message_hex(i, refused[i].command,
							    refused[i].flags | VFU_FLAGS_NO_REPLY,
							    refused[i].payload);

		g_assert_true(send_bytes(sock, request));
		fake_pump(fake);
		expect_silence(sock);
	}
	g_assert_cmpuint(fake->n_reads + fake->n_writes + fake->n_resets, ==, 0);
	g_assert_cmpmem(bar0, BAR0_LEN, fake->bar0, BAR0_LEN);
	g_assert_cmpmem(config, CONFIG_LEN, fake->config, CONFIG_LEN);
	close(sock);
}

static void test_device_error(void)
{
	static const struct {
		int returned, answered;
	} cases[] = { { -EIO, EIO }, { -ENODEV, ENODEV }, { 1, EIO }, { -100000, EIO } };
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(GByteArray)
		read = message_hex(1, VFU_REGION_READ, 0, "0000000000000000 00000000 04000000");
	g_autoptr(GByteArray) write = message_hex(2, VFU_REGION_WRITE, 0,
						  "0000000000000000 00000000 01000000 11");
	int sock = fake_client(fake);

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		fake->error = cases[i].returned;
		g_assert_true(send_bytes(sock, read));
		fake_pump(fake);
		expect_error(sock, 1, VFU_REGION_READ, cases[i].answered);
		g_assert_true(send_bytes(sock, write));
		fake_pump(fake);
		expect_error(sock, 2, VFU_REGION_WRITE, cases[i].answered);
	}
	close(sock);
}

static void test_framing_closes(void)
{
	static const char *const headers[] = {
		"0100 0400 00000000 00000000 00000000", /* sizes */
		"0100 0400 0f000000 00000000 00000000", "0100 0400 21001000 00000000 00000000",
		"0100 0400 ffffffff 00000000 00000000", "0100 0400 ffffff7f 00000000 00000000",
		"0100 0400 10000000 01000000 00000000", /* types */
		"0100 0400 10000000 02000000 00000000", "0100 0400 10000000 1f000000 00000000",
		"0100 0b00 20000000 01000000 00000000", /* a reply nobody asked for */
	};
	g_autoptr(Fake) fake = fake_new();

	for (unsigned i = 0; i < G_N_ELEMENTS(headers); i++) {
		g_autoptr(GByteArray) request = bytes_of(headers[i]);
		int sock = fake_client(fake);

		g_test_message("%s", headers[i]);
		g_assert_true(send_bytes(sock, request));
		fake_pump(fake);
		expect_end(sock);
		g_assert_false(vfu_server_is_connected(fake->server));
	}
}

/* ---- order and no-reply ---- */

static void test_posted_writes(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(GByteArray)
		write = message_hex(7, VFU_REGION_WRITE, VFU_FLAGS_NO_REPLY,
				    "1000000000000000 00000000 08000000 | a1a2a3a4a5a6a7a8");
	g_autoptr(GByteArray) reset = message(9, VFU_DEVICE_RESET, VFU_FLAGS_NO_REPLY, NULL, 0);
	g_autoptr(GByteArray)
		read = message_hex(8, VFU_REGION_READ, 0, "1000000000000000 00000000 08000000");
	g_autoptr(GByteArray) reply = message_hex(
		8, VFU_REGION_READ, 1, "1000000000000000 00000000 08000000 | a1a2a3a4a5a6a7a8");
	int sock = fake_client(fake);

	g_assert_true(send_bytes(sock, write));
	fake_pump(fake);
	expect_silence(sock);
	g_assert_cmpuint(fake->n_writes, ==, 1);
	g_assert_cmpuint(vfu_server_n_messages(fake->server), ==, 2); /* VERSION was the first */
	g_assert_true(send_bytes(sock, reset));
	g_assert_true(send_bytes(sock, read));
	fake_pump(fake);
	expect_bytes(sock, reply);
	expect_silence(sock);
	g_assert_cmpuint(fake->n_resets, ==, 1);
	g_assert_cmpuint(vfu_server_n_messages(fake->server), ==, 4);
	close(sock);
}

/* Whoever serves may let a client wait for what it asks next: nothing is lost, nothing is answered.
 */
static int hold_and_write(void *opaque, unsigned index, uint64_t offset, const void *buf,
			  uint32_t count)
{
	Fake *fake = opaque;

	vfu_server_hold(fake->server, true);
	return fake_region_write(opaque, index, offset, buf, count);
}

static void test_hold(void)
{
	VfuServerOps ops = fake_ops;
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(GByteArray) write = message_hex(
		7, VFU_REGION_WRITE, 0, "1000000000000000 00000000 08000000 | a1a2a3a4a5a6a7a8");
	g_autoptr(GByteArray)
		written = message_hex(7, VFU_REGION_WRITE, 1, "1000000000000000 00000000 08000000");
	g_autoptr(GByteArray)
		read = message_hex(8, VFU_REGION_READ, 0, "1000000000000000 00000000 08000000");
	g_autoptr(GByteArray) reply = message_hex(
		8, VFU_REGION_READ, 1, "1000000000000000 00000000 08000000 | a1a2a3a4a5a6a7a8");
	int sock;

	vfu_server_free(fake->server);
	ops.region_write = hold_and_write;
	fake->server = vfu_server_new(fake->context, &ops, fake);
	sock = fake_client(fake);
	/* The write itself is answered; what came with it, and what comes later, is not. */
	g_assert_true(send_bytes(sock, write));
	g_assert_true(send_bytes(sock, read));
	fake_pump(fake);
	expect_bytes(sock, written);
	expect_silence(sock);
	g_assert_true(send_bytes(sock, read));
	fake_pump(fake);
	expect_silence(sock);
	g_assert_cmpuint(fake->n_reads, ==, 0);
	vfu_server_hold(fake->server, false);
	fake_pump(fake);
	expect_bytes(sock, reply);
	expect_bytes(sock, reply);
	g_assert_true(send_bytes(sock, read));
	fake_pump(fake);
	expect_bytes(sock, reply);
	/* The next client is not made to wait for what this one asked for. */
	vfu_server_hold(fake->server, true);
	vfu_server_disconnect(fake->server);
	fake_pump(fake);
	close(sock);
	sock = fake_client(fake);
	g_assert_true(send_bytes(sock, read));
	fake_pump(fake);
	expect_bytes(sock, reply);
	close(sock);
}

static void test_largest_write_and_read(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(GByteArray) body = bytes_of("0000000000000000 00000000 00000200");
	g_autoptr(GByteArray) request = NULL;
	g_autoptr(GByteArray) reply = NULL;
	g_autofree uint8_t *data = g_malloc(BAR0_LEN);
	int sock = fake_client(fake);
	size_t sent = 0;

	for (unsigned i = 0; i < BAR0_LEN; i++)
		data[i] = (uint8_t)(i / 3);
	g_byte_array_append(body, data, BAR0_LEN);
	request = message(1, VFU_REGION_WRITE, 0, body->data, body->len);
	while (sent < request->len) {
		ssize_t n = send(sock, request->data + sent, request->len - sent, MSG_DONTWAIT);

		if (n > 0)
			sent += (size_t)n;
		fake_pump(fake);
	}
	reply = message(1, VFU_REGION_WRITE, 1, body->data, 16);
	expect_bytes(sock, reply);
	g_assert_cmpmem(fake->bar0, BAR0_LEN, data, BAR0_LEN);
	close(sock);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/vfu/server/golden", test_golden);
	g_test_add_func("/protocol/vfu/server/golden-header", test_golden_header);
	g_test_add_func("/protocol/vfu/server/read-whole-config", test_read_whole_config);
	g_test_add_func("/protocol/vfu/server/version", test_version);
	g_test_add_func("/protocol/vfu/server/version-deep", test_version_deep);
	g_test_add_func("/protocol/vfu/server/version-order", test_version_order);
	g_test_add_func("/protocol/vfu/server/version-refused", test_version_refused);
	g_test_add_func("/protocol/vfu/server/version-no-fds", test_version_no_fds);
	g_test_add_func("/protocol/vfu/server/version-less-data", test_version_less_data);
	g_test_add_func("/protocol/vfu/server/refused", test_refused);
	g_test_add_func("/protocol/vfu/server/device-error", test_device_error);
	g_test_add_func("/protocol/vfu/server/framing-closes", test_framing_closes);
	g_test_add_func("/protocol/vfu/server/posted-writes", test_posted_writes);
	g_test_add_func("/protocol/vfu/server/hold", test_hold);
	g_test_add_func("/protocol/vfu/server/large-write", test_largest_write_and_read);
	return g_test_run();
}
