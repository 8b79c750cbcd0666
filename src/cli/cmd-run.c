/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd run: boots Linux in the KVM machine, with devices of a pool. */
#include "cli/cmd.h"
#include "cli/run.h"

#include "machine/guest_command.h"
#include "machine/kvm_probe.h"
#include "util/nofile.h"
#include "util/size.h"

#include <signal.h>
#include <string.h>

#define PHYS_BITS 52 /* the most there can be; where devices are does not depend on them */

/* How the guest has ended, if it has no exit code of its own to give; none of the common ones. */
enum {
	EXIT_RUN_REBOOT = 10,
	EXIT_RUN_TRIPLE = 11,
	EXIT_RUN_PANIC = 12,
	EXIT_RUN_KVM = 13,
	EXIT_RUN_ASKED = 14,
};

/* ---- options ---- */

static bool read_windows(RunCmd *cmd)
{
	for (unsigned i = 0; i < cli_n_values(cmd->args, "window"); i++) {
		const char *text = cli_value(cmd->args, "window", i)->text;
		g_autoptr(GError) error = NULL;
		MachineWindowSpec spec;
		uint64_t len;

		if (size_parse(text, &len, NULL)) {
			if (len == 0) {
				cli_complain(cmd->args, "--window 0: must be at least 256 MiB");
				return false;
			}
			cmd->config.default_window_len = len;
			continue;
		}
		if (!machine_window_spec_parse(text,
					       &g_array_index(cmd->traits, MachineDeviceTraits, 0),
					       cmd->traits->len, &spec, &error)) {
			cli_complain(cmd->args, "%s", error->message);
			return false;
		}
		g_array_append_val(cmd->windows, spec);
	}
	return true;
}

const char *run_keep(RunCmd *cmd, char *text)
{
	g_ptr_array_add(cmd->texts, text);
	return text;
}

/* OPTION: that named it. */
static bool add_share(RunCmd *cmd, const char *option, const char *dir, const char *tag)
{
	MachineShare share = { .dir = run_keep(cmd, g_canonicalize_filename(dir, NULL)) };
	g_autofree char *name = g_path_get_basename(share.dir);

	if (!tag)
		tag = g_str_equal(name, "/") ? "root" : name;
	if (!g_file_test(dir, G_FILE_TEST_IS_DIR)) {
		cli_complain(cmd->args, "--%s %s: no such directory", option, dir);
		return false;
	}
	if (!*tag || strlen(tag) > MACHINE_SHARE_TAG_MAX) {
		cli_complain(cmd->args, "--%s %s: the tag \"%s\" must be 1 to %d bytes long",
			     option, dir, tag, MACHINE_SHARE_TAG_MAX);
		return false;
	}
	share.tag = run_keep(cmd, g_strdup(tag));
	for (guint i = 0; i < cmd->shares->len; i++) {
		if (!g_str_equal(g_array_index(cmd->shares, MachineShare, i).tag, tag))
			continue;
		cli_complain(cmd->args, "two directories with the tag %s; give one as DIR:TAG",
			     tag);
		return false;
	}
	g_array_append_val(cmd->shares, share);
	return true;
}

static bool read_shares(RunCmd *cmd)
{
	if (cli_given(cmd->args, "root") &&
	    !add_share(cmd, "root", cli_text(cmd->args, "root"), GUEST_ROOT_TAG))
		return false;
	for (unsigned i = 0; i < cli_n_values(cmd->args, "share"); i++) {
		g_autofree char *dir = g_strdup(cli_value(cmd->args, "share", i)->text);
		char *colon = strrchr(dir, ':');

		if (colon)
			*colon++ = '\0';
		if (!add_share(cmd, "share", dir, colon))
			return false;
	}
	return true;
}

static void on_log(void *opaque, const char *line)
{
	RunCmd *cmd = opaque;

	cli_complain(cmd->args, "%s", line);
}

