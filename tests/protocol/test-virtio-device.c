/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio devices as a guest's driver sees them, in front of a daemon that a test plays. */
#include "vhost_fake.h"
#include "virtio_driver.h"

#include <signal.h>

#define WANTED UINT64_MAX

static const uint8_t fake_space[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };

static void fake_gone(VirtioPci *pci)
{
	const uint8_t gone = 0xee;

	virtio_pci_change_space(pci, 7, &gone, 1);
}

static VirtioDevice *fake_device(Driver *driver, unsigned traits)
{
	VirtioContext context = driver_context(driver);
	g_autofree char *traits_text = g_strdup_printf("%u", traits);
	const char *const argv[] = { "/proc/self/exe", "--fake", traits_text, "0", "0", "0", NULL };
	const VhostBackendConfig backend = { .name = "fake", .argv = argv };
	const VirtioDeviceConfig config = {
		.type = VIRTIO_TYPE_NET,
		.class_code = 0x020000,
		.features = VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX,
		.own_features = VIRTIO_NET_F_MAC,
		.space = fake_space,
		.space_len = sizeof(fake_space),
		.n_queues = 2,
		.queue_max = 256,
		.gone = fake_gone,
	};
	g_autoptr(GError) error = NULL;
	VirtioDevice *device = virtio_device_new(&context, &config, &backend, &error);

	g_assert_no_error(error);
	driver_find(driver, virtio_device_peek_pci(device));
	return device;
}

static void wait_said(Driver *driver, const char *text)
{
	gint64 deadline = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;

	while (!driver_has_said(driver, text)) {
		if (g_get_monotonic_time() > deadline)
			g_error("not said: %s", text);
		g_usleep(1000);
	}
}

/* virtio 1.2, 4.1.4: each structure is found through a capability. */
static void test_capabilities(void)
{
	static const struct {
		uint32_t offset, length;
	} wanted[] = {
		[VIRTIO_PCI_CAP_COMMON] = { 0, 0x38 },
		[VIRTIO_PCI_CAP_NOTIFY] = { 0x3000, 8 },
		[VIRTIO_PCI_CAP_ISR] = { 0x1000, 1 },
		[VIRTIO_PCI_CAP_DEVICE] = { 0x2000, 8 },
	};
	g_autoptr(VirtioDevice) device = NULL;
	unsigned found = 0;
	Driver driver;

	driver_init(&driver);
	device = fake_device(&driver, FAKE_SLOTS);
	g_assert_cmphex(driver_config_get(&driver, 0, 4), ==, 0x10411af4);
	g_assert_cmphex(driver_config_get(&driver, 8, 4), ==, 0x02000001);
	for (unsigned cap = driver_config_get(&driver, PCI_CFG_CAP_PTR, 1); cap != 0;
	     cap = driver_config_get(&driver, cap + 1, 1)) {
		unsigned type = driver_config_get(&driver, cap + 3, 1);

		if (driver_config_get(&driver, cap, 1) != 0x09)
			continue;
		g_assert_cmpuint(type, <, G_N_ELEMENTS(wanted));
		g_assert_cmpuint(driver_config_get(&driver, cap + 2, 1), ==,
				 type == VIRTIO_PCI_CAP_NOTIFY ? 20 : 16);
		g_assert_cmpuint(driver_config_get(&driver, cap + 4, 1), ==, 0);
		g_assert_cmphex(driver_config_get(&driver, cap + 8, 4), ==, wanted[type].offset);
		g_assert_cmphex(driver_config_get(&driver, cap + 12, 4), ==, wanted[type].length);
		if (type == VIRTIO_PCI_CAP_NOTIFY)
			g_assert_cmpuint(driver_config_get(&driver, cap + 16, 4), ==, 4);
		found |= 1u << type;
	}
	g_assert_cmphex(found, ==, 0x1e);
	virtio_device_free(g_steal_pointer(&device));
	driver_clear(&driver);
}

