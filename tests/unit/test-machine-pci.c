/* SPDX-License-Identifier: BSD-3-Clause */
/* PCI functions of the machine: sizing and moving BARs, capabilities, MSI-X. */
#include "machine/pci_device.h"
#include "vm_fake.h"

#include <errno.h>
#include <string.h>

#define MEM32     UINT64_C(0xc0000000)
#define MEM64     UINT64_C(0x4000000000)
#define MIB       (UINT64_C(1) << 20)
#define MSI_BASE  UINT64_C(0xfee00000)
#define N_VECTORS 70u /* two words of pending bits */

typedef struct Bench {
	KvmVm *vm;
	MachineBus *bus;
	PciDevice *dev;
	uint8_t msix_cap, vendor_cap;
	uint64_t gpa[PCI_CFG0_N_BARS]; /* as told */
	unsigned n_moves, n_resets;
	/* The last access to a BAR that came through. */
	unsigned bar;
	uint64_t offset;
	uint32_t len;
	uint64_t value;
} Bench;

static void on_read(void *opaque, unsigned bar, uint64_t offset, void *buf, uint32_t len)
{
	Bench *bench = opaque;

	bench->bar = bar;
	bench->offset = offset;
	bench->len = len;
	memcpy(buf, &bench->value, MIN(len, 8));
}

static void on_write(void *opaque, unsigned bar, uint64_t offset, const void *buf, uint32_t len)
{
	Bench *bench = opaque;

	bench->bar = bar;
	bench->offset = offset;
	bench->len = len;
	bench->value = 0;
	memcpy(&bench->value, buf, MIN(len, 8));
}

static void on_moved(void *opaque, unsigned bar, uint64_t gpa)
{
	Bench *bench = opaque;

	bench->gpa[bar] = gpa;
	bench->n_moves++;
	g_assert_cmphex(pci_device_bar_gpa(bench->dev, bar), ==, gpa);
}

static void on_reset(void *opaque)
{
	((Bench *)opaque)->n_resets++;
}

static const PciDeviceOps ops = { on_read, on_write, on_moved, on_reset };

static void bench_init(Bench *bench)
{
	PciDeviceIds ids = { 0x1af4, 0x105a, 0x1af4, 0x1100, 0x018000, 1 };
	PciWindows windows = { MEM32, 16 * MIB, MEM64, 256 * MIB };
	g_autoptr(GError) error = NULL;

	memset(bench, 0, sizeof(*bench));
	bench->vm = vm_fake_new();
	bench->bus = machine_bus_new();
	bench->dev = pci_device_new(bench->vm, bench->bus, &ids, &ops, bench);
	pci_device_add_bar(bench->dev, 0, 32 << 10, PCI_BAR_MEM_64 | PCI_BAR_PREFETCH);
	pci_device_add_bar(bench->dev, 2, 4 << 10, 0);
	bench->vendor_cap = pci_device_add_cap(bench->dev, 0x09, 15);
	pci_device_set(bench->dev, bench->vendor_cap + 4, 4, 0x11223344, 0xff00);
	g_assert_true(pci_device_add_msix(bench->dev, N_VECTORS, 0, 0x4000, 0x5000, &error));
	g_assert_no_error(error);
	pci_device_set_windows(bench->dev, &windows);
}

static void bench_clear(Bench *bench)
{
	pci_device_free(bench->dev);
	machine_bus_free(bench->bus);
	kvm_vm_free(bench->vm);
}

static uint32_t get(Bench *bench, uint32_t offset, uint32_t len)
{
	uint8_t buf[4] = { 0 };

	pci_device_config_read(bench->dev, offset, buf, len);
	return le32_load(buf);
}

static void put(Bench *bench, uint32_t offset, uint32_t len, uint32_t value)
{
	uint8_t buf[4];

	le32_store(buf, value);
	pci_device_config_write(bench->dev, offset, buf, len);
}

static uint64_t load(Bench *bench, uint64_t gpa, uint32_t len)
{
	uint64_t value = 0;

	machine_bus_access(bench->bus, MACHINE_BUS_MMIO, gpa, &value, len, false);
	return value;
}

static void store(Bench *bench, uint64_t gpa, uint64_t value, uint32_t len)
{
	machine_bus_access(bench->bus, MACHINE_BUS_MMIO, gpa, &value, len, true);
}

