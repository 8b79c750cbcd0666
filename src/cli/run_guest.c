/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd run: the guest's kernel and initial file system. */
#include "cli/run.h"

#include "machine/guest/image.h"
#include "machine/guest/kernel.h"
#include "machine/guest_command.h"
#include "machine/terminal.h"

#include <gio/gio.h>
#include <string.h>
#include <unistd.h>

/* What the image's configuration points to. */
typedef struct Parts {
	GArray *mounts;     /* GuestMount */
	GArray *ports;      /* GuestPort */
	GPtrArray *command; /* const char *, then NULL */
	char *directory, *motd;
} Parts;

/* ---- what is in it ---- */

static bool is_root(const MachineShare *share)
{
	return g_str_equal(share->tag, GUEST_ROOT_TAG);
}

/* Directories are in the guest where they are here. */
static void add_mounts(const RunCmd *cmd, Parts *parts)
{
	for (guint i = 0; i < cmd->shares->len; i++) {
		const MachineShare *share = &g_array_index(cmd->shares, MachineShare, i);
		GuestMount mount = { share->tag, share->dir };

		if (!is_root(share))
			g_array_append_val(parts->mounts, mount);
	}
}

/* Whether DIR or one above it is shared at the same path. */
static bool is_in_guest(const RunCmd *cmd, const char *dir)
{
	for (guint i = 0; i < cmd->shares->len; i++) {
		const MachineShare *share = &g_array_index(cmd->shares, MachineShare, i);
		size_t len = strlen(share->dir);

		if (is_root(share)
			    ? g_str_equal(share->dir, "/")
			    : g_str_has_prefix(dir, share->dir) && (dir[len] == '/' || !dir[len]))
			return true;
	}
	return false;
}

static void add_agent_ports(const RunCmd *cmd, Parts *parts)
{
	for (guint i = 0; i < cmd->devices->len; i++) {
		const MachinePlug *plug = &cmd->layout.plugs[i];
		const MachineBridge *bridge = machine_layout_bridge(&cmd->layout, plug->uid);
		GuestPort port = { bridge->bus_first, (uint8_t)plug->port };

		if (g_array_index(cmd->devices, RunDevice, i).is_dynamic)
			g_array_append_val(parts->ports, port);
	}
}

static void add_command(const RunCmd *cmd, Parts *parts)
{
	unsigned n = cli_n_values(cmd->args, "COMMAND");

	for (unsigned i = 0; i < n; i++)
		g_ptr_array_add(parts->command, (char *)cli_value(cmd->args, "COMMAND", i)->text);
	g_ptr_array_add(parts->command, NULL);
}

/* ---- building ---- */

static GBytes *build_of_parts(const RunCmd *cmd, const GuestKernel *kernel, Parts *parts,
			      GError **error)
{
	bool has_agent = g_str_equal(cli_text(cmd->args, "agent"), "auto");
	GuestImageConfig image = {
		.kernel_version = kernel->version,
		.modules_dir = kernel->modules_dir,
		.root_tag = cli_given(cmd->args, "root") ? GUEST_ROOT_TAG : NULL,
		.has_net = cmd->config.has_net,
		.is_terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO),
		.term = g_getenv("TERM"),
	};

	add_mounts(cmd, parts);
	add_command(cmd, parts);
	if (has_agent)
		add_agent_ports(cmd, parts);
	image.mounts = (const GuestMount *)parts->mounts->data;
	image.n_mounts = parts->mounts->len;
	image.agent_ports = (const GuestPort *)parts->ports->data;
	image.n_agent_ports = parts->ports->len;
	/* With a pool of its own whoever uses the machine is to start it, or measure. */
	image.agent_arguments = parts->ports->len && !cmd->pool ? "" : NULL;
	image.tag = run_pool_tag(cmd);
	parts->motd = cmd->pool ? run_pool_motd(cmd) : NULL;
	image.motd = parts->motd;
	if (cmd->config.has_command)
		image.command = (const char *const *)parts->command->pdata;
	parts->directory = g_get_current_dir();
	if (is_in_guest(cmd, parts->directory))
		image.directory = parts->directory;
	terminal_size(STDIN_FILENO, &image.rows, &image.columns);
	return guest_image_build(&image, error);
}

