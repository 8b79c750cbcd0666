/* SPDX-License-Identifier: BSD-3-Clause */
/* A remote function in a machine: what is kept here, what goes over, and functions that lie. */
#include "vm_fake.h"

#include "cxl/pci.h"
#include "link/vfu_server.h"
#include "link/vfu_wire.h"
#include "machine/vfio_endpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define TIMEOUT_MS  5000
#define WAIT_US     (20 * (gint64)G_USEC_PER_SEC) /* only a test that fails waits this long */
#define MEM32       UINT64_C(0xc0000000)
#define MSI_ADDRESS UINT64_C(0xfee00000)
#define BAR0_LEN    0x20000u
#define AREA        0x10000u /* mappable */
#define AREA_LEN    0x2000u
#define PCIE        0x40
#define MSIX        0x80
#define N_VECTORS   4u

/* ---- a function on a server in a thread ---- */

typedef struct Remote {
	uint8_t config[PCI_CONFIG_LEN];
	uint8_t bar0[BAR0_LEN];
	uint64_t lens[PCI_CFG0_N_BARS];
	unsigned n_irqs;
	bool cannot_read;
	int area_fd;
	int n_resets, n_config_writes; /* atomic */
	VfuServer *server;
	GMainContext *context;
	GMainLoop *loop;
	GThread *thread;
} Remote;

static void region_info(void *opaque, unsigned index, VfuRegion *ret)
{
	const Remote *remote = opaque;

	*ret = (VfuRegion){ .writable = true, .fd = -1 };
	if (index == VFU_REGION_CONFIG)
		ret->len = PCI_CONFIG_LEN;
	else if (index < PCI_CFG0_N_BARS)
		ret->len = remote->lens[index];
	if (index != 0 || ret->len != BAR0_LEN)
		return;
	ret->fd = remote->area_fd;
	ret->n_sparse = 1;
	ret->sparse[0].offset = AREA;
	ret->sparse[0].len = AREA_LEN;
}

static int region_read(void *opaque, unsigned index, uint64_t offset, void *buf, uint32_t count)
{
	Remote *remote = opaque;

	if (remote->cannot_read)
		return -EIO;
	memset(buf, 0, count);
	if (index == VFU_REGION_CONFIG)
		memcpy(buf, remote->config + offset, count);
	else if (index == 0)
		memcpy(buf, remote->bar0 + offset, count);
	return 0;
}

static int region_write(void *opaque, unsigned index, uint64_t offset, const void *buf,
			uint32_t count)
{
	Remote *remote = opaque;

	if (index == VFU_REGION_CONFIG) {
		memcpy(remote->config + offset, buf, count);
		g_atomic_int_inc(&remote->n_config_writes);
	} else if (index == 0) {
		memcpy(remote->bar0 + offset, buf, count);
	}
	return 0;
}

static uint32_t n_irqs(void *opaque, unsigned index)
{
	return index == VFU_IRQ_MSIX ? ((Remote *)opaque)->n_irqs : 0;
}

static void on_reset(void *opaque)
{
	g_atomic_int_inc(&((Remote *)opaque)->n_resets);
}

static bool on_connected(void *opaque, const VfuPeer *peer)
{
	return true;
}

static void on_disconnected(void *opaque)
{
}

static const VfuServerOps server_ops = {
	.region_info = region_info,
	.region_read = region_read,
	.region_write = region_write,
	.n_irqs = n_irqs,
	.reset = on_reset,
	.connected = on_connected,
	.disconnected = on_disconnected,
};

static gpointer serve(gpointer opaque)
{
	g_main_loop_run(((Remote *)opaque)->loop);
	return NULL;
}

