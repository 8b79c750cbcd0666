/* SPDX-License-Identifier: BSD-3-Clause */
/* The demo's Linux guest: an unmodified kernel in the KVM machine uses both kinds of capacity. */
#include "cli/demo.h"

#include "machine/guest/kernel.h"
#include "machine/kvm_probe.h"

#include <gio/gio.h>
#include <stdio.h>

/* Of the machine and of its pool's two devices: enough to compare 256 MiB of each. */
#define GUEST_MEMORY "1G"
#define STATIC_LEN   "512M"
#define DYNAMIC_LEN  "1G"

static const char script[] = {
#include "demo_guest.inc"
	'\0',
};

/* Why there can be no guest here; NULL = there can. The caller frees. */
static char *find_obstacle(const char *kernel_path)
{
	g_auto(GuestKernel) kernel = { 0 };
	g_autoptr(GError) error = NULL;
	char *why = NULL;

	if (kvm_probe(NULL, &why) != KVM_PROBE_OK)
		return why;
	return guest_kernel_find("", kernel_path, &kernel, &error) ? NULL
								   : g_strdup(error->message);
}

static bool run_guest(const char *kernel_path, GError **error)
{
	g_autofree char *self = g_file_read_link("/proc/self/exe", error);
	g_autoptr(GPtrArray) argv = g_ptr_array_new();
	g_autoptr(GSubprocess) process = NULL;
	static const char *const before[] = { "run",      "--memory", GUEST_MEMORY, "--ram",
					      STATIC_LEN, "--dc",     DYNAMIC_LEN };
	static const char *const after[] = { "--", "sh", "-eu", "-c", script, NULL };

	if (!self)
		return false;
	g_ptr_array_add(argv, self);
	for (unsigned i = 0; i < G_N_ELEMENTS(before); i++)
		g_ptr_array_add(argv, (char *)before[i]);
	if (kernel_path) {
		g_ptr_array_add(argv, (char *)"--kernel");
		g_ptr_array_add(argv, (char *)kernel_path);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(after); i++)
		g_ptr_array_add(argv, (char *)after[i]);
	/* No input for the guest: it is not to wait for a key. */
	process = g_subprocess_newv((const char *const *)argv->pdata, G_SUBPROCESS_FLAGS_NONE,
				    error);
	return process && g_subprocess_wait_check(process, NULL, error);
}

ExitCode demo_show_guest(const CliArgs *args, bool is_needed)
{
	const char *kernel_path = cli_text(args, "kernel");
	g_autofree char *obstacle = find_obstacle(kernel_path);
	g_autoptr(GError) error = NULL;

	if (obstacle) {
		printf("\nA Linux guest with the same memory is not shown, because here is none to "
		       "be had:\n%s.\nmake demo-nested shows it all the same, on an emulated "
		       "machine, slowly.\n",
		       obstacle);
		return is_needed ? EXIT_REFUSED : EXIT_DONE;
	}
	printf("\nNow a Linux guest in the KVM machine, with two devices of a pool: one has static "
	       "memory,\nthe other only dynamic capacity.\n\n seconds  what happens\n");
	fflush(stdout);
	if (run_guest(kernel_path, &error))
		return EXIT_DONE;
	cli_complain(args, "the guest: %s", error->message);
	return EXIT_REFUSED;
}
