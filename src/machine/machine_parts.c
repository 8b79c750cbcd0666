/* SPDX-License-Identifier: BSD-3-Clause */
/* Machine parts: makes them in order, loads the guest, starts and stops its CPUs. */
#include "machine/machine_parts.h"

#include "machine/acpi.h"
#include "machine/machine_virtio.h"

#include <errno.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ---- hearing of ends ---- */

static void on_power_off(void *opaque)
{
	MachineParts *parts = opaque;

	parts->stop(parts->opaque, MACHINE_END_POWER_OFF, NULL);
}

static void on_reset(void *opaque)
{
	MachineParts *parts = opaque;

	parts->stop(parts->opaque, MACHINE_END_REBOOT, NULL);
}

static const LegacyOps legacy_ops = { on_power_off, on_reset };

static void on_vcpu_end(void *opaque, unsigned id, VcpuEnd end, const char *why)
{
	MachineParts *parts = opaque;

	parts->stop(parts->opaque,
		    end == VCPU_END_TRIPLE_FAULT ? MACHINE_END_TRIPLE : MACHINE_END_KVM, why);
}

static void on_command_end(void *opaque, int code)
{
	MachineParts *parts = opaque;

	parts->stop(parts->opaque, MACHINE_END_COMMAND, NULL);
}

static void on_panic(void *opaque)
{
	MachineParts *parts = opaque;

	parts->stop(parts->opaque, MACHINE_END_PANIC, NULL);
}

static void on_quit(void *opaque)
{
	MachineParts *parts = opaque;

	parts->stop(parts->opaque, MACHINE_END_ASKED, NULL);
}

/* ---- the computer ---- */

static bool fail(GError **error, int rc, const char *what)
{
	g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-rc), "%s: %s", what, g_strerror(-rc));
	return false;
}

static bool compute_layout(MachineParts *parts, GError **error)
{
	const MachineConfig *config = parts->config;
	g_autofree MachineDeviceTraits *traits = g_new0(MachineDeviceTraits, config->n_devices + 1);
	MachineTopology topology = {
		.devices = traits,
		.n_devices = config->n_devices,
		.windows = config->windows,
		.n_windows = config->n_windows,
		.default_window_len = config->default_window_len,
	};

	for (unsigned i = 0; i < config->n_devices; i++)
		traits[i] = (MachineDeviceTraits){
			.name = config->devices[i].name,
			.is_persistent = config->devices[i].is_persistent,
		};
	return machine_layout_compute(&topology, config->ram_len, config->n_cpus,
				      cpuid_phys_bits(parts->cpuid), &parts->layout, error);
}

static bool make_memory(MachineParts *parts, GError **error)
{
	int rc;

	parts->memory = guest_memory_new(parts->vm, !parts->config->no_dma);
	if (!ram_init(&parts->ram, parts->config->ram_len, error))
		return false;
	rc = ram_add(&parts->ram, &parts->layout, parts->memory);
	return rc ? fail(error, rc, "the guest's memory") : true;
}

static bool make_ports(MachineParts *parts, GError **error)
{
	for (unsigned i = 0; i < MACHINE_N_SERIAL; i++) {
		parts->serials[i] = serial_new(parts->vm, parts->bus, i);
		if (!parts->serials[i])
			return fail(error, -EBUSY, "a serial port");
	}
	parts->legacy = legacy_new(parts->bus, &legacy_ops, parts);
	return parts->legacy ? true : fail(error, -EBUSY, "I/O ports");
}