/* What the command line alone makes impossible is refused before anything is built. */
static bool compute_layout(RunCmd *cmd)
{
	g_autoptr(GError) error = NULL;
	const MachineTopology topology = {
		.devices = &g_array_index(cmd->traits, MachineDeviceTraits, 0),
		.n_devices = cmd->config.n_devices,
		.windows = cmd->config.windows,
		.n_windows = cmd->config.n_windows,
		.default_window_len = cmd->config.default_window_len,
	};

	if (machine_layout_compute(&topology, cmd->config.ram_len, cmd->config.n_cpus, PHYS_BITS,
				   &cmd->layout, &error))
		return true;
	cli_complain(cmd->args, "%s", error->message);
	return false;
}

static bool read_options(RunCmd *cmd)
{
	const CliArgs *args = cmd->args;

	if (!read_windows(cmd) || !read_shares(cmd))
		return false;
	cmd->config.ram_len = cli_value(args, "memory", 0)->number;
	cmd->config.n_cpus = (unsigned)cli_value(args, "cpus", 0)->number;
	cmd->config.cmdline = cli_text(args, "append");
	cmd->config.devices = &g_array_index(cmd->machine_devices, MachineDevice, 0);
	cmd->config.n_devices = cmd->devices->len;
	cmd->config.windows = &g_array_index(cmd->windows, MachineWindowSpec, 0);
	cmd->config.n_windows = cmd->windows->len;
	cmd->config.shares = &g_array_index(cmd->shares, MachineShare, 0);
	cmd->config.n_shares = cmd->shares->len;
	cmd->config.has_net = cli_flag(args, "net");
	cmd->config.no_dma = g_str_equal(cli_text(args, "dma"), "off");
	cmd->config.has_command = cli_n_values(args, "COMMAND") != 0;
	cmd->config.verbose = cli_flag(args, "verbose");
	cmd->config.no_reboot = cli_flag(args, "no-reboot");
	cmd->config.log = on_log;
	cmd->config.opaque = cmd;
	return compute_layout(cmd);
}

/* ---- running ---- */

/* Was it this host's KVM, or something the guest did? */
static void explain_kvm(const RunCmd *cmd)
{
	g_autofree char *why = NULL;

	if (kvm_probe(NULL, &why) != KVM_PROBE_OK)
		cli_complain(cmd->args, "%s", why);
	else
		cli_complain(cmd->args, "vector instructions on memory that is not there, such as "
					"an extent that was given back, may be the cause");
}

static ExitCode exit_of(RunCmd *cmd, MachineEnd end, int code)
{
	switch (end) {
	case MACHINE_END_COMMAND:
		return (ExitCode)code;
	case MACHINE_END_POWER_OFF:
		if (!cmd->config.has_command)
			return EXIT_DONE;
		cli_complain(cmd->args, "the guest has ended without its command's exit code");
		return EXIT_REFUSED;
	case MACHINE_END_REBOOT:
		if (cmd->config.has_command)
			cli_complain(cmd->args, "the guest has rebooted before its command ended");
		return (ExitCode)EXIT_RUN_REBOOT;
	case MACHINE_END_TRIPLE:
		cli_complain(cmd->args, "the guest has ended by a triple fault");
		return (ExitCode)EXIT_RUN_TRIPLE;
	case MACHINE_END_PANIC:
		cli_complain(cmd->args, "the guest's kernel has panicked");
		return (ExitCode)EXIT_RUN_PANIC;
	case MACHINE_END_KVM:
		explain_kvm(cmd);
		return (ExitCode)EXIT_RUN_KVM;
	case MACHINE_END_ASKED:
	default:
		return (ExitCode)EXIT_RUN_ASKED;
	}
}

static ExitCode run_machine(RunCmd *cmd)
{
	g_autoptr(GError) error = NULL;
	MachineEnd end;
	int code = 0;

	if (!machine_run(&cmd->config, &end, &code, &error)) {
		cli_complain(cmd->args, "%s", error->message);
		return EXIT_REFUSED;
	}
	return exit_of(cmd, end, code);
}