static void test_header(void)
{
	Bench bench;
	uint8_t all[PCI_CONFIG_LEN], ones[PCI_CONFIG_LEN], at;

	bench_init(&bench);
	g_assert_cmphex(get(&bench, 0, 4), ==, 0x105a1af4);
	g_assert_cmphex(get(&bench, 8, 4), ==, 0x01800001);
	g_assert_cmphex(get(&bench, PCI_CFG0_SUBSYS_VENDOR_ID, 4), ==, 0x11001af4);
	g_assert_cmphex(get(&bench, PCI_CFG_INT_PIN, 1), ==, 0);
	g_assert_cmphex(get(&bench, PCI_CFG_STATUS, 2) & PCI_STA_CAP_LIST, !=, 0);
	at = (uint8_t)get(&bench, PCI_CFG_CAP_PTR, 1);
	g_assert_cmphex(get(&bench, at, 1), ==, PCI_CAP_AF);
	g_assert_cmphex(get(&bench, at + PCI_AF_CAPS, 1) & PCI_AF_CAPS_FLR, !=, 0);
	at = (uint8_t)get(&bench, at + 1, 1);
	g_assert_cmphex(at, ==, bench.vendor_cap);
	g_assert_cmphex(get(&bench, at, 1), ==, 0x09);
	at = (uint8_t)get(&bench, at + 1, 1);
	g_assert_cmphex(get(&bench, at, 1), ==, PCI_CAP_MSIX);
	g_assert_cmphex(get(&bench, at + 1, 1), ==, 0);
	bench.msix_cap = at;
	g_assert_cmphex(get(&bench, at + PCI_MSIX_CTRL, 2), ==, N_VECTORS - 1);
	g_assert_cmphex(get(&bench, at + PCI_MSIX_TABLE_REG, 4), ==, 0x4000);
	/* Only what may be written is. */
	put(&bench, bench.vendor_cap + 4, 4, 0xffffffff);
	g_assert_cmphex(get(&bench, bench.vendor_cap + 4, 4), ==, 0x1122ff44);
	put(&bench, PCI_CFG_COMMAND, 2, 0xffff);
	g_assert_true(pci_device_is_bus_master(bench.dev));
	/* All bytes at once, as nobody does; and a reset undoes it. */
	pci_device_reset(bench.dev);
	pci_device_config_read(bench.dev, 0, all, sizeof(all));
	memset(ones, 0xff, sizeof(ones));
	pci_device_config_write(bench.dev, 0, ones, sizeof(ones));
	pci_device_reset(bench.dev);
	pci_device_config_read(bench.dev, 0, ones, sizeof(ones));
	g_assert_cmpmem(all, sizeof(all), ones, sizeof(ones));
	/* That was a reset too, as the last that was written. */
	g_assert_cmpuint(bench.n_resets, ==, 3);
	put(&bench, bench.vendor_cap + 4, 4, 0xffffffff);
	put(&bench, get(&bench, PCI_CFG_CAP_PTR, 1) + PCI_AF_CTRL, 1, PCI_AF_CTRL_FLR);
	g_assert_cmpuint(bench.n_resets, ==, 4);
	g_assert_cmphex(get(&bench, bench.vendor_cap + 4, 4), ==, 0x11223344);
	g_assert_false(pci_device_is_bus_master(bench.dev));
	bench_clear(&bench);
}

