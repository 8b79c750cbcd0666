/* SPDX-License-Identifier: BSD-3-Clause */
/* The vfio-user client against servers that lie, stall and hand out bad files. */

/*
 * The liar asks the real server code for the honest reply and then spoils it as one row of a table
 * says: bytes patched, bytes added or left out, descriptors added.
 */
#include "vfu-fixture.h"

#include "link/vfu_client.h"
#include "link/vfu_session.h"

#define TIMEOUT_MS 250

typedef struct Lie {
	const char *name;
	enum vfu_command command;
	unsigned nth;    /* of this command, from 0 */
	unsigned offset; /* of the patch in the reply */
	const char *patch;
	const char *tail; /* sent behind it */
	unsigned keep;    /* bytes of the reply, 0 = all */
	unsigned n_fds;   /* added */
	int rc;           /* of a read; 0 = the connection is not even made */
} Lie;

typedef struct Liar {
	Fake *fake;
	const Lie *lie;
	int sock;
	GThread *thread;
	unsigned drip_us; /* between the bytes of a read's reply */
} Liar;

static void send_reply(const Liar *liar, const uint8_t *bytes, size_t len, int fd, unsigned n_fds)
{
	int fds[8];

	for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++)
		fds[i] = i == 0 && fd >= 0 ? fd : liar->fake->payload_fd;
	n_fds += fd >= 0;
	if (liar->drip_us == 0) {
		raw_send(liar->sock, bytes, len, fds, n_fds);
		return;
	}
	for (size_t i = 0; i < len; i++) {
		if (!raw_send(liar->sock, bytes + i, 1, fds, i == 0 ? n_fds : 0))
			return;
		g_usleep(liar->drip_us);
	}
}

static void spoil_and_send(const Liar *liar, const uint8_t *honest, uint32_t len, int fd)
{
	const Lie *lie = liar->lie;
	g_autoptr(GByteArray) patch = bytes_of(lie->patch != NULL ? lie->patch : "");
	g_autoptr(GByteArray) tail = bytes_of(lie->tail != NULL ? lie->tail : "");
	g_autoptr(GByteArray) reply = g_byte_array_new();

	g_byte_array_append(reply, honest, lie->keep > 0 ? MIN(lie->keep, len) : len);
	for (guint i = 0; i < patch->len && lie->offset + i < reply->len; i++)
		reply->data[lie->offset + i] = patch->data[i];
	g_byte_array_append(reply, tail->data, tail->len);
	send_reply(liar, reply->data, reply->len, fd, lie->n_fds);
}

static gpointer lie_on(gpointer opaque)
{
	Liar *liar = opaque;
	VfuNotifier notifier = VFU_NOTIFIER_INIT;
	const VfuPeer peer = { .pid = 1 };
	g_autofree uint8_t *out = g_malloc0(VFU_MAX_MESSAGE);
	unsigned n_seen = 0;
	VfuSession session;
	uint8_t buf[8192];

	vfu_session_init(&session, &fake_ops, liar->fake, &notifier, &peer);
	while (receive_message(liar->sock, buf, sizeof(buf))) {
		unsigned command = le16_get(((const VfuHeader *)buf)->command);
		uint32_t len;
		int fd;

		vfu_session_handle(&session, buf, NULL, 0, out, &len, &fd);
		if (liar->lie != NULL && command == liar->lie->command &&
		    n_seen++ == liar->lie->nth)
			spoil_and_send(liar, out, len, fd);
		else
			send_reply(liar, out, len, fd, 0);
	}
	vfu_session_clear(&session);
	vfu_notifier_clear(&notifier);
	return NULL;
}