/* A good one: BAR 0 of 128 KiB, BAR 2 with four MSI-X vectors. */
static Remote *remote_new(void)
{
	Remote *remote = g_new0(Remote, 1);
	uint8_t *config = remote->config;

	le16_store(config + PCI_CFG_VENDOR_ID, PCI_VENDOR_CXL);
	config[PCI_CFG_INT_PIN] = 1;
	le32_store(config + PCI_CFG0_ROM, 0xfffe0001);
	config[PCI_CFG_CAP_PTR] = PCIE;
	config[PCIE] = PCI_CAP_PCIE;
	config[PCIE + 1] = MSIX;
	config[MSIX] = PCI_CAP_MSIX;
	le16_store(config + MSIX + PCI_MSIX_CTRL, N_VECTORS - 1);
	le32_store(config + MSIX + PCI_MSIX_TABLE_REG, 2);
	le32_store(config + MSIX + PCI_MSIX_PBA_REG, 0x800 | 2);
	le32_store(config + PCI_CFG_BAR(0), PCI_BAR_MEM_64);
	le32_store(config + PCI_CFG_BAR(2), PCI_BAR_MEM_64);
	remote->lens[0] = BAR0_LEN;
	remote->lens[2] = 0x1000;
	remote->n_irqs = N_VECTORS;
	remote->area_fd = memfd_create("area", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	g_assert_cmpint(ftruncate(remote->area_fd, BAR0_LEN), ==, 0);
	g_assert_cmpint(fcntl(remote->area_fd, F_ADD_SEALS, F_SEAL_SHRINK), ==, 0);
	remote->context = g_main_context_new();
	remote->server = vfu_server_new(remote->context, &server_ops, remote);
	remote->loop = g_main_loop_new(remote->context, FALSE);
	return remote;
}

/* Begins to serve; our end. */
static int remote_start(Remote *remote)
{
	int fds[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
	g_assert_true(vfu_server_attach(remote->server, fds[0]));
	remote->thread = g_thread_new("remote", serve, remote);
	return fds[1];
}

static gboolean quit(gpointer opaque)
{
	g_main_loop_quit(((Remote *)opaque)->loop);
	return G_SOURCE_REMOVE;
}

static void remote_call(Remote *remote, GSourceFunc func)
{
	GSource *source = g_idle_source_new();

	g_source_set_callback(source, func, remote, NULL);
	g_source_attach(source, remote->context);
	g_source_unref(source);
}

static void remote_free(Remote *remote)
{
	if (remote->thread) {
		remote_call(remote, quit);
		g_thread_join(remote->thread);
	}
	vfu_server_free(remote->server);
	g_main_loop_unref(remote->loop);
	g_main_context_unref(remote->context);
	close(remote->area_fd);
	g_free(remote);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Remote, remote_free)

static gboolean raise_first(gpointer opaque)
{
	vfu_server_irq(((Remote *)opaque)->server, VFU_IRQ_MSIX, 0);
	return G_SOURCE_REMOVE;
}

/* ---- a machine around it ---- */

typedef struct Bench {
	KvmVm *vm;
	MachineBus *bus;
	VfioEndpoint *ep;
	Remote *remote;
} Bench;

static VfioEndpoint *connect_to(Bench *bench, GError **error)
{
	PciWindows windows = { MEM32, 0x1000000, 0, 0 };

	return vfio_endpoint_new(bench->vm, bench->bus, &windows, remote_start(bench->remote),
				 TIMEOUT_MS, error);
}

static void bench_init(Bench *bench)
{
	bench->vm = vm_fake_new();
	bench->bus = machine_bus_new();
	bench->remote = remote_new();
	bench->ep = NULL;
}

static void bench_start(Bench *bench)
{
	g_autoptr(GError) error = NULL;

	bench_init(bench);
	bench->ep = connect_to(bench, &error);
	g_assert_no_error(error);
}

static void bench_clear(Bench *bench)
{
	vfio_endpoint_free(bench->ep);
	machine_bus_free(bench->bus);
	kvm_vm_free(bench->vm);
	remote_free(bench->remote);
}

static uint32_t get(Bench *bench, uint32_t offset, uint32_t len)
{
	uint8_t buf[4] = { 0 };
	int rc = vfio_endpoint_function.config_read(bench->ep, offset, buf, len);

	return rc ? UINT32_MAX : le32_load(buf);
}

static void put(Bench *bench, uint32_t offset, uint32_t len, uint32_t value)
{
	uint8_t buf[4];

	le32_store(buf, value);
	vfio_endpoint_function.config_write(bench->ep, offset, buf, len);
}

static uint64_t load(Bench *bench, uint64_t gpa)
{
	uint64_t value;

	vm_fake_access(bench->vm, bench->bus, gpa, &value, sizeof(value), false);
	return value;
}

static void store(Bench *bench, uint64_t gpa, uint64_t value)
{
	vm_fake_access(bench->vm, bench->bus, gpa, &value, sizeof(value), true);
}

static bool is_memory(Bench *bench, uint64_t gpa)
{
	VmFakeSlot slot;

	return vm_fake_find(bench->vm, gpa, &slot);
}

/* BAR 0 at MEM32, BAR 2 1 MiB above, vector I with message I. */
static void set_up(Bench *bench)
{
	put(bench, PCI_CFG_BAR(0), 4, (uint32_t)MEM32);
	put(bench, PCI_CFG_BAR(2), 4, (uint32_t)MEM32 + 0x100000);
	put(bench, PCI_CFG_COMMAND, 2, PCI_CMD_MEM | PCI_CMD_MASTER);
	for (unsigned i = 0; i < N_VECTORS; i++) {
		store(bench, MEM32 + 0x100000 + 16 * i, MSI_ADDRESS);
		store(bench, MEM32 + 0x100000 + 16 * i + 8, 0x100 + i);
	}
	put(bench, MSIX + PCI_MSIX_CTRL, 2, PCI_MSIX_CTRL_ENABLE);
}

/* ---- cases ---- */

static void test_shadow(void)
{
	Bench bench;

	bench_start(&bench);
	g_assert_cmphex(get(&bench, PCI_CFG_VENDOR_ID, 2), ==, PCI_VENDOR_CXL);
	g_assert_cmphex(get(&bench, PCI_CFG_INT_PIN, 1), ==, 0);
	g_assert_cmphex(get(&bench, PCI_CFG0_ROM, 4), ==, 0);
	/* Sizing is nothing the device hears of. */
	put(&bench, PCI_CFG_BAR(0), 4, UINT32_MAX);
	put(&bench, PCI_CFG_BAR(1), 4, UINT32_MAX);
	g_assert_cmphex(get(&bench, PCI_CFG_BAR(0), 4), ==, ~(BAR0_LEN - 1) | PCI_BAR_MEM_64);
	g_assert_cmphex(get(&bench, PCI_CFG_BAR(1), 4), ==, UINT32_MAX);
	put(&bench, PCI_CFG_BAR(1), 4, 0);
	g_assert_cmpint(g_atomic_int_get(&bench.remote->n_config_writes), ==, 0);
	set_up(&bench);
	g_assert_cmphex(le16_load(bench.remote->config + PCI_CFG_COMMAND), ==,
			PCI_CMD_MEM | PCI_CMD_MASTER);
	g_assert_cmphex(get(&bench, MSIX + PCI_MSIX_CTRL, 2), ==,
			PCI_MSIX_CTRL_ENABLE | (N_VECTORS - 1));
	/* Registers go over, what is mapped does not, the table stays here. */
	store(&bench, MEM32 + 8, 0x1234);
	g_assert_cmphex(load(&bench, MEM32 + 8), ==, 0x1234);
	g_assert_cmphex(le64_load(bench.remote->bar0 + 8), ==, 0x1234);
	g_assert_false(is_memory(&bench, MEM32 + AREA - 1));
	g_assert_true(is_memory(&bench, MEM32 + AREA));
	g_assert_false(is_memory(&bench, MEM32 + AREA + AREA_LEN));
	store(&bench, MEM32 + AREA, 0x5678);
	g_assert_cmphex(le64_load(bench.remote->bar0 + AREA), ==, 0);
	g_assert_cmphex(load(&bench, MEM32 + AREA), ==, 0x5678);
	g_assert_cmphex(load(&bench, MEM32 + 0x100000), ==, MSI_ADDRESS);
	bench_clear(&bench);
}

static void wait_irqs(Bench *bench, uint32_t data, unsigned n)
{
	gint64 end = g_get_monotonic_time() + WAIT_US;

	for (unsigned found = 0; found < n;) {
		g_assert_cmpint(g_get_monotonic_time(), <, end);
		found += vm_fake_take_irqs(bench->vm, MSI_ADDRESS, data);
	}
}

static void test_interrupts(void)
{
	Bench bench;

	bench_start(&bench);
	remote_call(bench.remote, raise_first); /* bound to nothing yet */
	set_up(&bench);
	g_assert_cmphex(get(&bench, 0, 4), !=, 0); /* the server has been there */
	g_assert_cmpuint(vm_fake_take_irqs(bench.vm, MSI_ADDRESS, 0x100), ==, 0);
	remote_call(bench.remote, raise_first);
	wait_irqs(&bench, 0x100, 1);
	put(&bench, MSIX + PCI_MSIX_CTRL, 2, 0);
	remote_call(bench.remote, raise_first);
	g_assert_cmphex(get(&bench, 0, 4), !=, 0);
	put(&bench, MSIX + PCI_MSIX_CTRL, 2, PCI_MSIX_CTRL_ENABLE);
	g_assert_cmpuint(vm_fake_take_irqs(bench.vm, MSI_ADDRESS, 0x100), ==, 0);
	remote_call(bench.remote, raise_first);
	wait_irqs(&bench, 0x100, 1);
	bench_clear(&bench);
}

static void test_resets(void)
{
	Bench bench;

	bench_start(&bench);
	for (unsigned i = 0; i < 2; i++) {
		set_up(&bench);
		g_assert_true(is_memory(&bench, MEM32 + AREA));
		if (i == 0)
			put(&bench, PCIE + PCI_PCIE_DEVCTL, 2, PCI_PCIE_DEVCTL_FLR);
		else
			vfio_endpoint_reset(bench.ep);
		/* The first was when it was connected. */
		g_assert_cmpint(g_atomic_int_get(&bench.remote->n_resets), ==, 1 + i);
		g_assert_cmphex(get(&bench, PCI_CFG_BAR(0), 4), ==, PCI_BAR_MEM_64);
		g_assert_cmphex(get(&bench, MSIX + PCI_MSIX_CTRL, 2), ==, N_VECTORS - 1);
		g_assert_cmphex(load(&bench, MEM32), ==, UINT64_MAX);
		g_assert_cmpuint(vm_fake_n_slots(bench.vm), ==, 0);
		set_up(&bench);
		g_assert_cmpuint(load(&bench, MEM32 + 0x100000 + 12) & 1, ==, 0);
		put(&bench, PCI_CFG_COMMAND, 2, 0);
	}
	bench_clear(&bench);
}

/* ---- away ---- */

static bool open_link(void *opaque, GError **error)
{
	bool *works = opaque;

	if (!*works)
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "no link");
	return *works;
}

static void test_away(void)
{
	g_autoptr(Remote) again = NULL, failing = NULL;
	g_autoptr(GError) error = NULL;
	bool works = false;
	Bench bench;

	bench_start(&bench);
	set_up(&bench);
	store(&bench, MEM32 + AREA, 0x5678);
	g_assert_true(vfio_endpoint_is_connected(bench.ep));
	vfio_endpoint_leave(bench.ep);
	g_assert_false(vfio_endpoint_is_connected(bench.ep));
	g_assert_cmphex(get(&bench, 0, 4), ==, UINT32_MAX);
	g_assert_cmphex(load(&bench, MEM32), ==, UINT64_MAX);
	g_assert_cmphex(load(&bench, MEM32 + AREA), ==, UINT64_MAX);
	g_assert_cmpuint(vm_fake_n_slots(bench.vm), ==, 0);
	/* What happens to it meanwhile it will have when it is back. */
	vfio_endpoint_reset(bench.ep);
	set_up(&bench);
	g_assert_cmpuint(vm_fake_n_slots(bench.vm), ==, 0);

	failing = remote_new();
	g_assert_false(
		vfio_endpoint_return(bench.ep, remote_start(failing), open_link, &works, &error));
	g_assert_error(error, G_IO_ERROR, G_IO_ERROR_FAILED);
	g_clear_error(&error);
	g_assert_cmphex(load(&bench, MEM32), ==, UINT64_MAX);
	g_assert_cmpuint(vm_fake_n_slots(bench.vm), ==, 0);

	works = true;
	again = remote_new();
	g_assert_true(
		vfio_endpoint_return(bench.ep, remote_start(again), open_link, &works, &error));
	g_assert_no_error(error);
	g_assert_cmpint(g_atomic_int_get(&again->n_resets), ==, 1);
	g_assert_cmphex(le16_load(again->config + PCI_CFG_COMMAND), ==,
			PCI_CMD_MEM | PCI_CMD_MASTER);
	g_assert_cmphex(le16_load(again->config + MSIX + PCI_MSIX_CTRL), ==, PCI_MSIX_CTRL_ENABLE);
	g_assert_true(is_memory(&bench, MEM32 + AREA));
	g_assert_cmphex(load(&bench, MEM32 + AREA), ==, 0); /* the new one's */
	/* All are called out once, for what may have been missed, and work again. */
	for (unsigned i = 0; i < N_VECTORS; i++)
		wait_irqs(&bench, 0x100 + i, 1);
	remote_call(again, raise_first);
	wait_irqs(&bench, 0x100, 1);
	bench_clear(&bench);
}

/* Another device at the other end, whatever else is right. */
static void test_other_device(void)
{
	g_autoptr(Remote) other = NULL;
	g_autoptr(GError) error = NULL;
	bool works = true;
	Bench bench;

	bench_start(&bench);
	set_up(&bench);
	vfio_endpoint_leave(bench.ep);
	other = remote_new();
	other->lens[0] = 2 * BAR0_LEN;
	g_assert_false(
		vfio_endpoint_return(bench.ep, remote_start(other), open_link, &works, &error));
	g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
	g_assert_cmphex(get(&bench, 0, 4), ==, UINT32_MAX);
	bench_clear(&bench);
}

/* ---- lies ---- */

typedef struct Lie {
	const char *name;
	uint16_t offset; /* in configuration space */
	uint8_t width;
	uint32_t value;
	unsigned bar; /* whose length is another */
	uint64_t len; /* 0: as it is */
	const char *said;
} Lie;

static const Lie lies[] = {
	{ "absent", PCI_CFG_VENDOR_ID, 2, 0xffff, 0, 0, "*nobody is there*" },
	{ "bridge", PCI_CFG_HEADER_TYPE, 1, PCI_HDR_TYPE_1, 0, 0, "*header type 1*" },
	{ "io-bar", PCI_CFG_BAR(0), 4, PCI_BAR_IO, 0, 0, "*BAR 0*I/O*" },
	{ "odd-bar", 0, 0, 0, 0, 0x1800, "*BAR 0 has 6144 bytes*" },
	{ "tiny-bar", 0, 0, 0, 0, 8, "*BAR 0 has 8 bytes*" },
	{ "no-msix-bar", PCI_CFG_BAR(2), 4, 0, 2, UINT64_C(1) << 40, "*BAR 2 has *" },
	{ "overlapping-bars", 0, 0, 0, 1, 0x1000, "*BAR 0 is of 64 bits*" },
	{ "last-bar-64", PCI_CFG_BAR(5), 4, PCI_BAR_MEM_64, 5, 0x1000, "*BAR 5 is of 64 bits*" },
	{ "odd-type", PCI_CFG_BAR(5), 4, PCI_BAR_TYPE, 5, 0x1000, "*BAR 5 is neither of 32*" },
	{ "no-msix", MSIX, 1, 0x42, 0, 0, "*no MSI-X*" },
	{ "cap-loop", PCIE + 1, 1, PCIE, 0, 0, "*no MSI-X*" },
	{ "cap-at-end", PCIE + 1, 1, 0xfc, 0, 0, "*no MSI-X*" },
	{ "many-vectors", MSIX + PCI_MSIX_CTRL, 2, 0x7ff, 0, 0, "*2048 MSI-X vectors*offers 4*" },
	{ "table-outside", MSIX + PCI_MSIX_TABLE_REG, 4, 0xfc8 | 2, 0, 0, "*outside its BAR*" },
	{ "table-far", MSIX + PCI_MSIX_TABLE_REG, 4, 0xfffffff8 | 2, 0, 0, "*outside its BAR*" },
	{ "table-nowhere", MSIX + PCI_MSIX_TABLE_REG, 4, 7, 0, 0, "*outside its BAR*" },
	{ "table-in-no-bar", MSIX + PCI_MSIX_TABLE_REG, 4, 4, 0, 0, "*outside its BAR*" },
	{ "pending-outside", MSIX + PCI_MSIX_PBA_REG, 4, 0x1000 | 2, 0, 0, "*outside its BAR*" },
};

static void test_lie(const void *data)
{
	const Lie *lie = data;
	g_autoptr(GError) error = NULL;
	uint8_t value[4];
	Bench bench;

	bench_init(&bench);
	le32_store(value, lie->value);
	memcpy(bench.remote->config + lie->offset, value, lie->width);
	if (lie->len)
		bench.remote->lens[lie->bar] = lie->len;
	g_assert_null(connect_to(&bench, &error));
	g_assert_nonnull(error);
	g_test_message("%s", error->message);
	g_assert_true(g_pattern_match_simple(lie->said, error->message));
	bench_clear(&bench);
}

static void test_unreadable(void)
{
	g_autoptr(GError) error = NULL;
	Bench bench;

	bench_init(&bench);
	bench.remote->cannot_read = true;
	g_assert_null(connect_to(&bench, &error));
	g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
	bench_clear(&bench);
}

#define P "/protocol/machine-endpoint/"

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func(P "shadow", test_shadow);
	g_test_add_func(P "interrupts", test_interrupts);
	g_test_add_func(P "resets", test_resets);
	g_test_add_func(P "away", test_away);
	g_test_add_func(P "other-device", test_other_device);
	g_test_add_func(P "unreadable", test_unreadable);
	for (size_t i = 0; i < G_N_ELEMENTS(lies); i++) {
		g_autofree char *path = g_strconcat(P "lie/", lies[i].name, NULL);

		g_test_add_data_func(path, &lies[i], test_lie);
	}
	return g_test_run();
}
