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

/* As JSON, or as a story that goes to stdout as it happens. */
static GSubprocess *start_guest(const char *kernel_path, bool as_json, GError **error)
{
	g_autofree char *self = g_file_read_link("/proc/self/exe", error);
	g_autoptr(GPtrArray) argv = g_ptr_array_new();
	static const char *const before[] = { "run",      "--memory", GUEST_MEMORY, "--ram",
					      STATIC_LEN, "--dc",     DYNAMIC_LEN };
	static const char *const after[] = { "--", "sh", "-eu", "-c", script, "demo" };

	if (!self)
		return NULL;
	g_ptr_array_add(argv, self);
	for (unsigned i = 0; i < G_N_ELEMENTS(before); i++)
		g_ptr_array_add(argv, (char *)before[i]);
	if (kernel_path) {
		g_ptr_array_add(argv, (char *)"--kernel");
		g_ptr_array_add(argv, (char *)kernel_path);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(after); i++)
		g_ptr_array_add(argv, (char *)after[i]);
	g_ptr_array_add(argv, (char *)(as_json ? "json" : "story"));
	g_ptr_array_add(argv, NULL);
	/* No input for the guest: it is not to wait for a key. */
	return g_subprocess_newv((const char *const *)argv->pdata,
				 as_json ? G_SUBPROCESS_FLAGS_STDOUT_PIPE : G_SUBPROCESS_FLAGS_NONE,
				 error);
}

static bool tell_guest(const char *kernel_path, GError **error)
{
	g_autoptr(GSubprocess) process = start_guest(kernel_path, false, error);

	return process && g_subprocess_wait_check(process, NULL, error);
}

/* What the guest has measured. */
static JsonObject *ask_guest(const char *kernel_path, GError **error)
{
	g_autoptr(GSubprocess) process = start_guest(kernel_path, true, error);
	g_autoptr(JsonNode) node = NULL;
	g_autofree char *text = NULL;

	if (!process || !g_subprocess_communicate_utf8(process, NULL, NULL, &text, NULL, error) ||
	    !g_subprocess_wait_check(process, NULL, error))
		return NULL;
	node = json_from_string(text, error);
	if (node && JSON_NODE_HOLDS_OBJECT(node))
		return json_node_dup_object(node);
	g_clear_error(error);
	g_set_error(error, DEMO_ERROR, 0, "it says what is no JSON object: %.80s", text);
	return NULL;
}

JsonObject *demo_ask_guest(const CliArgs *args, ExitCode *ret_code)
{
	const char *kernel_path = cli_text(args, "kernel");
	g_autofree char *why = find_obstacle(kernel_path);
	g_autoptr(GError) error = NULL;
	JsonObject *result = why ? NULL : ask_guest(kernel_path, &error);

	*ret_code = EXIT_DONE;
	if (!result) {
		result = json_object_new();
		json_object_set_string_member(result, "why", why ? why : error->message);
		*ret_code = why ? EXIT_DONE : EXIT_REFUSED;
	}
	json_object_set_boolean_member(result, "shown", !json_object_has_member(result, "why"));
	return result;
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
	if (tell_guest(kernel_path, &error))
		return EXIT_DONE;
	cli_complain(args, "the guest: %s", error->message);
	return EXIT_REFUSED;
}
