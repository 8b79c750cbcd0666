/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio devices in front of real daemons: virtiofsd, passt, and programs that are neither. */
#include "virtio_driver.h"

#include <glib/gstdio.h>

/* Skips the test when the daemon is not there, or cannot be used here. */
static bool is_found(const VirtioDevice *device, const GError *error)
{
	if (device == NULL)
		g_test_skip(error->message);
	return device != NULL;
}

/* FUSE: struct fuse_in_header, then the request; struct fuse_out_header, then its reply. */
#define FUSE_IN_LEN  40
#define FUSE_OUT_LEN 16
#define FUSE_INIT    26
#define FUSE_STATFS  17

static void fuse_request(Driver *driver, uint16_t index, uint32_t opcode, const uint32_t *body,
			 unsigned n_body, uint64_t reply_gpa)
{
	uint8_t *in = driver->ram.hva + DRIVER_BUFFERS;
	uint32_t in_len = FUSE_IN_LEN + n_body * 4;
	const DriverPart parts[] = {
		{ DRIVER_BUFFERS, in_len, false },
		{ reply_gpa, 0x1000, true },
	};

	memset(in, 0, in_len);
	le32_store(in, in_len);
	le32_store(in + 4, opcode);
	le64_store(in + 8, index + 1); /* unique */
	le64_store(in + 16, 1);        /* the root's node */
	for (unsigned i = 0; i < n_body; i++)
		le32_store(in + FUSE_IN_LEN + 4 * i, body[i]);
	driver_submit(driver, 1, index, parts, 2);
	driver_wait_irq(driver, 2);
	(void)driver_wait_used(driver, 1, index);
}

static void test_virtiofsd(void)
{
	/* Major and minor version, read-ahead, flags. */
	static const uint32_t init[] = { 7, 31, 0x20000, 0 };
	g_autofree char *dir = g_dir_make_tmp("softdcd-share-XXXXXX", NULL);
	g_autoptr(VirtioDevice) device = NULL;
	g_autoptr(GError) error = NULL;
	VirtioContext context;
	GuestRegion extent;
	uint8_t *out;
	Driver driver;

	driver_init(&driver);
	context = driver_context(&driver);
	device = virtio_share_new(&context, dir, "some tag", &error);
	if (!is_found(device, error)) {
		g_rmdir(dir);
		driver_clear(&driver);
		return;
	}
	driver_find(&driver, virtio_device_peek_pci(device));
	g_assert_cmphex(driver_config_get(&driver, 0, 4), ==, 0x105a1af4);
	g_assert_cmphex(driver_read(&driver, 0x2000, 8), ==, UINT64_C(0x67617420656d6f73));
	g_assert_cmphex(driver_read(&driver, 0x2008, 8), ==, 0);
	g_assert_cmpuint(driver_read(&driver, 0x2000 + 36, 4), ==, 1);
	driver_start(&driver, VIRTIO_F_VERSION_1, 2);
	g_assert_cmphex(READ(&driver, status), ==, 0x0f);

	out = driver.ram.hva + DRIVER_BUFFERS + 0x10000;
	fuse_request(&driver, 0, FUSE_INIT, init, G_N_ELEMENTS(init), DRIVER_BUFFERS + 0x10000);
	g_assert_cmpuint(le32_load(out + 4), ==, 0);
	g_assert_cmpuint(le32_load(out + FUSE_OUT_LEN), ==, 7);

	/* The same into memory that comes, and goes again. */
	extent = driver_extent(&driver);
	for (uint16_t round = 0; round < 5; round++) {
		memset(out, 0xff, 0x1000);
		g_assert_cmpint(guest_memory_add(driver.memory, &extent), ==, 0);
		fuse_request(&driver, 1 + round, FUSE_STATFS, NULL, 0,
			     extent.gpa + DRIVER_BUFFERS + 0x10000);
		g_assert_cmpint((int32_t)le32_load(out + 4), ==, 0);
		g_assert_cmpuint(le64_load(out + 8), ==, 2 + round);
		guest_memory_remove(driver.memory, extent.gpa, extent.len);
	}
	g_assert_true(vhost_backend_is_alive(virtio_device_peek_backend(device)));
	virtio_device_free(g_steal_pointer(&device));
	munmap(extent.hva, extent.len);
	g_rmdir(dir);
	driver_clear(&driver);
}

#define FRAME_AT   12 /* behind virtio's header */
#define FRAME_LEN  60
#define ANSWERS_AT UINT64_C(0x20000)

/* ARP (RFC 826), from us to all: who has 192.0.2.1? passt answers for every address. */
static void put_arp_request(uint8_t *buf)
{
	static const uint8_t frame[] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x53, 0x44, 0x43, 0x44, 0x01, 8,    6,
		0,    1,    8,    0,    6,    4,    0,    1,    0x52, 0x53, 0x44, 0x43, 0x44, 0x01,
		192,  0,    2,    77,   0,    0,    0,    0,    0,    0,    192,  0,    2,    1,
	};

	memset(buf, 0, FRAME_AT + FRAME_LEN);
	memcpy(buf + FRAME_AT, frame, sizeof(frame));
}

static void give_buffer(Driver *driver, uint16_t index, uint64_t base)
{
	const DriverPart part = { base + DRIVER_BUFFERS + ANSWERS_AT, 0x1000, true };

	memset(driver->ram.hva + DRIVER_BUFFERS + ANSWERS_AT, 0, 0x1000);
	driver_submit(driver, 0, index, &part, 1);
}