/* Devices of pools come last: what their mappings may be depends on all the others. */
static bool make_pci(MachineParts *parts, GError **error)
{
	const MachineConfig *config = parts->config;
	const PciHostConfig pci = {
		.vm = parts->vm,
		.bus = parts->bus,
		.memory = parts->memory,
		.layout = &parts->layout,
		.session = parts->session,
		.verbose = config->verbose,
		.log = config->log,
		.opaque = config->opaque,
	};
	const VirtioContext virtio = {
		.vm = parts->vm,
		.bus = parts->bus,
		.memory = parts->memory,
		.log = config->log,
		.opaque = config->opaque,
	};

	parts->pci = pci_host_new(&pci, error);
	if (!parts->pci || !machine_virtio_make(config, &virtio, parts->pci, &parts->virtio, error))
		return false;
	for (unsigned i = 0; i < config->n_devices; i++) {
		if (!pci_host_attach(parts->pci, i, &config->devices[i], error))
			return false;
	}
	return true;
}

/* ---- the guest ---- */

static GBytes *read_blob(const MachineBlob *blob, const char *what, GError **error)
{
	g_autoptr(GMappedFile) file = NULL;

	if (blob->bytes)
		return g_bytes_ref(blob->bytes);
	file = g_mapped_file_new(blob->path, FALSE, error);
	if (!file) {
		g_prefix_error(error, "%s: ", what);
		return NULL;
	}
	return g_mapped_file_get_bytes(file);
}

/* Of the guest's clock; 0 if KVM does not say. */
static uint32_t tsc_khz(KvmVm *vm)
{
	int khz = ioctl(kvm_vm_peek_fd(vm), KVM_GET_TSC_KHZ, 0);

	return khz > 0 ? (uint32_t)khz : 0;
}

/*
 * What the machine needs goes first, so that it can be overridden. The clock's frequency: nothing
 * in the machine tells Linux; it does not believe a CPU without hypervisor bit but Intel's.
 */
static char *build_cmdline(MachineParts *parts)
{
	uint32_t khz = tsc_khz(parts->vm);
	g_autoptr(GString) text = g_string_new("console=ttyS0 reboot=a panic=-1");

	if (khz)
		g_string_append_printf(text, " tsc_early_khz=%u", khz);
	/* Each line that nobody wants to see takes its time at a serial port. */
	if (!parts->config->verbose)
		g_string_append(text, " quiet");
	if (parts->config->cmdline && *parts->config->cmdline)
		g_string_append_printf(text, " %s", parts->config->cmdline);
	return g_string_free(g_steal_pointer(&text), FALSE);
}

static bool load_guest(MachineParts *parts, GError **error)
{
	const MachineConfig *config = parts->config;
	g_autoptr(GBytes) kernel = read_blob(&config->kernel, "kernel", error);
	bool has_initrd = config->initrd.path || config->initrd.bytes;
	g_autoptr(GBytes)
		initrd = kernel && has_initrd ? read_blob(&config->initrd, "initrd", error) : NULL;
	g_autoptr(GByteArray) acpi = NULL;
	g_autofree char *cmdline = build_cmdline(parts);
	LoaderImage image = { .kernel = kernel, .initrd = initrd, .cmdline = cmdline };

	if (!kernel || (has_initrd && !initrd) ||
	    !acpi_tables_build(&parts->layout, parts->layout.acpi, parts->layout.acpi_len, &acpi,
			       &image.rsdp, error))
		return false;
	image.acpi = acpi;
	return loader_load(&parts->layout, parts->ram.hva, &image, &parts->entry, error);
}

static bool make_stdio(MachineParts *parts, GError **error)
{
	const GuestStdioConfig config = {
		.serials = parts->serials,
		.in_fd = STDIN_FILENO,
		.out_fd = STDOUT_FILENO,
		.err_fd = STDERR_FILENO,
		.has_command = parts->config->has_command,
		.shows_console = parts->config->verbose,
		.command_ended = on_command_end,
		.panicked = on_panic,
		.quit = on_quit,
		.opaque = parts,
	};

	parts->stdio = guest_stdio_new(&config, error);
	return parts->stdio;
}