static void test_bars(void)
{
	Bench bench;

	bench_init(&bench);
	/* Sizing, which moves nothing as long as decoding is off. */
	for (unsigned i = 0; i < 6; i++)
		put(&bench, PCI_CFG_BAR(i), 4, 0xffffffff);
	g_assert_cmphex(get(&bench, PCI_CFG_BAR(0), 4), ==, 0xffff800c);
	g_assert_cmphex(get(&bench, PCI_CFG_BAR(1), 4), ==, 0xffffffff);
	g_assert_cmphex(get(&bench, PCI_CFG_BAR(2), 4), ==, 0xfffff000);
	for (unsigned i = 3; i < 6; i++)
		g_assert_cmphex(get(&bench, PCI_CFG_BAR(i), 4), ==, 0);
	g_assert_cmpuint(bench.n_moves, ==, 0);

	/* Byte by byte and across registers. */
	put(&bench, PCI_CFG_BAR(0), 4, 0x00108000);
	put(&bench, PCI_CFG_BAR(1), 4, 0x00000040);
	for (unsigned i = 0; i < 4; i++)
		put(&bench, PCI_CFG_BAR(2) + i, 1, (uint32_t)(MEM32 + 0x3000) >> 8 * i);
	put(&bench, PCI_CFG_COMMAND, 1, PCI_CMD_MEM);
	g_assert_cmphex(bench.gpa[0], ==, MEM64 + 0x108000);
	g_assert_cmphex(bench.gpa[2], ==, MEM32 + 0x3000);
	g_assert_cmphex(get(&bench, PCI_CFG_BAR(0) + 2, 4), ==, 0x00400010);
	bench.value = 0x1234;
	g_assert_cmphex(load(&bench, MEM64 + 0x108010, 4), ==, 0x1234);
	g_assert_cmpuint(bench.offset, ==, 0x10);
	store(&bench, MEM32 + 0x3ffc, 0x99, 4);
	g_assert_cmpuint(bench.bar, ==, 2);
	g_assert_cmpuint(bench.offset, ==, 0xffc);

	/* Moved while decoding; out of the windows; onto the other. */
	put(&bench, PCI_CFG_BAR(2), 4, (uint32_t)MEM32 + 0x8000);
	g_assert_cmphex(bench.gpa[2], ==, MEM32 + 0x8000);
	g_assert_cmphex(load(&bench, MEM32 + 0x3000, 4), ==, 0xffffffff);
	put(&bench, PCI_CFG_BAR(2), 4, 0x1000);
	g_assert_cmphex(bench.gpa[2], ==, PCI_BAR_NOWHERE);
	put(&bench, PCI_CFG_BAR(2), 4, (uint32_t)(MEM32 + 16 * MIB));
	g_assert_cmphex(bench.gpa[2], ==, PCI_BAR_NOWHERE);
	put(&bench, PCI_CFG_BAR(1), 4, 0);
	put(&bench, PCI_CFG_BAR(0), 4, (uint32_t)MEM32);
	g_assert_cmphex(bench.gpa[0], ==, MEM32);
	put(&bench, PCI_CFG_BAR(2), 4, (uint32_t)MEM32 + 0x7000);
	g_assert_cmphex(bench.gpa[2], ==, PCI_BAR_NOWHERE);
	put(&bench, PCI_CFG_BAR(2), 4, (uint32_t)MEM32 + 0x8000);
	g_assert_cmphex(bench.gpa[2], ==, MEM32 + 0x8000);
	/* Off and on again. */
	put(&bench, PCI_CFG_COMMAND, 2, PCI_CMD_MASTER);
	g_assert_cmphex(bench.gpa[0] & bench.gpa[2], ==, PCI_BAR_NOWHERE);
	g_assert_cmphex(load(&bench, MEM32 + 0x8000, 1), ==, 0xff);
	put(&bench, PCI_CFG_COMMAND, 2, PCI_CMD_MEM);
	g_assert_cmphex(bench.gpa[0], ==, MEM32);
	g_assert_cmphex(bench.gpa[2], ==, MEM32 + 0x8000);
	pci_device_reset(bench.dev);
	g_assert_cmphex(bench.gpa[0] & bench.gpa[2], ==, PCI_BAR_NOWHERE);
	bench_clear(&bench);
}

/* ---- MSI-X ---- */

static void place(Bench *bench)
{
	bench->msix_cap = (uint8_t)get(bench, bench->vendor_cap + 1, 1);
	put(bench, PCI_CFG_BAR(0), 4, (uint32_t)MEM32);
	put(bench, PCI_CFG_COMMAND, 2, PCI_CMD_MEM | PCI_CMD_MASTER);
}

static uint64_t entry_gpa(unsigned vector)
{
	return MEM32 + 0x4000 + vector * PCI_MSIX_ENTRY_LEN;
}

static void set_entry(Bench *bench, unsigned vector, uint32_t data, bool masked)
{
	store(bench, entry_gpa(vector), MSI_BASE, 8);
	store(bench, entry_gpa(vector) + 8, data, 4);
	store(bench, entry_gpa(vector) + 12, masked, 4);
}

static uint64_t pending(Bench *bench, unsigned word)
{
	return load(bench, MEM32 + 0x5000 + 8 * word, 8);
}

