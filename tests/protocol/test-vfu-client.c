/* SPDX-License-Identifier: BSD-3-Clause */
/* The vfio-user client: with our server over real sockets, and its own bytes on the wire. */
#include "vfu-fixture.h"

#include "link/vfu_client.h"

#define TIMEOUT_MS 5000

/* ---- our server, in a thread ---- */

typedef struct Served {
	Fake *fake;
	GMainLoop *loop;
	GThread *thread;
	int peer; /* the client's end */
} Served;

static gpointer serve(gpointer opaque)
{
	g_main_loop_run(((Served *)opaque)->loop);
	return NULL;
}

static void served_start(Served *served)
{
	served->loop = g_main_loop_new(served->fake->context, FALSE);
	served->thread = g_thread_new("server", serve, served);
}

static void served_init(Served *served)
{
	served->fake = fake_new();
	served->peer = fake_attach(served->fake);
	served_start(served);
}

static gboolean quit(gpointer opaque)
{
	g_main_loop_quit(((Served *)opaque)->loop);
	return G_SOURCE_REMOVE;
}

/* From inside the loop, as one that does not run yet cannot be told to quit. */
static void served_stop(Served *served)
{
	GSource *source = g_idle_source_new();

	g_source_set_callback(source, quit, served, NULL);
	g_source_attach(source, served->fake->context);
	g_source_unref(source);
	g_thread_join(served->thread);
	g_main_loop_unref(served->loop);
}

static void served_clear(Served *served)
{
	served_stop(served);
	fake_pump(served->fake);
	fake_free(served->fake);
}

static VfuClient *served_client(Served *served)
{
	g_autoptr(GError) error = NULL;
	VfuClient *client = vfu_client_new(served->peer, TIMEOUT_MS, &error);

	g_assert_no_error(error);
	g_assert_nonnull(client);
	return client;
}

static void test_describes_device(void)
{
	Served served;
	VfuClient *client;

	served_init(&served);
	client = served_client(&served);
	g_assert_true(vfu_client_is_connected(client));
	for (unsigned i = 0; i < 12; i++)
		g_assert_cmpuint(vfu_client_region_len(client, i), ==,
				 i == 0   ? BAR0_LEN
				 : i == 2 ? BAR2_LEN
				 : i == 7 ? CONFIG_LEN
					  : 0);
	for (unsigned i = 0; i < 8; i++)
		g_assert_cmpuint(vfu_client_n_irqs(client, i), ==,
				 i == VFU_IRQ_MSIX  ? N_VECTORS
				 : i == VFU_IRQ_ERR ? 1
						    : 0);
	/* VERSION, GET_INFO, 9 regions and one again, 5 kinds of interrupt */
	g_assert_cmpuint(vfu_client_n_messages(client), ==, 17);
	vfu_client_free(client);
	served_clear(&served);
}

static void test_access(void)
{
	Served served;
	VfuClient *client;
	uint8_t buf[CONFIG_LEN];
	uint64_t n;

	served_init(&served);
	client = served_client(&served);
	n = vfu_client_n_messages(client);
	g_assert_cmpint(vfu_client_read(client, 7, 0, buf, CONFIG_LEN), ==, 0);
	g_assert_cmpmem(buf, CONFIG_LEN, served.fake->config, CONFIG_LEN);
	g_assert_cmpint(vfu_client_write(client, 0, 0x10, "\1\2\3\4\5\6\7\10", 8, true), ==, 0);
	g_assert_cmpint(vfu_client_write(client, 0, 0x12, "\xaa", 1, false), ==, 0);
	g_assert_cmpint(vfu_client_read(client, 0, 0x11, buf, 4), ==, 0);
	g_assert_cmpmem(buf, 4, "\2\xaa\4\5", 4);
	g_assert_cmpuint(vfu_client_n_messages(client), ==, n + 4);
	g_assert_cmpint(vfu_client_reset(client), ==, 0);
	g_assert_cmpuint(served.fake->n_resets, ==, 1);

	/* What cannot be right is not even asked. */
	n = vfu_client_n_messages(client);
	memset(buf, 0, 8);
	g_assert_cmpint(vfu_client_read(client, 7, CONFIG_LEN - 3, buf, 4), ==, -EINVAL);
	g_assert_cmpmem(buf, 5, "\xff\xff\xff\xff\0", 5);
	g_assert_cmpint(vfu_client_read(client, 7, UINT64_MAX - 1, buf, 4), ==, -EINVAL);
	g_assert_cmpint(vfu_client_read(client, 1, 0, buf, 4), ==, -EINVAL);
	g_assert_cmpint(vfu_client_read(client, 9, 0, buf, 4), ==, -EINVAL);
	g_assert_cmpint(vfu_client_write(client, 7, CONFIG_LEN, buf, 1, true), ==, -EINVAL);
	g_assert_cmpint(vfu_client_write(client, 2, 0, buf, 4, true), ==, -EACCES);
	g_assert_cmpuint(vfu_client_n_messages(client), ==, n);

	/* The device says no: the connection stays. */
	served.fake->error = -ENODEV;
	g_assert_cmpint(vfu_client_read(client, 0, 0, buf, 4), ==, -ENODEV);
	g_assert_cmpmem(buf, 4, "\xff\xff\xff\xff", 4);
	served.fake->error = 0;
	g_assert_cmpint(vfu_client_read(client, 0, 0, buf, 4), ==, 0);
	vfu_client_free(client);
	served_clear(&served);
}