static bool make_vcpus(MachineParts *parts, GError **error)
{
	const CpuidPlan plan = { .n_cpus = parts->config->n_cpus, .tsc_khz = tsc_khz(parts->vm) };

	for (unsigned i = 0; i < parts->config->n_cpus; i++) {
		g_autofree struct kvm_cpuid2 *cpuid = cpuid_for_cpu(parts->cpuid, &plan, i);
		const VcpuConfig config = {
			.vm = parts->vm,
			.bus = parts->bus,
			.id = i,
			.cpuid = cpuid,
			.entry = &parts->entry,
			.ended = on_vcpu_end,
			.opaque = parts,
		};

		parts->vcpus[i] = vcpu_new(&config, error);
		if (!parts->vcpus[i])
			return false;
	}
	return true;
}

/* ---- standing still ---- */

static void pause_vcpus(void *opaque)
{
	MachineParts *parts = opaque;

	for (unsigned i = 0; i < MACHINE_MAX_CPUS && parts->vcpus[i]; i++)
		vcpu_hold(parts->vcpus[i]);
}

static void resume_vcpus(void *opaque)
{
	MachineParts *parts = opaque;

	for (unsigned i = 0; i < MACHINE_MAX_CPUS && parts->vcpus[i]; i++)
		vcpu_let_go(parts->vcpus[i]);
}

static const GuestPauser pauser = { .pause = pause_vcpus, .resume = resume_vcpus };

bool machine_parts_make(MachineParts *parts, const MachineConfig *config, MachineStopFunc *stop,
			void *opaque, GError **error)
{
	parts->config = config;
	parts->stop = stop;
	parts->opaque = opaque;
	parts->ram.fd = -EBADF;
	parts->vm = kvm_vm_new(NULL, error);
	if (!parts->vm)
		return false;
	parts->cpuid = cpuid_supported(kvm_vm_peek_system_fd(parts->vm), error);
	if (!parts->cpuid || !compute_layout(parts, error))
		return false;
	parts->bus = machine_bus_new();
	return make_memory(parts, error) && make_ports(parts, error) && make_pci(parts, error) &&
	       load_guest(parts, error) && make_vcpus(parts, error) && make_stdio(parts, error);
}

bool machine_parts_start(MachineParts *parts, GError **error)
{
	for (unsigned i = 0; i < parts->config->n_cpus; i++) {
		if (!vcpu_start(parts->vcpus[i], error))
			return false;
	}
	guest_memory_set_pauser(parts->memory, &pauser, parts);
	return true;
}

void machine_parts_stop(MachineParts *parts)
{
	if (parts->memory)
		guest_memory_set_pauser(parts->memory, NULL, NULL);
	for (unsigned i = 0; i < MACHINE_MAX_CPUS && parts->vcpus[i]; i++)
		vcpu_stop(parts->vcpus[i]);
	/* A CPU may be in the middle of an access to a device that stands still. */
	if (parts->pci)
		pci_host_abort(parts->pci);
	for (unsigned i = 0; i < MACHINE_MAX_CPUS && parts->vcpus[i]; i++)
		vcpu_join(parts->vcpus[i]);
	if (parts->stdio)
		guest_stdio_finish(parts->stdio);
}

void machine_parts_clear(MachineParts *parts)
{
	machine_parts_stop(parts);
	for (unsigned i = 0; i < MACHINE_MAX_CPUS; i++)
		g_clear_pointer(&parts->vcpus[i], vcpu_free);
	g_clear_pointer(&parts->stdio, guest_stdio_free);
	g_clear_pointer(&parts->pci, pci_host_free);
	g_clear_pointer(&parts->virtio, g_ptr_array_unref);
	g_clear_pointer(&parts->legacy, legacy_free);
	for (unsigned i = 0; i < MACHINE_N_SERIAL; i++)
		g_clear_pointer(&parts->serials[i], serial_free);
	g_clear_pointer(&parts->memory, guest_memory_free);
	ram_clear(&parts->ram);
	g_clear_pointer(&parts->bus, machine_bus_free);
	g_clear_pointer(&parts->cpuid, g_free);
	g_clear_pointer(&parts->vm, kvm_vm_free);
}
