/* SPDX-License-Identifier: BSD-3-Clause */
/* Checks of what softdcd run needs: KVM, a kernel and programs for guests, helpers. */
#include "cli/doctor.h"

#include "machine/backend_program.h"
#include "machine/guest/image.h"
#include "machine/guest/kernel.h"
#include "machine/guest/program.h"
#include "machine/kvm_probe.h"
#include "machine/vm.h"

#include <gio/gio.h>

static void check_kvm(const CliArgs *args, DoctorFinding *ret)
{
	g_autofree char *why = NULL;

	if (kvm_probe(NULL, &why) == KVM_PROBE_OK) {
		doctor_found(ret, "runs code as kernels have it");
		return;
	}
	doctor_found(ret, "%s", why);
	doctor_cure(ret, DOCTOR_LIMITED,
		    "run machines where KVM can, or see them emulated with make demo-nested");
}

static void check_kvm_slots(const CliArgs *args, DoctorFinding *ret)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(KvmVm) vm = kvm_vm_new(NULL, &error);

	if (!vm) {
		doctor_found(ret, "not to be found out without KVM");
	} else if (kvm_vm_unmap_is_cheap(vm)) {
		doctor_found(ret, "an extent that is given back costs the guest nothing else");
	} else {
		doctor_found(ret, "KVM unmaps all of a guest's memory with every extent");
		doctor_cure(ret, DOCTOR_LIMITED,
			    "run Linux 6.12 or later: until then a guest faults anew on all it "
			    "uses whenever an extent is given back");
	}
}

/* As softdcd run would choose it. */
static void check_kernel(const CliArgs *args, DoctorFinding *ret)
{
	g_auto(GuestKernel) kernel = { 0 };
	g_autoptr(GError) error = NULL;
	g_autoptr(GuestModules) modules = NULL;
	g_autofree char *missing = NULL;

	if (!guest_kernel_find("", NULL, &kernel, &error)) {
		doctor_found(ret, "%s",
			     g_error_matches(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND)
				     ? "there is none in /boot"
				     : error->message);
		doctor_cure(ret, DOCTOR_LIMITED,
			    "install a kernel (on Debian: apt-get install linux-image-amd64), or "
			    "name one with softdcd run --kernel");
		return;
	}
	modules = guest_modules_new(kernel.modules_dir);
	missing = guest_image_missing_modules(modules);
	if (!missing) {
		doctor_found(ret, "%s, with CXL", kernel.path);
		return;
	}
	doctor_found(ret, "%s, without %s in %s", kernel.path, missing,
		     kernel.modules_dir ? kernel.modules_dir : "/lib/modules");
	doctor_cure(ret, DOCTOR_LIMITED,
		    "install a kernel with CXL, such as Debian's linux-image-amd64, or name one "
		    "with softdcd run --kernel");
}

static void check_programs(const CliArgs *args, DoctorFinding *ret)
{
	g_autoptr(GError) error = NULL;

	if (guest_image_check_programs(&error)) {
		doctor_found(ret, "busybox and our own");
		return;
	}
	doctor_found(ret, "%s", error->message);
	doctor_cure(ret, DOCTOR_LIMITED, "install what is missing");
}

static void check_virtiofsd(const CliArgs *args, DoctorFinding *ret)
{
	static const char *const folders[] = { "/usr/libexec", "/usr/lib/qemu", NULL };
	g_autofree char *path = backend_program_find("virtiofsd", folders);

	if (path) {
		doctor_found(ret, "%s", path);
		return;
	}
	doctor_found(ret, "there is no virtiofsd");
	doctor_cure(ret, DOCTOR_LIMITED,
		    "on Debian: apt-get install virtiofsd, or before 13 qemu-system-common");
}

static void check_passt(const CliArgs *args, DoctorFinding *ret)
{
	static const char *const folders[] = { NULL };
	g_autofree char *path = backend_program_find("passt", folders);

	if (path && backend_program_knows(path, "vhost-user")) {
		doctor_found(ret, "%s", path);
		return;
	}
	doctor_found(ret, "%s", path ? "this passt has no --vhost-user" : "there is no passt");
	doctor_cure(ret, DOCTOR_LIMITED, "install passt 2024_11_27 or later (on Debian 13: passt)");
}

const DoctorCheck doctor_guest_checks[] = {
	{ "kvm", false, "softdcd run", check_kvm },
	{ "kvm-slots", false, "giving back extents under softdcd run", check_kvm_slots },
	{ "guest-kernel", false, "softdcd run without --kernel", check_kernel },
	{ "guest-programs", false, "softdcd run without --initrd", check_programs },
	{ "virtiofsd", false, "softdcd run --share and --root", check_virtiofsd },
	{ "passt", false, "softdcd run --net", check_passt },
	{ .name = NULL },
};