static void test_registers(void)
{
	static const unsigned bad_sizes[] = { 0, 100, 512 };
	g_autoptr(VirtioDevice) device = NULL;
	Driver driver;

	driver_init(&driver);
	device = fake_device(&driver, FAKE_SLOTS);
	g_assert_cmphex(driver_negotiate(&driver, WANTED), ==,
			VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_NET_F_MAC);
	/* Features stay as agreed. */
	WRITE(&driver, driver_feature, 0);
	g_assert_cmphex(READ(&driver, driver_feature), ==, 1);
	WRITE(&driver, driver_feature_select, 2);
	g_assert_cmphex(READ(&driver, driver_feature), ==, 0);
	WRITE(&driver, device_feature_select, UINT32_MAX);
	g_assert_cmphex(READ(&driver, device_feature), ==, 0);
	g_assert_cmpuint(READ(&driver, n_queues), ==, 2);

	WRITE(&driver, queue_select, 1);
	g_assert_cmpuint(READ(&driver, queue_size), ==, 256);
	g_assert_cmpuint(READ(&driver, queue_notify_off), ==, 1);
	g_assert_cmphex(READ(&driver, queue_vector), ==, VIRTIO_NO_VECTOR);
	for (unsigned bad = 0; bad < G_N_ELEMENTS(bad_sizes); bad++) {
		WRITE(&driver, queue_size, bad_sizes[bad]);
		g_assert_cmpuint(READ(&driver, queue_size), ==, 256);
	}
	WRITE(&driver, queue_vector, 3);
	g_assert_cmphex(READ(&driver, queue_vector), ==, VIRTIO_NO_VECTOR);
	WRITE(&driver, config_vector, 2);
	g_assert_cmphex(READ(&driver, config_vector), ==, 2);
	WRITE(&driver, queue_desc, UINT64_C(0x123456789abcdef0));
	driver_write(&driver, COMMON(queue_desc) + 4, 4, 0x11111111);
	g_assert_cmphex(READ(&driver, queue_desc), ==, UINT64_C(0x111111119abcdef0));
	/* Enabled: then all is fixed. */
	WRITE(&driver, queue_enable, 1);
	WRITE(&driver, queue_desc, 0);
	WRITE(&driver, queue_size, 16);
	WRITE(&driver, queue_enable, 0);
	g_assert_cmphex(READ(&driver, queue_desc), ==, UINT64_C(0x111111119abcdef0));
	g_assert_cmpuint(READ(&driver, queue_size), ==, 256);
	g_assert_cmpuint(READ(&driver, queue_enable), ==, 1);
	/* No such queue. */
	WRITE(&driver, queue_select, 2);
	WRITE(&driver, queue_size, 16);
	WRITE(&driver, queue_desc, 1);
	g_assert_cmpuint(READ(&driver, queue_size), ==, 0);
	g_assert_cmphex(READ(&driver, queue_desc), ==, 0);
	driver_kick(&driver, 2);
	driver_kick(&driver, 1000);
	/* Device configuration; nothing behind it, nothing to write. */
	driver_write(&driver, 0x2000, 8, 0);
	g_assert_cmphex(driver_read(&driver, 0x2000, 8), ==, UINT64_C(0x0807060504030201));
	g_assert_cmphex(driver_read(&driver, 0x2004, 8), ==, 0x08070605);
	g_assert_cmphex(driver_read(&driver, 0x1000, 1), ==, 0);
	g_assert_cmphex(driver_read(&driver, 0x38, 8), ==, 0);

	WRITE(&driver, status, 0);
	WRITE(&driver, queue_select, 1);
	g_assert_cmpuint(READ(&driver, queue_enable), ==, 0);
	g_assert_cmphex(READ(&driver, queue_desc), ==, 0);
	/* Without virtio 1, and with what is not offered: no. */
	for (unsigned bad = 0; bad < 2; bad++) {
		WRITE(&driver, status, 0);
		WRITE(&driver, status, 0x03);
		WRITE(&driver, driver_feature_select, 1);
		WRITE(&driver, driver_feature, bad == 0 ? 0 : 3);
		WRITE(&driver, status, 0x0b);
		g_assert_cmphex(READ(&driver, status), ==, 0x03);
		WRITE(&driver, status, 0x0f);
		g_assert_cmphex(READ(&driver, status), ==, 0x03);
	}
	virtio_device_free(g_steal_pointer(&device));
	driver_clear(&driver);
}

