/* SPDX-License-Identifier: BSD-3-Clause */
/* The VM on the machine's own KVM, without running a guest; and what is said where there is none.
 */
#include "machine/kvm_probe.h"
#include "machine/vm.h"

#include <errno.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE UINT64_C(4096)
#define LEN  (16 * PAGE)

/* NULL: the test is skipped. */
static KvmVm *vm_or_skip(void)
{
	g_autoptr(GError) error = NULL;
	KvmVm *vm = kvm_vm_new(NULL, &error);

	if (!vm)
		g_test_skip(error->message);
	return vm;
}

static uint8_t *pages_new(void)
{
	void *pages = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	g_assert_true(pages != MAP_FAILED);
	return pages;
}

static void test_absent(void)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *why = NULL, *why_not_kvm = NULL;

	g_assert_null(kvm_vm_new("/nonexistent/kvm", &error));
	g_assert_nonnull(strstr(error->message, "/nonexistent/kvm"));
	g_assert_cmpint(kvm_probe("/nonexistent/kvm", &why), ==, KVM_PROBE_ABSENT);
	g_assert_nonnull(why);
	g_assert_cmpint(kvm_probe("/dev/null", &why_not_kvm), ==, KVM_PROBE_TOO_OLD);
	g_assert_nonnull(why_not_kvm);
}

/* It has one of its answers, and leaves nothing behind. */
static void test_probe(void)
{
	g_autoptr(KvmVm) vm = vm_or_skip();
	g_autofree char *why = NULL;
	KvmProbeResult result;

	if (!vm)
		return;
	result = kvm_probe(NULL, &why);
	g_assert_true(result == KVM_PROBE_OK || result == KVM_PROBE_CANNOT_RUN);
	g_assert_true((result == KVM_PROBE_OK) == !why);
	if (why)
		g_test_message("%s", why);
}

static void test_slots(void)
{
	g_autoptr(KvmVm) vm = vm_or_skip();
	uint8_t *pages = vm ? pages_new() : NULL;
	uint32_t a = 0, b = 0, c = 77;

	if (!vm)
		return;
	g_assert_cmpuint(kvm_vm_max_maps(vm), >=, 32);
	g_assert_cmpint(kvm_vm_map(vm, 0x100000, PAGE, pages, false, &a), ==, 0);
	g_assert_cmpint(kvm_vm_map(vm, 0x200000, PAGE, pages + PAGE, true, &b), ==, 0);
	g_assert_cmpuint(a, !=, b);
	g_assert_cmpuint(kvm_vm_n_maps(vm), ==, 2);
	/* Overlaps, and what is no page. */
	g_assert_cmpint(kvm_vm_map(vm, 0x100000, PAGE, pages, false, &c), ==, -EEXIST);
	g_assert_cmpint(kvm_vm_map(vm, 0x300001, PAGE, pages, false, &c), ==, -EINVAL);
	g_assert_cmpint(kvm_vm_map(vm, 0x300000, PAGE + 1, pages, false, &c), ==, -EINVAL);
	g_assert_cmpint(kvm_vm_map(vm, 0x300000, PAGE, pages + 1, false, &c), ==, -EINVAL);
	g_assert_cmpint(kvm_vm_map(vm, 0x300000, 0, pages, false, &c), ==, -EINVAL);
	g_assert_cmpint(kvm_vm_map(vm, UINT64_MAX - PAGE + 1, 2 * PAGE, pages, false, &c), ==,
			-EINVAL);
	g_assert_cmpuint(c, ==, 77);
	g_assert_cmpuint(kvm_vm_n_maps(vm), ==, 2);
	/* Numbers are used again. */
	g_assert_cmpint(kvm_vm_unmap(vm, a), ==, 0);
	g_assert_cmpint(kvm_vm_map(vm, 0x400000, PAGE, pages, false, &c), ==, 0);
	g_assert_cmpuint(c, ==, a);
	g_assert_cmpint(kvm_vm_unmap(vm, b), ==, 0);
	g_assert_cmpint(kvm_vm_unmap(vm, c), ==, 0);
	g_assert_cmpuint(kvm_vm_n_maps(vm), ==, 0);
	munmap(pages, LEN);
}

/* If one were lost each time, their numbers would grow. */
static void test_slots_recycled(void)
{
	g_autoptr(KvmVm) vm = vm_or_skip();
	uint8_t *pages = vm ? pages_new() : NULL;

	if (!vm)
		return;
	for (unsigned i = 0; i < 200; i++) {
		uint32_t slots[8];

		for (unsigned j = 0; j < G_N_ELEMENTS(slots); j++)
			g_assert_cmpint(kvm_vm_map(vm, 0x100000 + j * PAGE, PAGE, pages + j * PAGE,
						   false, &slots[j]),
					==, 0);
		for (unsigned j = 0; j < G_N_ELEMENTS(slots); j++) {
			g_assert_cmpuint(slots[j], <, G_N_ELEMENTS(slots));
			g_assert_cmpint(kvm_vm_unmap(vm, slots[j]), ==, 0);
		}
	}
	munmap(pages, LEN);
}