static GBytes *build(const RunCmd *cmd, const GuestKernel *kernel, GError **error)
{
	Parts parts = {
		.mounts = g_array_new(FALSE, FALSE, sizeof(GuestMount)),
		.ports = g_array_new(FALSE, FALSE, sizeof(GuestPort)),
		.command = g_ptr_array_new(),
	};
	GBytes *bytes = build_of_parts(cmd, kernel, &parts, error);

	g_array_unref(parts.mounts);
	g_array_unref(parts.ports);
	g_ptr_array_unref(parts.command);
	g_free(parts.directory);
	g_free(parts.motd);
	return bytes;
}

/* OPTION: that named it. */
static GMappedFile *map_file(const char *option, const char *path, GError **error)
{
	g_autoptr(GMappedFile) file = NULL;

	if (!g_file_test(path, G_FILE_TEST_IS_REGULAR)) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_REGULAR_FILE,
			    "--%s %s: no such file, or not a regular one", option, path);
		return NULL;
	}
	file = g_mapped_file_new(path, FALSE, error);
	if (!file)
		g_prefix_error(error, "--%s: ", option);
	return g_steal_pointer(&file);
}

static bool append_file(GByteArray *all, const char *path, GError **error)
{
	g_autoptr(GMappedFile) file = map_file("initrd-add", path, error);
	static const guint8 zeros[4];

	if (!file)
		return false;
	if (g_mapped_file_get_length(file) > G_MAXUINT - sizeof(zeros) - all->len) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE,
			    "%s: the initial file system is larger than 4 GiB", path);
		return false;
	}
	/* Linux: archives begin at multiples of four bytes. */
	g_byte_array_append(all, zeros, -all->len % sizeof(zeros));
	g_byte_array_append(all, (const guint8 *)g_mapped_file_get_contents(file),
			    (guint)g_mapped_file_get_length(file));
	return true;
}

static bool append_files(RunCmd *cmd, GError **error)
{
	unsigned n = cli_n_values(cmd->args, "initrd-add");
	g_autoptr(GByteArray) all = NULL;

	if (!n)
		return true;
	all = cmd->initrd ? g_bytes_unref_to_array(g_steal_pointer(&cmd->initrd))
			  : g_byte_array_new();
	for (unsigned i = 0; i < n; i++) {
		if (!append_file(all, cli_value(cmd->args, "initrd-add", i)->text, error))
			return false;
	}
	cmd->initrd = g_byte_array_free_to_bytes(g_steal_pointer(&all));
	return true;
}

static bool make_initrd(RunCmd *cmd, const GuestKernel *kernel, GError **error)
{
	g_autoptr(GMappedFile) file = NULL;

	if (cli_given(cmd->args, "initrd")) {
		file = map_file("initrd", cli_text(cmd->args, "initrd"), error);
		if (!file)
			return false;
		cmd->initrd = g_mapped_file_get_bytes(file);
	} else {
		cmd->initrd = build(cmd, kernel, error);
		if (!cmd->initrd)
			return false;
	}
	return append_files(cmd, error);
}

ExitCode run_find_guest(RunCmd *cmd)
{
	g_auto(GuestKernel) kernel = { .path = NULL };
	g_autoptr(GError) error = NULL;

	if (cli_given(cmd->args, "initrd") && cmd->config.has_command) {
		cli_complain(cmd->args, "a command needs the initial file system made here: leave "
					"out --initrd, and see --initrd-add");
		return EXIT_USAGE;
	}
	if (!guest_kernel_find("", cli_text(cmd->args, "kernel"), &kernel, &error) ||
	    !make_initrd(cmd, &kernel, &error)) {
		cli_complain(cmd->args, "%s", error->message);
		return EXIT_REFUSED;
	}
	cmd->config.kernel.path = run_keep(cmd, g_steal_pointer(&kernel.path));
	cmd->config.initrd.bytes = cmd->initrd;
	return EXIT_DONE;
}