static void test_run(void)
{
	for (unsigned round = 0; round < 2; round++) {
		g_autoptr(VirtioDevice) device = NULL;
		Driver driver;

		driver_init(&driver);
		device = fake_device(&driver, round == 0 ? FAKE_SLOTS : FAKE_FORKS);
		for (unsigned start = 0; start < 3; start++) {
			driver_start(&driver, WANTED, 2);
			g_assert_cmphex(READ(&driver, status), ==, 0x0f);
			driver_kick(&driver, 1);
			driver_wait_irq(&driver, 2);
			driver_kick(&driver, 0);
			driver_wait_irq(&driver, 1);
			/* An interrupt elsewhere, while it runs. */
			WRITE(&driver, queue_select, 1);
			WRITE(&driver, queue_vector, 0);
			driver_kick(&driver, 1);
			driver_wait_irq(&driver, 0);
			if (start == 1)
				pci_device_reset(driver.pci);
			if (start == 1)
				driver_find(&driver, driver.pci);
		}
		g_assert_false(driver_has_said(&driver, "ended"));
		virtio_device_free(g_steal_pointer(&device));
		driver_clear(&driver);
	}
}

/* Rings where there is no memory, or not for it: the driver hears of it and may try again. */
static void test_bad_rings(void)
{
	static const uint64_t bases[] = {
		DRIVER_RAM_LEN,       DRIVER_RAM_LEN - 0x20000, /* the second queue's */
		UINT64_MAX - 0x2000f, /* wraps */ UINT64_C(0x5000000000), 8, /* not aligned */
	};
	g_autoptr(VirtioDevice) device = NULL;
	Driver driver;

	driver_init(&driver);
	device = fake_device(&driver, FAKE_SLOTS);
	for (unsigned row = 0; row < G_N_ELEMENTS(bases); row++) {
		driver_negotiate(&driver, WANTED);
		WRITE(&driver, config_vector, 0);
		driver_add_queue(&driver, 0, 0);
		driver_add_queue(&driver, 1, bases[row]);
		WRITE(&driver, status, 0x0f);
		g_assert_cmphex(READ(&driver, status), ==, 0x4f);
		driver_wait_irq(&driver, 0);
		driver_start(&driver, WANTED, 2);
		g_assert_cmphex(READ(&driver, status), ==, 0x0f);
		driver_kick(&driver, 1);
		driver_wait_irq(&driver, 2);
	}
	g_assert_true(vhost_backend_is_alive(virtio_device_peek_backend(device)));
	virtio_device_free(g_steal_pointer(&device));
	driver_clear(&driver);
}

static unsigned count_said(Driver *driver, const char *text)
{
	unsigned n = 0;

	g_mutex_lock(&driver->lock);
	for (const char *at = driver->said->str; (at = strstr(at, text)) != NULL; at++)
		n++;
	g_mutex_unlock(&driver->lock);
	return n;
}

/* A driver that is wrong again and again does not fill anybody's disk. */
static void test_many_bad_rings(void)
{
	g_autoptr(VirtioDevice) device = NULL;
	Driver driver;

	driver_init(&driver);
	device = fake_device(&driver, FAKE_SLOTS);
	for (unsigned i = 0; i < 300; i++) {
		driver_negotiate(&driver, WANTED);
		driver_add_queue(&driver, 0, DRIVER_RAM_LEN);
		WRITE(&driver, status, 0x0f);
		g_assert_cmphex(READ(&driver, status), ==, 0x4f);
	}
	/* One such time, or a second if this takes that long. */
	g_assert_cmpuint(count_said(&driver, "the guest has rings in memory"), <, 300);
	g_assert_cmpuint(count_said(&driver, "(more of this is left out)"), >=, 1);
	virtio_device_free(g_steal_pointer(&device));
	driver_clear(&driver);
}