/* What is raised while masked waits; what is delivered does not wait any more. */
static void test_msi(void)
{
	g_autoptr(KvmVm) vm = vm_or_skip();
	g_autoptr(GError) error = NULL;
	KvmMsi *msi;

	if (!vm)
		return;
	msi = kvm_msi_new(vm, &error);
	g_assert_no_error(error);
	g_assert_false(kvm_msi_is_pending(msi));
	g_assert_cmpint(eventfd_write(kvm_msi_peek_fd(msi), 1), ==, 0);
	g_assert_true(kvm_msi_is_pending(msi));
	g_assert_cmpint(kvm_msi_set(msi, 0xfee00000, 0x41, false), ==, 0);
	g_assert_false(kvm_msi_is_pending(msi));
	g_assert_cmpint(kvm_msi_set(msi, 0xfee00000, 0x41, true), ==, 0);
	g_assert_false(kvm_msi_is_pending(msi));
	kvm_msi_raise(msi);
	g_assert_true(kvm_msi_is_pending(msi));
	kvm_msi_clear(msi);
	g_assert_false(kvm_msi_is_pending(msi));
	/* Another address while unmasked, and unmasked twice. */
	g_assert_cmpint(kvm_msi_set(msi, 0xfee00000, 0x42, false), ==, 0);
	g_assert_cmpint(kvm_msi_set(msi, 0xfee00000, 0x43, false), ==, 0);
	g_assert_cmpint(kvm_msi_set(msi, 0xfee00000, 0x43, false), ==, 0);
	kvm_msi_free(msi);
}

static void test_msi_batch(void)
{
	g_autoptr(KvmVm) vm = vm_or_skip();
	KvmMsi *msis[40];

	if (!vm)
		return;
	for (unsigned i = 0; i < G_N_ELEMENTS(msis); i++)
		msis[i] = kvm_msi_new(vm, NULL);
	kvm_vm_msi_begin(vm);
	kvm_vm_msi_begin(vm);
	for (unsigned i = 0; i < G_N_ELEMENTS(msis); i++) {
		kvm_msi_raise(msis[i]);
		g_assert_cmpint(kvm_msi_set(msis[i], 0xfee00000, 0x40 + i, false), ==, 0);
	}
	g_assert_cmpint(kvm_vm_msi_end(vm), ==, 0);
	g_assert_true(kvm_msi_is_pending(msis[7]));
	g_assert_cmpint(kvm_vm_msi_end(vm), ==, 0);
	for (unsigned i = 0; i < G_N_ELEMENTS(msis); i++) {
		g_assert_false(kvm_msi_is_pending(msis[i]));
		kvm_msi_free(msis[i]);
	}
}

/* There are so many and no more, and they are there again afterwards. */
static void test_msi_limit(void)
{
	g_autoptr(KvmVm) vm = vm_or_skip();
	g_autoptr(GPtrArray) msis = g_ptr_array_new_with_free_func((GDestroyNotify)kvm_msi_free);
	g_autoptr(GError) error = NULL;
	KvmMsi *msi;

	if (!vm)
		return;
	while ((msi = kvm_msi_new(vm, &error)))
		g_ptr_array_add(msis, msi);
	g_assert_nonnull(error);
	g_test_message("%u interrupts: %s", msis->len, error->message);
	g_ptr_array_set_size(msis, (int)msis->len - 1);
	msi = kvm_msi_new(vm, NULL);
	g_assert_nonnull(msi);
	g_assert_cmpint(kvm_msi_set(msi, 0xfee00000, 0x41, false), ==, 0);
	kvm_msi_free(msi);
}

static void test_ioeventfd(void)
{
	g_autoptr(KvmVm) vm = vm_or_skip();
	int fd;

	if (!vm)
		return;
	fd = eventfd(0, EFD_CLOEXEC);
	g_assert_cmpint(kvm_vm_ioeventfd(vm, 0x4000003000, 2, fd, true), ==, 0);
	g_assert_cmpint(kvm_vm_ioeventfd(vm, 0x4000003000, 2, fd, true), ==, -EEXIST);
	g_assert_cmpint(kvm_vm_ioeventfd(vm, 0x4000003000, 2, fd, false), ==, 0);
	g_assert_cmpint(kvm_vm_ioeventfd(vm, 0x4000003000, 2, fd, false), ==, -ENOENT);
	g_assert_cmpint(kvm_vm_pulse(vm, 9), ==, 0);
	close(fd);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/machine/vm/absent", test_absent);
	g_test_add_func("/machine/vm/probe", test_probe);
	g_test_add_func("/machine/vm/slots", test_slots);
	g_test_add_func("/machine/vm/slots-recycled", test_slots_recycled);
	g_test_add_func("/machine/vm/msi", test_msi);
	g_test_add_func("/machine/vm/msi-batch", test_msi_batch);
	g_test_add_func("/machine/vm/msi-limit", test_msi_limit);
	g_test_add_func("/machine/vm/ioeventfd", test_ioeventfd);
	return g_test_run();
}