static void test_mapped(void)
{
	Served served;
	VfuClient *client;
	uint8_t *file, *area;
	uint8_t buf[16];
	uint64_t n;

	served_init(&served);
	client = served_client(&served);
	file = mmap(NULL, BAR0_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, served.fake->payload_fd,
		    PAYLOAD_FILE);
	g_assert_true(file != MAP_FAILED);
	n = vfu_client_n_messages(client);
	memcpy(file + PAYLOAD_OFFSET + 5, "payload", 8);
	g_assert_cmpint(vfu_client_read(client, 0, PAYLOAD_OFFSET + 5, buf, 8), ==, 0);
	g_assert_cmpmem(buf, 8, "payload", 8);
	g_assert_cmpint(
		vfu_client_write(client, 0, PAYLOAD_OFFSET + PAYLOAD_LEN - 3, "end", 3, false), ==,
		0);
	g_assert_cmpmem(file + PAYLOAD_OFFSET + PAYLOAD_LEN - 3, 3, "end", 3);
	area = vfu_client_peek_mapped(client, 0, PAYLOAD_OFFSET, PAYLOAD_LEN);
	g_assert_nonnull(area);
	g_assert_cmpmem(area + 5, 8, "payload", 8);
	g_assert_cmpuint(vfu_client_n_messages(client), ==, n);

	g_assert_null(vfu_client_peek_mapped(client, 0, PAYLOAD_OFFSET - 1, 2));
	g_assert_null(vfu_client_peek_mapped(client, 0, PAYLOAD_OFFSET, PAYLOAD_LEN + 1));
	g_assert_null(vfu_client_peek_mapped(client, 0, UINT64_MAX, 2));
	g_assert_null(vfu_client_peek_mapped(client, 2, 0, 1));
	g_assert_null(vfu_client_peek_mapped(client, 1000, 0, 1));
	/* Partly outside: one message. */
	g_assert_cmpint(vfu_client_read(client, 0, PAYLOAD_OFFSET - 4, buf, 8), ==, 0);
	g_assert_cmpuint(vfu_client_n_messages(client), ==, n + 1);
	munmap(file, BAR0_LEN);
	vfu_client_free(client);
	served_clear(&served);
}

static void test_client_irqs(void)
{
	/* runs: 0 1 | 2 | 3..7 */
	int fds[N_VECTORS] = { 0, 0, -1, 0, 0, 0, 0, 0 };
	Served served;
	VfuClient *client;
	uint64_t n, count;

	served_init(&served);
	client = served_client(&served);
	for (unsigned i = 0; i < N_VECTORS; i++)
		fds[i] = i == 2 ? -1 : eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	n = vfu_client_n_messages(client);
	g_assert_cmpint(vfu_client_set_irqs(client, VFU_IRQ_MSIX, 0, fds, N_VECTORS), ==, 0);
	g_assert_cmpuint(vfu_client_n_messages(client), ==, n + 3);
	g_assert_cmpint(vfu_client_set_irqs(client, VFU_IRQ_MSIX, 1, fds, N_VECTORS), ==, -EINVAL);
	g_assert_cmpint(vfu_client_set_irqs(client, VFU_IRQ_MSIX, UINT_MAX, fds, 1), ==, -EINVAL);
	g_assert_cmpint(vfu_client_set_irqs(client, 0, 0, fds, 1), ==, -EINVAL);
	g_assert_cmpint(vfu_client_set_irqs(client, 99, 0, fds, 1), ==, -EINVAL);
	served_stop(&served); /* vfu_server_irq() is for its thread */
	for (unsigned i = 0; i < N_VECTORS; i++) {
		vfu_server_irq(served.fake->server, VFU_IRQ_MSIX, i);
		if (fds[i] >= 0)
			g_assert_cmpint(read(fds[i], &count, sizeof(count)), ==, sizeof(count));
	}
	served_start(&served);
	g_assert_cmpint(vfu_client_disable_irqs(client, VFU_IRQ_MSIX), ==, 0);
	g_assert_cmpint(vfu_client_disable_irqs(client, 50), ==, -EINVAL);
	served_stop(&served);
	for (unsigned i = 0; i < N_VECTORS; i++) {
		vfu_server_irq(served.fake->server, VFU_IRQ_MSIX, i);
		if (fds[i] >= 0) {
			g_assert_cmpint(read(fds[i], &count, sizeof(count)), ==, -1);
			close(fds[i]);
		}
	}
	served_start(&served);
	vfu_client_free(client);
	served_clear(&served);
}