/* Before there is any other thread, which would get them. */
static void block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static ExitCode run(const CliArgs *args)
{
	RunCmd cmd = {
		.args = args,
		.devices = g_array_new(FALSE, FALSE, sizeof(RunDevice)),
		.machine_devices = g_array_new(FALSE, FALSE, sizeof(MachineDevice)),
		.traits = g_array_new(FALSE, FALSE, sizeof(MachineDeviceTraits)),
		.windows = g_array_new(FALSE, FALSE, sizeof(MachineWindowSpec)),
		.shares = g_array_new(FALSE, FALSE, sizeof(MachineShare)),
		.texts = g_ptr_array_new_with_free_func(g_free),
	};
	ExitCode code;

	/* Each extent comes with a file. */
	nofile_raise(NOFILE_WANTED);
	block_signals();
	run_sweep_all();
	if (!cli_n_values(args, "device"))
		code = run_start_pool(&cmd);
	else if ((code = run_refuse_pool_options(&cmd)) == EXIT_DONE)
		code = run_find_devices(&cmd);
	if (code == EXIT_DONE && !read_options(&cmd))
		code = EXIT_USAGE;
	if (code == EXIT_DONE)
		code = run_check_pool(&cmd);
	if (code == EXIT_DONE)
		code = run_find_guest(&cmd);
	if (code == EXIT_DONE)
		code = run_machine(&cmd);
	run_end_pool(cmd.pool);
	g_clear_pointer(&cmd.initrd, g_bytes_unref);
	g_array_unref(cmd.devices);
	g_array_unref(cmd.machine_devices);
	g_array_unref(cmd.traits);
	g_array_unref(cmd.windows);
	g_array_unref(cmd.shares);
	g_ptr_array_unref(cmd.texts);
	return code;
}

/* ---- the row ---- */

static const char *const on_off[] = { "on", "off", NULL };
static const char *const agent_modes[] = { "auto", "off", NULL };

static const CliParam positionals[] = {
	{ .name = "COMMAND",
	  .type = CLI_TEXT,
	  .repeatable = true,
	  .help = "run this in the guest, after --, and end with its exit code" },
	{ .name = NULL },
};

static const CliParam options[] = {
	{ .name = "device",
	  .type = CLI_NAME,
	  .meta = "NAME",
	  .repeatable = true,
	  .source = CLI_FROM_DEVICES,
	  .help = "a device of the pool for the guest; without it the machine gets a pool of its "
		  "own, which ends with it" },
	{ .name = "dc",
	  .type = CLI_SIZE,
	  .help = "dynamic capacity of the own pool, a multiple of 256 MiB; default 4G without "
		  "--ram and --pmem, else none" },
	{ .name = "ram",
	  .type = CLI_SIZE,
	  .help = "static volatile capacity of the own pool, a multiple of 256 MiB; another "
		  "device" },
	{ .name = "pmem",
	  .type = CLI_SIZE,
	  .help = "static persistent capacity of that device, forgotten at the end" },
	{ .name = "kernel",
	  .type = CLI_TEXT,
	  .meta = "FILE",
	  .source = CLI_FROM_FILES,
	  .help = "the kernel to boot, a bzImage; without it the running one's, or the newest in "
		  "/boot" },
	{ .name = "initrd",
	  .type = CLI_TEXT,
	  .meta = "FILE",
	  .source = CLI_FROM_FILES,
	  .help = "its initial file system, instead of a small one made of programs of this "
		  "machine; it knows of no shares, network, agent or command" },
	{ .name = "initrd-add",
	  .type = CLI_TEXT,
	  .meta = "FILE",
	  .repeatable = true,
	  .source = CLI_FROM_FILES,
	  .help = "an archive to be unpacked over the initial file system" },
	{ .name = "agent",
	  .type = CLI_ENUM,
	  .values = agent_modes,
	  .fallback = "auto",
	  .help = "auto: devices with nothing but dynamic capacity are softdcd-agent's, which "
		  "accepts all; off: they are the kernel's" },
	{ .name = "append",
	  .type = CLI_TEXT,
	  .meta = "WORDS",
	  .help = "more for the kernel's command line" },
	{ .name = "memory",
	  .short_name = 'm',
	  .type = CLI_SIZE,
	  .fallback = "2G",
	  .help = "the guest's own memory, at least 64M, a multiple of 2 MiB" },
	{ .name = "cpus",
	  .type = CLI_UINT,
	  .min = 1,
	  .max = MACHINE_MAX_CPUS,
	  .fallback = "2",
	  .help = "how many CPUs the guest has, 1 to 255" },
	{ .name = "window",
	  .type = CLI_TEXT,
	  .meta = "SIZE|DEV[,DEV...][/DEV...][@GRANULARITY][=SIZE]",
	  .repeatable = true,
	  .help = "a CXL fixed memory window for these devices, see Windows in the manual page; a "
		  "size alone is that of all windows, 16G without it" },
	{ .name = "share",
	  .type = CLI_TEXT,
	  .meta = "DIR[:TAG]",
	  .repeatable = true,
	  .source = CLI_FROM_DIRECTORIES,
	  .help = "let the guest mount this directory by virtiofs; the tag is the directory's name "
		  "without it" },
	{ .name = "root",
	  .type = CLI_TEXT,
	  .meta = "DIR",
	  .source = CLI_FROM_DIRECTORIES,
	  .help = "this directory is the guest's root file system" },
	{ .name = "net", .type = CLI_FLAG, .help = "give the guest a network, by passt" },
	{ .name = "dma",
	  .type = CLI_ENUM,
	  .values = on_off,
	  .fallback = "on",
	  .help = "whether shares and network may use dynamic memory for their data" },
	{ .name = "no-reboot",
	  .type = CLI_FLAG,
	  .help = "end when the guest reboots, with exit code 10; with a command it always "
		  "ends then" },
	{ .name = "verbose",
	  .type = CLI_FLAG,
	  .help = "show all that the guest's kernel says; with a command, on stderr" },
	{ .name = NULL },
};

