/* SPDX-License-Identifier: BSD-3-Clause */
/* The initramfs of a guest: a small system that runs one command or a shell. */
#include "machine/guest/image.h"

#include "machine/guest/cpio.h"
#include "machine/guest/program.h"

#include <gio/gio.h>
#include <string.h>

static const guint8 init_script[] = {
#include "guest_init.inc"
};

static const guint8 udhcpc_script[] = {
#include "guest_udhcpc.inc"
};

static const char power_script[] = "#!/bin/sh\nsync\npoweroff -f\n";

/* In the order in which they are loaded: CXL memory first, so that a device that appears is used
 * for all it can. */
static const struct {
	const char *name;
	bool is_needed;
	bool is_loaded; /* at the start; else it is there to be loaded */
} wanted_modules[] = {
	{ "virtio_pci", false, true }, { "virtiofs", false, true }, { "virtio_net", false, true },
	{ "libnvdimm", false, true },  { "cxl_pmem", false, true }, { "cxl_mem", true, true },
	{ "cxl_acpi", true, true },    { "cxl_pci", true, true },   { "dax_cxl", false, true },
	{ "device_dax", false, true }, { "kmem", false, true },     { "nd_pmem", false, true },
	{ "dax_pmem", false, false },  { "button", false, true },   { "evdev", false, true },
	{ "ext4", false, false },
};

/* Programs that are copied if they are there. */
static const char *const wanted_programs[] = { "cxl", "daxctl" };

/* Ours, which are always there. */
static const struct {
	const char *name, *variable;
} own_programs[] = {
	{ "softdcd-guest-run", "SOFTDCD_GUEST_RUN" },
	{ "softdcd-agent", "SOFTDCD_AGENT" },
};

static bool add_bytes(GuestCpio *cpio, const char *path, const void *data, gsize len,
		      bool executable, GError **error)
{
	if (guest_cpio_add_file(cpio, path, data, len, executable))
		return true;
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE, "the initramfs is too large at %s",
		    path);
	return false;
}

static bool add_text(GuestCpio *cpio, const char *path, const char *text, bool executable,
		     GError **error)
{
	return add_bytes(cpio, path, text, strlen(text), executable, error);
}

/* As in Debian, where all is below /usr. */
static void add_skeleton(GuestCpio *cpio)
{
	static const char *const directories[] = { "/usr/bin",   "/usr/sbin", "/usr/lib",
						   "/usr/lib64", "/dev",      "/proc",
						   "/sys",       "/run",      "/tmp",
						   "/root",      "/etc" };

	for (unsigned i = 0; i < G_N_ELEMENTS(directories); i++)
		guest_cpio_add_directory(cpio, directories[i]);
	guest_cpio_add_link(cpio, "/bin", "usr/bin");
	guest_cpio_add_link(cpio, "/sbin", "usr/sbin");
	guest_cpio_add_link(cpio, "/lib64", "usr/lib64");
	/* Linux: the first process gets it as its input and output. */
	guest_cpio_add_device(cpio, "/dev/console", 5, 1);
	guest_cpio_add_link(cpio, "/usr/sbin/modprobe", "../bin/busybox");
}

/* ---- programs ---- */

static char *find_busybox(GError **error)
{
	char *path = guest_program_find("busybox");

	if (!path)
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
			    "a guest needs busybox (on Debian: apt-get install busybox-static)");
	return path;
}

bool guest_image_check_programs(GError **error)
{
	g_autofree char *busybox = find_busybox(error);

	for (unsigned i = 0; busybox && i < G_N_ELEMENTS(own_programs); i++) {
		g_autofree char *path = guest_program_find_ours(own_programs[i].name,
								own_programs[i].variable, error);

		if (!path)
			return false;
	}
	return busybox;
}

static bool add_programs(GuestCpio *cpio, GError **error)
{
	g_autofree char *busybox = find_busybox(error);

	if (!busybox)
		return false;
	if (!guest_program_add(cpio, "/usr/bin/busybox", busybox, error))
		return false;
	for (unsigned i = 0; i < G_N_ELEMENTS(own_programs); i++) {
		g_autofree char *path = guest_program_find_ours(own_programs[i].name,
								own_programs[i].variable, error);
		g_autofree char *guest_path = g_build_filename("/usr/libexec/softdcd",
							       own_programs[i].name, NULL);

		if (!path || !guest_program_add(cpio, guest_path, path, error))
			return false;
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(wanted_programs); i++) {
		g_autofree char *path = guest_program_find(wanted_programs[i]);
		g_autofree char *guest_path = g_build_filename("/usr/bin", wanted_programs[i],
							       NULL);

		if (path && !guest_program_add(cpio, guest_path, path, error))
			return false;
	}
	return true;
}

/* ---- modules ---- */

char *guest_image_missing_modules(const GuestModules *modules)
{
	g_autoptr(GString) missing = g_string_new(NULL);

	for (unsigned i = 0; i < G_N_ELEMENTS(wanted_modules); i++) {
		if (wanted_modules[i].is_needed &&
		    guest_modules_look(modules, wanted_modules[i].name) == GUEST_MODULE_ABSENT)
			g_string_append_printf(missing, "%s%s", missing->len ? ", " : "",
					       wanted_modules[i].name);
	}
	return missing->len ? g_string_free(g_steal_pointer(&missing), FALSE) : NULL;
}