/* Memory comes and goes under a running device, and once with its rings. */
static void test_memory(void)
{
	g_autoptr(VirtioDevice) device = NULL;
	GuestRegion extent;
	Driver driver;

	driver_init(&driver);
	device = fake_device(&driver, FAKE_SLOTS);
	driver_start(&driver, WANTED, 2);
	extent = driver_extent(&driver);
	for (unsigned round = 0; round < 20; round++) {
		g_assert_cmpint(guest_memory_add(driver.memory, &extent), ==, 0);
		driver_kick(&driver, 0);
		driver_wait_irq(&driver, 1);
		guest_memory_remove(driver.memory, extent.gpa, extent.len);
	}
	g_assert_cmpuint(guest_memory_max_regions(driver.memory), ==, FAKE_N_SLOTS - 1);

	g_assert_cmpint(guest_memory_add(driver.memory, &extent), ==, 0);
	driver_negotiate(&driver, WANTED);
	WRITE(&driver, config_vector, 0);
	driver_add_queue(&driver, 0, 0);
	driver_add_queue(&driver, 1, extent.gpa);
	WRITE(&driver, status, 0x0f);
	g_assert_cmphex(READ(&driver, status), ==, 0x0f);
	guest_memory_remove(driver.memory, extent.gpa, extent.len);
	g_assert_cmphex(READ(&driver, status), ==, 0x4f);
	driver_wait_irq(&driver, 0);
	g_assert_true(vhost_backend_is_alive(virtio_device_peek_backend(device)));
	driver_start(&driver, WANTED, 2);
	driver_kick(&driver, 0);
	driver_wait_irq(&driver, 1);
	virtio_device_free(g_steal_pointer(&device));
	munmap(extent.hva, extent.len);
	driver_clear(&driver);
}

/* The daemon ends: the driver hears of it, and starting anew does not help. */
static void test_gone(void)
{
	g_autoptr(VirtioDevice) device = NULL;
	Driver driver;

	driver_init(&driver);
	device = fake_device(&driver, FAKE_SLOTS);
	driver_start(&driver, WANTED, 2);
	kill(vhost_backend_pid(virtio_device_peek_backend(device)), SIGKILL);
	driver_wait_irq(&driver, 0);
	wait_said(&driver, "was ended by signal 9");
	g_assert_cmphex(READ(&driver, status), ==, 0x4f);
	while (driver_read(&driver, 0x2007, 1) != 0xee)
		g_usleep(1000);
	g_assert_cmpuint(READ(&driver, generation), ==, 1);
	driver_kick(&driver, 0);
	driver_start(&driver, WANTED, 2);
	g_assert_cmphex(READ(&driver, status), ==, 0x4f);
	virtio_device_free(g_steal_pointer(&device));
	driver_clear(&driver);
}

/* A driver that writes anything anywhere: the device bears it, and serves the next driver. */
static void test_noise(void)
{
	static const uint32_t offsets[] = {
		0x0000, 0x0000, 0x0000, 0x1000, 0x2000, 0x3000, 0x4000
	};
	static const uint64_t values[] = { 0, 1, 0x0f, 0xffff, UINT64_MAX, DRIVER_RAM_LEN };
	g_autoptr(VirtioDevice) device = NULL;
	Driver driver;

	driver_init(&driver);
	device = fake_device(&driver, FAKE_SLOTS);
	for (unsigned i = 0; i < 20000; i++) {
		uint32_t len = 1u << g_test_rand_int_range(0, 4);
		uint64_t offset = offsets[g_test_rand_int_range(0, G_N_ELEMENTS(offsets))] +
				  (uint64_t)g_test_rand_int_range(0, 0x48);
		uint64_t value = values[g_test_rand_int_range(0, G_N_ELEMENTS(values))];

		if (g_test_rand_bit())
			value = (uint64_t)g_test_rand_int() << (g_test_rand_bit() ? 32 : 0);
		if (g_test_rand_bit())
			driver_write(&driver, offset, len, value);
		else
			(void)driver_read(&driver, offset, len);
	}
	pci_device_reset(driver.pci);
	driver_find(&driver, driver.pci);
	g_assert_true(vhost_backend_is_alive(virtio_device_peek_backend(device)));
	driver_start(&driver, WANTED, 2);
	g_assert_cmphex(READ(&driver, status), ==, 0x0f);
	driver_kick(&driver, 0);
	driver_wait_irq(&driver, 1);
	virtio_device_free(g_steal_pointer(&device));
	driver_clear(&driver);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--fake") == 0)
		return fake_main(argc, argv);
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/virtio-device/capabilities", test_capabilities);
	g_test_add_func("/protocol/virtio-device/registers", test_registers);
	g_test_add_func("/protocol/virtio-device/run", test_run);
	g_test_add_func("/protocol/virtio-device/bad-rings", test_bad_rings);
	g_test_add_func("/protocol/virtio-device/many-bad-rings", test_many_bad_rings);
	g_test_add_func("/protocol/virtio-device/memory", test_memory);
	g_test_add_func("/protocol/virtio-device/gone", test_gone);
	g_test_add_func("/protocol/virtio-device/noise", test_noise);
	return g_test_run();
}