static const CliExample examples[] = {
	{ "run --kernel /boot/vmlinuz --initrd guest.img --device dev0",
	  "a guest with one device, its console on this terminal" },
	{ "run --kernel vmlinuz --device dev0 --device dev1 --window dev0/dev1@4096=8G -- lspci",
	  "interleave two devices across host bridges, run a command, and end" },
	{ .command = NULL },
};

static const CliSection sections[] = {
	{ "Windows",
	  "Each device gets a host bridge and a window of its own unless --window names it. "
	  "DEV,DEV are root ports below one host bridge, with one window for both; DEV/DEV are "
	  "below "
	  "two host bridges, and the window is interleaved across these, 256 bytes at a time or "
	  "what follows the @; by 4096 or more it is memory, by less slow. A window's size is a "
	  "multiple of 256 MiB for each host bridge." },
	{ "How the guest ends",
	  "With a command, its exit code is that of the verb. Else, or if there is none to be had: "
	  "0 the guest has switched itself off; 10 it has rebooted, with --no-reboot or a command; "
	  "11 a triple "
	  "fault; 12 its kernel has panicked; 13 KVM cannot go on; 14 it was ended by Ctrl-A x or "
	  "a signal. SIGTERM presses the power button of a guest without a command; a second one, "
	  "a "
	  "reboot, or ten seconds, end it. What could not be started is 1, 2, 4 or 5 as below." },
	{ .title = NULL },
};

static const char *const see_also[] = { "serve", "host", "offer", NULL };

const CliVerb verb_run = {
	.name = "run",
	.run = run,
	.summary = "boot Linux in a virtual machine with CXL memory of a pool",
	.text = "Boots an unmodified Linux kernel in a small KVM machine. Its CXL fixed memory "
		"windows "
		"lead to devices of the pool; what the guest accepts of them is mapped into it, "
		"and is as fast as its other memory.\n\n"
		"Without a command the guest's console is on this terminal: Ctrl-A x ends it, "
		"Ctrl-A "
		"twice sends one Ctrl-A. With a command stdin, stdout and stderr are the "
		"command's, "
		"and the console is shown only when the guest dies.",
	.positionals = positionals,
	.options = options,
	.examples = examples,
	.sections = sections,
	.see_also = see_also,
	.flags = CLI_VERB_CLIENT,
	.exits = 1 << EXIT_NO_OBJECT | 1 << EXIT_NO_DAEMON,
};