/* Files, and the lists that modprobe and the kernel's own requests for modules go by. */
static bool add_tree(GuestCpio *cpio, const GuestModules *modules, const char *version,
		     GError **error)
{
	const GPtrArray *list = guest_modules_peek(modules);
	g_autofree char *dir = g_build_filename("/lib/modules", version, NULL);
	g_autofree char *dep_path = g_build_filename(dir, "modules.dep", NULL);
	g_autofree char *alias_path = g_build_filename(dir, "modules.alias", NULL);
	g_autoptr(GString) deps = g_string_new(NULL);
	g_autoptr(GString) aliases = g_string_new(NULL);

	for (guint i = 0; i < list->len; i++) {
		const GuestModule *module = list->pdata[i];
		g_autofree char *path = g_strdup_printf("%s/%s.ko", dir, module->name);
		gsize len;
		const void *code = g_bytes_get_data(module->code, &len);

		if (!add_bytes(cpio, path, code, len, false, error))
			return false;
		g_string_append_printf(deps, "%s.ko:", module->name);
		/* The last is loaded first. */
		for (guint j = module->needs->len; j > 0; j--)
			g_string_append_printf(deps, " %s.ko", (char *)module->needs->pdata[j - 1]);
		g_string_append_c(deps, '\n');
		for (char **alias = module->aliases; *alias; alias++)
			g_string_append_printf(aliases, "alias %s %s\n", *alias, module->name);
	}
	return add_text(cpio, dep_path, deps->str, false, error) &&
	       add_text(cpio, alias_path, aliases->str, false, error);
}

static bool add_modules(GuestCpio *cpio, const GuestImageConfig *config, GError **error)
{
	g_autoptr(GuestModules) modules = guest_modules_new(config->modules_dir);
	g_autofree char *missing = guest_image_missing_modules(modules);
	g_autoptr(GString) loaded = g_string_new(NULL);

	if (missing) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
			    "kernel %s has no CXL (%s is neither in %s nor built in): name another "
			    "with --kernel",
			    config->kernel_version, missing,
			    config->modules_dir ? config->modules_dir : "/lib/modules");
		return false;
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(wanted_modules); i++) {
		const char *name = wanted_modules[i].name;

		if (guest_modules_look(modules, name) != GUEST_MODULE_FOUND)
			continue;
		if (!guest_modules_add(modules, name, error))
			return false;
		if (wanted_modules[i].is_loaded)
			g_string_append_printf(loaded, "%s\n", name);
	}
	return add_text(cpio, "/etc/softdcd/modules", loaded->str, false, error) &&
	       add_tree(cpio, modules, config->kernel_version, error);
}

/* ---- settings: a piece of shell that init reads ---- */

static void set_text(GString *settings, const char *name, const char *value)
{
	g_autofree char *quoted = g_shell_quote(value);

	g_string_append_printf(settings, "%s=%s\n", name, quoted);
}

static void set_flag(GString *settings, const char *name, bool value)
{
	g_string_append_printf(settings, "%s=%s\n", name, value ? "1" : "");
}

static void set_mounts(GString *settings, const GuestImageConfig *config)
{
	g_string_append(settings, "shares()\n{\n\t:\n");
	for (unsigned i = 0; i < config->n_mounts; i++) {
		g_autofree char *tag = g_shell_quote(config->mounts[i].tag);
		g_autofree char *path = g_shell_quote(config->mounts[i].path);

		g_string_append_printf(settings, "\tmount_share %s %s\n", tag, path);
	}
	g_string_append(settings, "}\n");
}

static void set_command(GString *settings, const char *const *command)
{
	set_flag(settings, "has_command", command != NULL);
	g_string_append(settings, "command_of_settings()\n{\n\t\"$@\"");
	for (; command && *command; command++) {
		g_autofree char *word = g_shell_quote(*command);

		g_string_append_printf(settings, " %s", word);
	}
	g_string_append(settings, "\n}\n");
}

static char *make_settings(const GuestImageConfig *config)
{
	GString *settings = g_string_new(NULL);

	set_text(settings, "root_tag", config->root_tag ? config->root_tag : "");
	set_flag(settings, "net", config->has_net);
	set_text(settings, "terminal", config->is_terminal ? "--terminal" : "");
	set_text(settings, "directory", config->directory ? config->directory : "/");
	if (config->rows)
		g_string_append_printf(settings, "rows=%u\ncolumns=%u\n", config->rows,
				       config->columns);
	if (config->term)
		set_text(settings, "TERM", config->term);
	if (config->tag)
		set_text(settings, "export TAG", config->tag);
	g_string_append(settings, "agent_ports='");
	for (unsigned i = 0; i < config->n_agent_ports; i++)
		g_string_append_printf(settings, " 0000:%02x:%02x.0", config->agent_ports[i].bus,
				       config->agent_ports[i].device);
	g_string_append(settings, "'\n");
	set_flag(settings, "has_agent", config->agent_arguments != NULL);
	set_text(settings, "agent_arguments",
		 config->agent_arguments ? config->agent_arguments : "");
	set_mounts(settings, config);
	set_command(settings, config->command);
	return g_string_free(settings, FALSE);
}

GBytes *guest_image_build(const GuestImageConfig *config, GError **error)
{
	g_autoptr(GuestCpio) cpio = guest_cpio_new();
	g_autofree char *settings = make_settings(config);

	add_skeleton(cpio);
	if (!add_modules(cpio, config, error) || !add_programs(cpio, error) ||
	    !add_bytes(cpio, "/init", init_script, sizeof(init_script), true, error) ||
	    !add_bytes(cpio, "/etc/softdcd/udhcpc", udhcpc_script, sizeof(udhcpc_script), true,
		       error) ||
	    !add_text(cpio, "/etc/softdcd/settings", settings, false, error) ||
	    !add_text(cpio, "/etc/softdcd/motd", config->motd ? config->motd : "", false, error) ||
	    !add_text(cpio, "/etc/acpi/PWRF/00000080", power_script, true, error))
		return NULL;
	return guest_cpio_finish(cpio);
}