static void enable(Bench *bench, uint16_t flags)
{
	put(bench, bench->msix_cap + PCI_MSIX_CTRL, 2, flags);
}

static void test_msix(void)
{
	Bench bench;
	uint64_t one = 1;

	bench_init(&bench);
	place(&bench);
	g_assert_cmpuint(load(&bench, entry_gpa(3) + 12, 4), ==, PCI_MSIX_ENTRY_MASKED);
	g_assert_cmpint(pci_device_vector_fd(bench.dev, N_VECTORS), ==, -EBADF);

	/* Off: lost. */
	set_entry(&bench, 3, 0x43, false);
	pci_device_raise(bench.dev, 3);
	g_assert_cmpint(write(pci_device_vector_fd(bench.dev, 3), &one, 8), ==, 8);
	enable(&bench, PCI_MSIX_CTRL_ENABLE);
	g_assert_cmpuint(vm_fake_take_irqs(bench.vm, MSI_BASE, 0x43), ==, 0);
	g_assert_cmphex(get(&bench, bench.msix_cap + PCI_MSIX_CTRL, 2), ==,
			PCI_MSIX_CTRL_ENABLE | (N_VECTORS - 1));
	/* On, from here and by the eventfd; no vector at all. */
	pci_device_raise(bench.dev, 3);
	g_assert_cmpint(write(pci_device_vector_fd(bench.dev, 3), &one, 8), ==, 8);
	pci_device_raise(bench.dev, 4);
	pci_device_raise(bench.dev, N_VECTORS);
	g_assert_cmpuint(vm_fake_take_irqs(bench.vm, MSI_BASE, 0x43), ==, 2);
	g_assert_cmphex(pending(&bench, 0), ==, 1u << 4);
	/* Another message, unmasked. */
	store(&bench, entry_gpa(3) + 8, 0x44, 4);
	pci_device_raise(bench.dev, 3);
	g_assert_cmpuint(vm_fake_take_irqs(bench.vm, MSI_BASE, 0x44), ==, 1);

	/* Masked by the entry, then by all: comes when unmasked. */
	store(&bench, entry_gpa(3) + 12, PCI_MSIX_ENTRY_MASKED, 4);
	pci_device_raise(bench.dev, 3);
	pci_device_raise(bench.dev, 69);
	g_assert_cmphex(pending(&bench, 0), ==, 1u << 4 | 1u << 3);
	g_assert_cmphex(pending(&bench, 1), ==, 1u << 5);
	store(&bench, MEM32 + 0x5000, 0, 8); /* read only */
	g_assert_cmphex(pending(&bench, 0), ==, 1u << 4 | 1u << 3);
	enable(&bench, PCI_MSIX_CTRL_ENABLE | PCI_MSIX_CTRL_MASK_ALL);
	store(&bench, entry_gpa(3) + 12, 0, 4);
	g_assert_cmpuint(vm_fake_take_irqs(bench.vm, MSI_BASE, 0x44), ==, 0);
	enable(&bench, PCI_MSIX_CTRL_ENABLE);
	g_assert_cmpuint(vm_fake_take_irqs(bench.vm, MSI_BASE, 0x44), ==, 1);
	g_assert_cmphex(pending(&bench, 0), ==, 1u << 4);

	/* Beside table and pending bits a BAR is the device's, also within one access. */
	bench.value = 0x55;
	g_assert_cmphex(load(&bench, entry_gpa(N_VECTORS), 4), ==, 0x55);
	store(&bench, entry_gpa(N_VECTORS) - 4, UINT64_C(0x7700000001), 8);
	g_assert_cmpuint(bench.offset, ==, 0x4000 + N_VECTORS * PCI_MSIX_ENTRY_LEN);
	g_assert_cmpuint(bench.len, ==, 4);
	g_assert_cmphex(bench.value, ==, 0x77);
	g_assert_cmphex(load(&bench, MEM32 + 0x5010, 4), ==, 0x77);

	pci_device_reset(bench.dev);
	place(&bench);
	g_assert_cmphex(pending(&bench, 0) | pending(&bench, 1), ==, 0);
	g_assert_cmphex(load(&bench, entry_gpa(3), 8), ==, 0);
	bench_clear(&bench);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/machine/pci/header", test_header);
	g_test_add_func("/unit/machine/pci/bars", test_bars);
	g_test_add_func("/unit/machine/pci/msix", test_msix);
	return g_test_run();
}