/* Server and client on one socket with spinning, from four threads. */
static gpointer hammer(gpointer opaque)
{
	VfuClient *client = opaque;

	for (unsigned i = 0; i < 2000; i++) {
		uint8_t buf[4];

		g_assert_cmpint(vfu_client_read(client, 7, i & 0xffc, buf, 4), ==, 0);
		g_assert_cmpuint(buf[1], ==, (uint8_t)((i & 0xffc) * 3 + 3));
		g_assert_cmpint(vfu_client_write(client, 0, i, buf, 4, i % 2), ==, 0);
	}
	return NULL;
}

static void test_threads(void)
{
	GThread *threads[4];
	Served served;
	VfuClient *client;

	served_init(&served);
	client = served_client(&served);
	for (unsigned i = 0; i < 4; i++)
		threads[i] = g_thread_new("client", hammer, client);
	for (unsigned i = 0; i < 4; i++)
		g_thread_join(threads[i]);
	vfu_client_free(client);
	served_clear(&served);
}

static void test_connect(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(GError) error = NULL;
	g_autofree char *dir = g_dir_make_tmp("softdcd-vfu-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(dir, "s", NULL);
	g_autofree char *too_long = g_strnfill(200, 'x');
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	Served served = { .fake = fake };
	VfuClient *client;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_assert_null(vfu_client_connect(path, 100, &error));
	g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
	g_clear_error(&error);
	g_assert_null(vfu_client_connect(too_long, 100, &error));
	g_assert_error(error, G_IO_ERROR, G_IO_ERROR_FILENAME_TOO_LONG);
	g_clear_error(&error);

	g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
	g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
	g_assert_cmpint(listen(fd, 1), ==, 0);
	/* Accepted by nobody: the time-out is ours. */
	g_assert_null(vfu_client_connect(path, 50, &error));
	g_assert_error(error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
	g_clear_error(&error);

	vfu_server_listen(fake->server, fd);
	fake_pump(fake);
	served_start(&served);
	client = vfu_client_connect(path, TIMEOUT_MS, &error);
	g_assert_no_error(error);
	/* The second one is turned away at once. */
	g_assert_null(vfu_client_connect(path, TIMEOUT_MS, &error));
	g_assert_error(error, G_IO_ERROR, G_IO_ERROR_FAILED);
	served_stop(&served);
	vfu_server_disconnect(fake->server);
	g_assert_false(vfu_client_is_connected(client));
	vfu_client_free(client);
	fake_pump(fake);
	unlink(path);
	rmdir(dir);
}

static void test_server_ends(void)
{
	Served served;
	VfuClient *client;
	uint8_t buf[4] = { 0 };

	served_init(&served);
	client = served_client(&served);
	served_stop(&served);
	vfu_server_disconnect(served.fake->server);
	g_assert_cmpint(vfu_client_read(client, 7, 0, buf, 4), ==, -EIO);
	g_assert_cmpmem(buf, 4, "\xff\xff\xff\xff", 4);
	/* Also what was mapped reads as a device that is gone. */
	memset(buf, 0, 4);
	g_assert_cmpint(vfu_client_read(client, 0, PAYLOAD_OFFSET, buf, 4), ==, -EIO);
	g_assert_cmpmem(buf, 4, "\xff\xff\xff\xff", 4);
	g_assert_cmpint(vfu_client_write(client, 0, PAYLOAD_OFFSET, buf, 4, true), ==, -EIO);
	g_assert_cmpint(vfu_client_reset(client), ==, -EIO);
	g_assert_cmpint(vfu_client_disable_irqs(client, 2), ==, -EIO);
	g_assert_null(vfu_client_peek_mapped(client, 0, PAYLOAD_OFFSET, 4));
	g_assert_false(vfu_client_is_connected(client));
	vfu_client_free(client);
	served_start(&served);
	served_clear(&served);
}

/* ---- golden bytes ---- */

/* Answers as told and notes what it was asked. */
typedef struct Script {
	int sock;
	GPtrArray *replies; /* of GByteArray */
	GByteArray *heard;
} Script;

static gpointer play(gpointer opaque)
{
	Script *script = opaque;
	uint8_t buf[256];

	for (guint i = 0; i < script->replies->len; i++) {
		ssize_t got = recv(script->sock, buf, sizeof(buf), 0);

		if (got <= 0)
			break;
		g_byte_array_append(script->heard, buf, (guint)got);
		g_assert_true(send_bytes(script->sock, g_ptr_array_index(script->replies, i)));
	}
	return NULL;
}

static void add_golden(Script *script, GByteArray *expected, unsigned id, unsigned command,
		       const char *request, const char *reply)
{
	g_autoptr(GByteArray) bytes = message_hex(id, command, 0, request);

	g_byte_array_append(expected, bytes->data, bytes->len);
	g_ptr_array_add(script->replies, message_hex(id, command, 1, reply));
}

static void test_client_golden(void)
{
	Script script = { .heard = g_byte_array_new() };
	g_autoptr(GByteArray) expected = g_byte_array_new();
	g_autoptr(GError) error = NULL;
	GThread *thread;
	VfuClient *client;
	int pair[2];
	uint16_t value = 0;

	script.replies = g_ptr_array_new_with_free_func((GDestroyNotify)g_byte_array_unref);
	add_golden(&script, expected, 0, 1,
		   "0000 0000 "
		   "'{\"capabilities\":{\"max_msg_fds\":1,\"max_data_xfer_size\":1048576}}",
		   "0000 0000");
	add_golden(&script, expected, 1, 4, "10000000 00000000 00000000 00000000",
		   "10000000 02000000 08000000 03000000");
	for (unsigned i = 0; i < 8; i++) {
		g_autofree char *request = g_strdup_printf(
			"20000000 00000000 %02x000000 00000000 0000000000000000 0000000000000000",
			i);
		g_autofree char *reply = g_strdup_printf("20000000 03000000 %02x000000 00000000 "
							 "0001000000000000 0000000000000000",
							 i);

		add_golden(&script, expected, 2 + i, 5, request, reply);
	}
	for (unsigned i = 0; i < 3; i++) {
		g_autofree char *info = g_strdup_printf("10000000 00000000 %02x000000 00000000", i);

		add_golden(&script, expected, 10 + i, 7, info, info);
	}
	add_golden(&script, expected, 13, 9, "3400000000000000 07000000 02000000",
		   "3400000000000000 07000000 02000000 | 4080");
	add_golden(&script, expected, 14, 10, "0400000000000000 07000000 02000000 0601",
		   "0400000000000000 07000000 02000000");
	add_golden(&script, expected, 15, 8, "14000000 21000000 02000000 00000000 00000000", "");
	add_golden(&script, expected, 16, 13, "", "");

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
	script.sock = pair[0];
	thread = g_thread_new("script", play, &script);
	client = vfu_client_new(pair[1], TIMEOUT_MS, &error);
	g_assert_no_error(error);
	g_assert_cmpint(vfu_client_read(client, 7, 0x34, &value, 2), ==, 0);
	g_assert_cmphex(value, ==, 0x8040);
	value = 0x0106;
	g_assert_cmpint(vfu_client_write(client, 7, 4, &value, 2, false), ==, 0);
	g_assert_cmpint(vfu_client_disable_irqs(client, 2), ==, 0);
	g_assert_cmpint(vfu_client_reset(client), ==, 0);
	g_thread_join(thread);
	g_assert_cmpmem(script.heard->data, script.heard->len, expected->data, expected->len);

	g_assert_cmpint(vfu_client_write(client, 0, 0x20, "\1\2\3\4\5\6\7\10", 8, true), ==, 0);
	g_byte_array_unref(expected);
	expected = bytes_of("1100 0a00 28000000 10000000 00000000 | 2000000000000000 00000000 "
			    "08000000 | 0102030405060708");
	expect_bytes(script.sock, expected);
	vfu_client_free(client);
	close(script.sock);
	g_ptr_array_unref(script.replies);
	g_byte_array_unref(script.heard);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/vfu/client/describes-device", test_describes_device);
	g_test_add_func("/protocol/vfu/client/access", test_access);
	g_test_add_func("/protocol/vfu/client/mapped", test_mapped);
	g_test_add_func("/protocol/vfu/client/irqs", test_client_irqs);
	g_test_add_func("/protocol/vfu/client/threads", test_threads);
	g_test_add_func("/protocol/vfu/client/connect", test_connect);
	g_test_add_func("/protocol/vfu/client/server-ends", test_server_ends);
	g_test_add_func("/protocol/vfu/client/golden", test_client_golden);
	return g_test_run();
}