static int liar_start(Liar *liar, Fake *fake, const Lie *lie)
{
	int pair[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
	*liar = (Liar){ .fake = fake, .lie = lie, .sock = pair[0] };
	liar->thread = g_thread_new("liar", lie_on, liar);
	return pair[1];
}

/* Once the client is gone. */
static void liar_end(Liar *liar)
{
	g_thread_join(liar->thread);
	close(liar->sock);
}

/* ---- lies while connecting ---- */

#define AREA_BAD .command = VFU_DEVICE_GET_REGION_INFO, .nth = 1
#define READ_BAD .command = VFU_REGION_READ, .rc = -EPROTO

static const Lie lies[] = {
	/* the header */
	{ "id", VFU_VERSION, .offset = 0, .patch = "0100" },
	{ "command", VFU_VERSION, .offset = 2, .patch = "0400" },
	{ "type", VFU_VERSION, .offset = 8, .patch = "00000000" },
	{ "type-2", VFU_VERSION, .offset = 8, .patch = "02000000" },
	{ "no-reply-bit", VFU_VERSION, .offset = 8, .patch = "11000000" },
	{ "unknown-bits", VFU_VERSION, .offset = 8, .patch = "01000001" },
	{ "size-0", VFU_VERSION, .offset = 4, .patch = "00000000" },
	{ "size-15", VFU_VERSION, .offset = 4, .patch = "0f000000" },
	{ "size-19", VFU_VERSION, .offset = 4, .patch = "13000000" },
	{ "size-above-room", VFU_VERSION, .offset = 4, .patch = "15100000" },
	{ "size-most", VFU_VERSION, .offset = 4, .patch = "ffffffff" },
	{ "size-short-of-bytes", VFU_VERSION, .offset = 4, .patch = "20000000" },
	{ "trailing", VFU_VERSION, .tail = "00" },
	{ "error-0", VFU_VERSION, .keep = 16, .offset = 4, .patch = "10000000 21000000 00000000" },
	{ "error-4096", VFU_VERSION, .keep = 16, .offset = 4,
	  .patch = "10000000 21000000 00100000" },
	{ "error-negative", VFU_VERSION, .keep = 16, .offset = 4,
	  .patch = "10000000 21000000 eaffffff" },
	{ "error-with-payload", VFU_VERSION, .offset = 8, .patch = "21000000 16000000" },
	{ "error-with-fd", VFU_VERSION, .keep = 16, .offset = 4, .n_fds = 1,
	  .patch = "10000000 21000000 16000000" },
	{ "fd", VFU_VERSION, .n_fds = 1 },
	{ "fds", VFU_VERSION, .n_fds = 7 },
	/* VERSION */
	{ "major", VFU_VERSION, .offset = 16, .patch = "0100" },
	{ "minor", VFU_VERSION, .offset = 18, .patch = "0100" },
	{ "not-json", VFU_VERSION, .offset = 20, .patch = "5b" },
	{ "no-nul", VFU_VERSION, .keep = 80, .offset = 4, .patch = "50000000" },
	{ "small-data", VFU_VERSION, .offset = 4,
	  .patch = "45000000 01000000 00000000 00000000"
		   "'{\"capabilities\":{\"max_data_xfer_size\":4095}}    ",
	  .keep = 69 },
	{ "big-data", VFU_VERSION, .offset = 4,
	  .patch = "45000000 01000000 00000000 00000000"
		   "'{\"capabilities\":{\"max_data_xfer_size\":67108865}}",
	  .keep = 69 },
	/* GET_INFO */
	{ "not-pci", VFU_DEVICE_GET_INFO, .offset = 20, .patch = "01000000" },
	{ "no-config", VFU_DEVICE_GET_INFO, .offset = 24, .patch = "07000000" },
	{ "101-regions", VFU_DEVICE_GET_INFO, .offset = 24, .patch = "65000000" },
	{ "all-regions", VFU_DEVICE_GET_INFO, .offset = 24, .patch = "ffffffff" },
	{ "no-msix", VFU_DEVICE_GET_INFO, .offset = 28, .patch = "02000000" },
	{ "51-irqs", VFU_DEVICE_GET_INFO, .offset = 28, .patch = "33000000" },
	{ "info-short", VFU_DEVICE_GET_INFO, .keep = 28, .offset = 4, .patch = "1c000000" },
	{ "info-long", VFU_DEVICE_GET_INFO, .offset = 4, .patch = "24000000", .tail = "00000000" },
	{ "info-fd", VFU_DEVICE_GET_INFO, .n_fds = 1 },
	/* REGION_INFO, first answer: without capabilities */
	{ "argsz-31", VFU_DEVICE_GET_REGION_INFO, .offset = 16, .patch = "1f000000" },
	{ "argsz-4097", VFU_DEVICE_GET_REGION_INFO, .offset = 16, .patch = "01100000" },
	{ "argsz-most", VFU_DEVICE_GET_REGION_INFO, .offset = 16, .patch = "ffffffff" },
	{ "region-index", VFU_DEVICE_GET_REGION_INFO, .offset = 24, .patch = "01000000" },
	{ "region-more-than-asked", VFU_DEVICE_GET_REGION_INFO, .offset = 4, .patch = "38000000",
	  .tail = "0000000000000000" },
	/* second answer */
	{ "argsz-grows", AREA_BAD, .offset = 16, .patch = "50000000" },
	{ "argsz-shrinks", AREA_BAD, .offset = 16, .patch = "20000000" },
	{ "cap-in-struct", AREA_BAD, .offset = 28, .patch = "18000000" },
	{ "cap-at-the-end", AREA_BAD, .offset = 28, .patch = "39000000" },
	{ "cap-cut-off", AREA_BAD, .offset = 28,
	  .patch = "38000000 0000020000000000 0030000000000000 | 0000000000000000 0000000000000000 "
		   "0000000000000000 | 0100 0100 00000000" },
	{ "cap-far", AREA_BAD, .offset = 28, .patch = "f8ffffff" },
	{ "next-to-itself", AREA_BAD, .offset = 52, .patch = "20000000" },
	{ "next-back", AREA_BAD, .offset = 52, .patch = "08000000" },
	{ "next-overlaps", AREA_BAD, .offset = 52, .patch = "27000000" },
	{ "next-far", AREA_BAD, .offset = 52, .patch = "ffffffff" },
	{ "sparse-version", AREA_BAD, .offset = 50, .patch = "0200" },
	{ "areas-2", AREA_BAD, .offset = 56, .patch = "02000000" },
	{ "areas-most", AREA_BAD, .offset = 56, .patch = "ffffffff" },
	{ "areas-wrap", AREA_BAD, .offset = 56, .patch = "01000010" },
	{ "area-unaligned", AREA_BAD, .offset = 64, .patch = "0008010000000000 0008000000000000" },
	{ "area-odd-length", AREA_BAD, .offset = 72, .patch = "0008000000000000" },
	{ "area-outside", AREA_BAD, .offset = 64, .patch = "0000020000000000" },
	{ "area-too-long", AREA_BAD, .offset = 72, .patch = "0010010000000000" },
	{ "area-wraps", AREA_BAD, .offset = 64, .patch = "00f0ffffffffffff 0020000000000000" },
	{ "not-mappable-with-fd", AREA_BAD, .offset = 20, .patch = "0b000000" },
	{ "two-fds", AREA_BAD, .n_fds = 1 },
	{ "many-fds", AREA_BAD, .n_fds = 6 },
	{ "region-error-with-fd", VFU_DEVICE_GET_REGION_INFO, .keep = 16, .offset = 4, .n_fds = 1,
	  .patch = "10000000 21000000 16000000" },
	/* IRQ_INFO */
	{ "irq-index", VFU_DEVICE_GET_IRQ_INFO, .offset = 24, .patch = "01000000" },
	{ "irq-count", VFU_DEVICE_GET_IRQ_INFO, .offset = 28, .patch = "01080000" },
	{ "irq-short", VFU_DEVICE_GET_IRQ_INFO, .keep = 28, .offset = 4, .patch = "1c000000" },
	/* REGION_READ of 4 bytes */
	{ "read-id", READ_BAD, .offset = 0, .patch = "ffff" },
	{ "read-command", READ_BAD, .offset = 2, .patch = "0a00" },
	{ "read-offset", READ_BAD, .offset = 16, .patch = "01" },
	{ "read-region", READ_BAD, .offset = 24, .patch = "00" },
	{ "read-count", READ_BAD, .offset = 28, .patch = "03" },
	{ "read-less", READ_BAD, .keep = 35, .offset = 4, .patch = "23000000" },
	{ "read-more", READ_BAD, .offset = 4, .patch = "25000000", .tail = "00" },
	{ "read-trailing", READ_BAD, .tail = "00000000000000000000000000000000" },
	{ "read-fd", READ_BAD, .n_fds = 1 },
	{ "read-huge", READ_BAD, .offset = 4, .patch = "ffffff7f" },
	{ "dma-read-instead", READ_BAD, .keep = 32, .offset = 0,
	  .patch = "0000 0b00 20000000 00000000 00000000 0000000000000000 0400000000000000" },
	{ "read-cut", VFU_REGION_READ, .keep = 35, .rc = -ETIMEDOUT },
	{ "read-half-header", VFU_REGION_READ, .keep = 7, .rc = -ETIMEDOUT },
	{ "read-posix-error", VFU_REGION_READ, .keep = 16, .offset = 4,
	  .patch = "10000000 21000000 13000000", .rc = -ENODEV },
};

static void expect_dead(VfuClient *client)
{
	uint8_t buf[4] = { 0 };
	uint64_t n = vfu_client_n_messages(client);

	g_assert_false(vfu_client_is_connected(client));
	g_assert_cmpint(vfu_client_read(client, 7, 0, buf, 4), ==, -EIO);
	g_assert_cmpmem(buf, 4, "\xff\xff\xff\xff", 4);
	g_assert_cmpint(vfu_client_write(client, 7, 0, buf, 4, true), ==, -EIO);
	g_assert_cmpint(vfu_client_write(client, 7, 0, buf, 4, false), ==, -EIO);
	g_assert_cmpint(vfu_client_set_irqs(client, 2, 0, (const int[]){ -1 }, 1), ==, -EIO);
	g_assert_cmpint(vfu_client_reset(client), ==, -EIO);
	g_assert_cmpuint(vfu_client_n_messages(client), ==, n);
}

static void check_lie(Fake *fake, const Lie *lie)
{
	g_autoptr(GError) error = NULL;
	uint8_t buf[4] = { 0 };
	VfuClient *client;
	Liar liar;
	int fd = liar_start(&liar, fake, lie);

	g_test_message("%s", lie->name);
	client = vfu_client_new(fd, TIMEOUT_MS, &error);
	if (lie->rc == 0) {
		g_assert_null(client);
		g_assert_nonnull(error);
		g_test_message("%s", error->message);
	} else {
		g_assert_no_error(error);
		g_assert_cmpint(vfu_client_read(client, 7, 0, buf, 4), ==, lie->rc);
		g_assert_cmpmem(buf, 4, "\xff\xff\xff\xff", 4);
		if (lie->rc == -ENODEV)
			g_assert_cmpint(vfu_client_read(client, 7, 0, buf, 4), ==, 0);
		else
			expect_dead(client);
		vfu_client_free(client);
	}
	liar_end(&liar);
}

static void test_lies(void)
{
	g_autoptr(Fake) fake = fake_new();
	unsigned before = count_fds();

	for (unsigned i = 0; i < G_N_ELEMENTS(lies); i++) {
		check_lie(fake, &lies[i]);
		g_assert_cmpuint(count_fds(), ==, before);
	}
}

/* Things that look odd and are allowed. */
static void test_tolerated(void)
{
	static const Lie oddities[] = {
		{ "no-json", VFU_VERSION, .keep = 20, .offset = 4, .patch = "14000000" },
		{ "irq-error", VFU_DEVICE_GET_IRQ_INFO, .nth = 3, .keep = 16, .offset = 4,
		  .patch = "10000000 21000000 16000000" },
		{ "error-field", VFU_DEVICE_GET_INFO, .offset = 12, .patch = "ffffffff" },
		{ "unknown-cap", AREA_BAD, .offset = 48, .patch = "4200" },
	};
	g_autoptr(Fake) fake = fake_new();

	for (unsigned i = 0; i < G_N_ELEMENTS(oddities); i++) {
		g_autoptr(GError) error = NULL;
		uint8_t buf[4];
		Liar liar;
		VfuClient *client = vfu_client_new(liar_start(&liar, fake, &oddities[i]),
						   TIMEOUT_MS, &error);

		g_assert_no_error(error);
		g_assert_cmpint(vfu_client_read(client, 7, 0, buf, 4), ==, 0);
		vfu_client_free(client);
		liar_end(&liar);
	}
}

/* ---- files ---- */

static int file_sealed_but_short(void)
{
	int fd = memfd_create("short", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	g_assert_cmpint(ftruncate(fd, PAYLOAD_FILE + PAYLOAD_OFFSET + PAYLOAD_LEN - 1), ==, 0);
	g_assert_cmpint(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), ==, 0);
	return fd;
}

static int file_read_only(void)
{
	int fd = make_payload_file(F_SEAL_SHRINK);
	char path[64];
	int reopened;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	reopened = open(path, O_RDONLY | O_CLOEXEC);
	close(fd);
	return reopened;
}

static int file_pipe(void)
{
	int pair[2];

	g_assert_cmpint(pipe2(pair, O_CLOEXEC), ==, 0);
	close(pair[1]);
	return pair[0];
}

static int file_on_disk(void)
{
	char name[] = "/tmp/softdcd-test-XXXXXX";
	int fd = g_mkstemp(name);

	unlink(name);
	g_assert_cmpint(ftruncate(fd, 1 << 20), ==, 0);
	return fd;
}

static int file_unsealed(void)
{
	return make_payload_file(0);
}

static int file_cannot_be_written(void)
{
	return make_payload_file(F_SEAL_SHRINK | F_SEAL_WRITE);
}

static int file_only_cannot_grow(void)
{
	return make_payload_file(F_SEAL_GROW);
}

static void test_bad_files(void)
{
	static int (*const files[])(void) = {
		file_sealed_but_short, file_read_only, file_pipe,
		file_on_disk,          file_unsealed,  file_cannot_be_written,
		file_only_cannot_grow,
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(files); i++) {
		g_autoptr(Fake) fake = fake_new();
		g_autoptr(GError) error = NULL;
		uint8_t buf[4];
		uint64_t n;
		Liar liar;
		VfuClient *client;

		close(fake->payload_fd);
		fake->payload_fd = files[i]();
		g_assert_cmpint(fake->payload_fd, >=, 0);
		client = vfu_client_new(liar_start(&liar, fake, NULL), TIMEOUT_MS, &error);
		g_assert_no_error(error);
		/* Not mapped; served by messages. */
		g_assert_null(vfu_client_peek_mapped(client, 0, PAYLOAD_OFFSET, 1));
		n = vfu_client_n_messages(client);
		g_assert_cmpint(vfu_client_read(client, 0, PAYLOAD_OFFSET, buf, 4), ==, 0);
		g_assert_cmpmem(buf, 4, fake->bar0 + PAYLOAD_OFFSET, 4);
		g_assert_cmpuint(vfu_client_n_messages(client), ==, n + 1);
		vfu_client_free(client);
		liar_end(&liar);
	}
}

static void test_bad_file_offsets(void)
{
	static const Lie offsets[] = {
		{ "unaligned", AREA_BAD, .offset = 40, .patch = "0130000000000000" },
		{ "beyond", AREA_BAD, .offset = 40, .patch = "0000000100000000" },
		{ "negative", AREA_BAD, .offset = 40, .patch = "00000000000000f0" },
		{ "wraps", AREA_BAD, .offset = 40, .patch = "0000ffffffffffff" },
	};
	g_autoptr(Fake) fake = fake_new();

	for (unsigned i = 0; i < G_N_ELEMENTS(offsets); i++) {
		g_autoptr(GError) error = NULL;
		Liar liar;
		VfuClient *client = vfu_client_new(liar_start(&liar, fake, &offsets[i]), TIMEOUT_MS,
						   &error);

		g_assert_no_error(error);
		g_assert_null(vfu_client_peek_mapped(client, 0, PAYLOAD_OFFSET, 1));
		vfu_client_free(client);
		liar_end(&liar);
	}
}

/* ---- time ---- */

static void expect_took(int64_t began, unsigned ms)
{
	int64_t took = g_get_monotonic_time() - began;

	g_assert_cmpint(took, >=, ms * 1000);
	g_assert_cmpint(took, <, (ms + 5000) * 1000);
}

static void test_silence(void)
{
	g_autoptr(GError) error = NULL;
	unsigned before = count_fds();
	int64_t began;
	int pair[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
	began = g_get_monotonic_time();
	g_assert_null(vfu_client_new(pair[1], TIMEOUT_MS, &error));
	g_assert_error(error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
	expect_took(began, TIMEOUT_MS);
	g_assert_true(is_closed(pair[0]));
	close(pair[0]);
	g_assert_cmpuint(count_fds(), ==, before);
}

/* A byte now and then does not buy the server more time; and what comes late stays unread. */
static void test_slow_reply(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(GError) error = NULL;
	uint8_t buf[4];
	int64_t began;
	Liar liar;
	VfuClient *client = vfu_client_new(liar_start(&liar, fake, NULL), TIMEOUT_MS, &error);

	g_assert_no_error(error);
	liar.drip_us = TIMEOUT_MS * 1000 / 20;
	began = g_get_monotonic_time();
	g_assert_cmpint(vfu_client_read(client, 7, 0, buf, 4), ==, -ETIMEDOUT);
	expect_took(began, TIMEOUT_MS);
	g_assert_cmpmem(buf, 4, "\xff\xff\xff\xff", 4);
	expect_dead(client);
	vfu_client_free(client);
	liar_end(&liar);
}

/* A whole reply, a byte at a time but in time, is fine. */
static void test_fragmented_reply(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(GError) error = NULL;
	uint8_t buf[4];
	Liar liar;
	VfuClient *client = vfu_client_new(liar_start(&liar, fake, NULL), 10000, &error);

	g_assert_no_error(error);
	liar.drip_us = 1;
	for (unsigned i = 0; i < 20; i++) {
		g_assert_cmpint(vfu_client_read(client, 7, i * 4, buf, 4), ==, 0);
		g_assert_cmpmem(buf, 4, fake->config + i * 4, 4);
	}
	vfu_client_free(client);
	liar_end(&liar);
}

/* A server that reads nothing: posted writes fill the socket, then the time-out ends it. */
static void test_full_socket(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(GError) error = NULL;
	g_autofree uint8_t *data = g_malloc0(PAYLOAD_OFFSET);
	Liar liar;
	VfuClient *client = vfu_client_new(liar_start(&liar, fake, NULL), TIMEOUT_MS, &error);
	int rc = 0;

	g_assert_no_error(error);
	liar.drip_us = 4 * TIMEOUT_MS * 1000; /* keeps it from reading on */
	g_assert_cmpint(vfu_client_reset(client), ==, -ETIMEDOUT);
	vfu_client_free(client);
	liar_end(&liar);

	client = vfu_client_new(liar_start(&liar, fake, NULL), TIMEOUT_MS, &error);
	g_assert_no_error(error);
	fake->naps_us = 1000 * 1000; /* it handles the first write for that long */
	for (unsigned i = 0; rc == 0 && i < 100; i++)
		rc = vfu_client_write(client, 0, 0, data, 4096, true);
	g_assert_cmpint(rc, ==, -ETIMEDOUT);
	expect_dead(client);
	vfu_client_free(client);
	liar_end(&liar);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/vfu/client/lies", test_lies);
	g_test_add_func("/protocol/vfu/client/tolerated", test_tolerated);
	g_test_add_func("/protocol/vfu/client/bad-files", test_bad_files);
	g_test_add_func("/protocol/vfu/client/bad-file-offsets", test_bad_file_offsets);
	g_test_add_func("/protocol/vfu/client/silence", test_silence);
	g_test_add_func("/protocol/vfu/client/slow-reply", test_slow_reply);
	g_test_add_func("/protocol/vfu/client/fragmented-reply", test_fragmented_reply);
	g_test_add_func("/protocol/vfu/client/full-socket", test_full_socket);
	return g_test_run();
}