/* Gives buffers until one comes back with the answer; passt speaks of its own accord, too. */
static void expect_answer(Driver *driver, uint16_t *index, uint64_t base)
{
	const uint8_t *frame = driver->ram.hva + DRIVER_BUFFERS + ANSWERS_AT + FRAME_AT;

	for (;;) {
		(void)driver_wait_used(driver, 0, (*index)++);
		if (frame[12] == 8 && frame[13] == 6)
			break;
		give_buffer(driver, *index, base);
	}
	g_assert_cmpuint(frame[21], ==, 2); /* a reply, of: */
	g_assert_cmpuint(le32_load(frame + 28), ==, 192 | 2 << 16 | 1 << 24);
}

/* Requests and answers, in RAM and in memory that comes and goes. */
static void test_passt(void)
{
	g_autoptr(VirtioDevice) device = NULL;
	g_autoptr(GError) error = NULL;
	uint16_t n_answers = 0;
	GuestRegion extent;
	VirtioContext context;
	Driver driver;

	driver_init(&driver);
	context = driver_context(&driver);
	device = virtio_net_new(&context, &error);
	if (!is_found(device, error)) {
		driver_clear(&driver);
		return;
	}
	driver_find(&driver, virtio_device_peek_pci(device));
	g_assert_cmphex(driver_config_get(&driver, 0, 4), ==, 0x10411af4);
	g_assert_cmphex(driver_read(&driver, 0x2000, 8), ==, UINT64_C(0x0001014443445352));
	driver_start(&driver, VIRTIO_F_VERSION_1 | VIRTIO_NET_F_MAC, 2);
	g_assert_cmphex(READ(&driver, status), ==, 0x0f);
	extent = driver_extent(&driver);
	for (uint16_t round = 0; round < 8; round++) {
		uint64_t base = round % 2 == 1 ? extent.gpa : 0;
		const DriverPart part = { base + DRIVER_BUFFERS, FRAME_AT + FRAME_LEN, false };

		/* It has a buffer already when its table changes. */
		give_buffer(&driver, n_answers, 0);
		if (base != 0)
			g_assert_cmpint(guest_memory_add(driver.memory, &extent), ==, 0);
		put_arp_request(driver.ram.hva + DRIVER_BUFFERS);
		driver_submit(&driver, 1, round, &part, 1);
		(void)driver_wait_used(&driver, 1, round);
		expect_answer(&driver, &n_answers, base);
		if (base != 0)
			guest_memory_remove(driver.memory, extent.gpa, extent.len);
	}
	g_assert_true(vhost_backend_is_alive(virtio_device_peek_backend(device)));
	virtio_device_free(g_steal_pointer(&device));
	munmap(extent.hva, extent.len);
	driver_clear(&driver);
}

/* What can be wrong with a share before there is a daemon. */
static void test_refusals(void)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *long_tag = g_strnfill(VIRTIO_FS_TAG_LEN + 1, 'x');
	VirtioContext context;
	Driver driver;

	driver_init(&driver);
	context = driver_context(&driver);
	g_assert_null(virtio_share_new(&context, "/", long_tag, &error));
	g_assert_nonnull(strstr(error->message, "has 37 bytes; it must have 1 to 36"));
	g_clear_error(&error);
	g_assert_null(virtio_share_new(&context, "/", "", &error));
	g_clear_error(&error);
	g_assert_null(virtio_share_new(&context, "/nonexistent/dir", "tag", &error));
	g_assert_nonnull(strstr(error->message, "/nonexistent/dir: no such directory"));
	driver_clear(&driver);
}

static void put_program(const char *dir, const char *name, const char *text)
{
	g_autofree char *path = g_build_filename(dir, name, NULL);

	g_assert_true(g_file_set_contents(path, text, -1, NULL));
	g_assert_cmpint(g_chmod(path, 0700), ==, 0);
}

/* Programs that are too old, or do not start: said with their own words. */
static void test_bad_programs(void)
{
	g_autofree char *path = g_strdup(g_getenv("PATH"));
	g_autofree char *dir = g_dir_make_tmp("softdcd-programs-XXXXXX", NULL);
	g_autofree char *passt = g_build_filename(dir, "passt", NULL);
	g_autofree char *virtiofsd = g_build_filename(dir, "virtiofsd", NULL);
	g_autofree char *bad_path = g_strdup_printf("%s:%s", dir, path);
	g_autoptr(GError) error = NULL;
	VirtioContext context;
	Driver driver;

	put_program(dir, "passt", "#!/bin/sh\necho Usage: passt\n");
	put_program(dir, "virtiofsd", "#!/bin/sh\necho 'error: not today' >&2\nexit 4\n");
	g_setenv("PATH", bad_path, TRUE);
	driver_init(&driver);
	context = driver_context(&driver);
	g_assert_null(virtio_net_new(&context, &error));
	g_assert_nonnull(strstr(error->message, passt));
	g_assert_nonnull(strstr(error->message, "has no --vhost-user"));
	g_clear_error(&error);
	g_assert_null(virtio_share_new(&context, "/", "tag", &error));
	g_assert_nonnull(strstr(error->message, "exit code 4: error: not today"));
	g_assert_true(driver_has_said(&driver, "virtiofsd /: error: not today"));
	g_setenv("PATH", path, TRUE);
	g_unlink(passt);
	g_unlink(virtiofsd);
	g_rmdir(dir);
	driver_clear(&driver);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/virtio-daemons/virtiofsd", test_virtiofsd);
	g_test_add_func("/protocol/virtio-daemons/passt", test_passt);
	g_test_add_func("/protocol/virtio-daemons/refusals", test_refusals);
	g_test_add_func("/protocol/virtio-daemons/bad-programs", test_bad_programs);
	return g_test_run();
}
