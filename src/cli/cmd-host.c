/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd host: this process as the host of devices of a running pool. */
#include "cli/cmd.h"
#include "cli/host.h"
#include "cli/host_out.h"

#include "link/unix_connect.h"
#include "util/nofile.h"
#include "util/socket_dir.h"

#include <gio/gio.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#define POLL_MS    1000u
#define CONNECT_MS 1000u

/* ---- signals ---- */

/*
 * A thread of its own waits for them: the first asks the host to leave, which may take as long as a
 * pool that does not answer; the second ends the process as if nobody had asked for it.
 */
typedef struct Signals {
	pthread_t thread;
	ProcessHost *host;
	atomic_bool leaves;
	atomic_bool is_over;
} Signals;

#define SIGNAL_OVER SIGUSR1

static void signals_set(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGNAL_OVER);
}

static void die_of(int number)
{
	sigset_t set;

	signal(number, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, number);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	raise(number);
}

static void *signals_run(void *opaque)
{
	Signals *signals = opaque;
	sigset_t set;
	int number;

	signals_set(&set);
	for (;;) {
		if (sigwait(&set, &number))
			continue;
		if (atomic_load(&signals->is_over))
			return NULL;
		if (number == SIGNAL_OVER)
			continue;
		if (atomic_exchange(&signals->leaves, true))
			die_of(number);
		process_host_wake(signals->host);
	}
}

/* Block: before any other thread, so that all of them leave the signals to ours. */
static void signals_mask(int how)
{
	sigset_t set;

	signals_set(&set);
	pthread_sigmask(how, &set, NULL);
}

static bool signals_start(Signals *signals, ProcessHost *host)
{
	*signals = (Signals){ .host = host };
	return pthread_create(&signals->thread, NULL, signals_run, signals) == 0;
}

static void signals_stop(Signals *signals)
{
	atomic_store(&signals->is_over, true);
	pthread_kill(signals->thread, SIGNAL_OVER);
	pthread_join(signals->thread, NULL);
}

/* ---- what the process host tells ---- */

static void on_away(void *opaque, unsigned port, const char *why)
{
	HostCmd *cmd = opaque;

	host_tell_away(&cmd->devices[port], why);
}

static void on_resumed(void *opaque, unsigned port, bool kept, uint64_t away_us)
{
	HostCmd *cmd = opaque;
	HostDevice *device = &cmd->devices[port];

	device->is_back = true;
	device->is_stale = true;
	device->recheck_until_us = g_get_monotonic_time() + HOST_RECHECK_US;
	host_tell_resumed(device, kept, away_us);
}

static void on_remapped(void *opaque, unsigned port)
{
	HostCmd *cmd = opaque;

	host_device_remapped(&cmd->devices[port]);
}

static void on_log(void *opaque, const char *line)
{
	const HostCmd *cmd = opaque;

	cli_complain(cmd->args, "%s", line);
}

/* ---- setting up ---- */

static bool is_served(const char *dir)
{
	g_autofree char *path = g_build_filename(dir, "qmp.sock", NULL);
	int fd = unix_connect(path, SOCK_STREAM, CONNECT_MS, NULL);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* A device that is not there is one thing, a pool that is not there another. */
static ExitCode why_not(const HostCmd *cmd, const char *dir, const char *name, const GError *error)
{
	bool absent = g_error_matches(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND) ||
		      g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED);

	if (!absent) {
		cli_complain(cmd->args, "%s: %s; does it have another host already?", name,
			     error->message);
		return EXIT_REFUSED;
	}
	if (is_served(dir)) {
		cli_complain(cmd->args,
			     "pool %s has no device %s; softdcd list -D shows those it has",
			     cli_text(cmd->args, "pool"), name);
		return EXIT_NO_OBJECT;
	}
	cli_complain(cmd->args,
		     "nobody serves pool %s in %s; start it with: softdcd serve --name %s",
		     cli_text(cmd->args, "pool"), dir, cli_text(cmd->args, "pool"));
	return EXIT_NO_DAEMON;
}

static ExitCode connect_device(HostCmd *cmd, const char *dir, const char *name)
{
	g_autofree char *vfio_name = g_strconcat(name, ".vfio", NULL);
	g_autofree char *mem_name = g_strconcat(name, ".mem", NULL);
	g_autoptr(GError) error = NULL;
	g_autofree char *vfio_path = socket_dir_socket_path(dir, vfio_name, &error);
	g_autofree char *mem_path = vfio_path ? socket_dir_socket_path(dir, mem_name, &error)
					      : NULL;
	int port;

	if (!mem_path) {
		cli_complain(cmd->args, "%s", error->message);
		return EXIT_REFUSED;
	}
	for (unsigned i = 0; i < cmd->n_devices; i++) {
		if (g_str_equal(cmd->devices[i].name, name)) {
			cli_complain(cmd->args, "device %s is named twice", name);
			return EXIT_USAGE;
		}
	}
	port = process_host_connect(cmd->host, vfio_path, mem_path, &error);
	if (port < 0)
		return why_not(cmd, dir, name, error);
	host_device_init(&cmd->devices[cmd->n_devices++], cmd, name, (unsigned)port);
	return EXIT_DONE;
}

static ExitCode connect_all(HostCmd *cmd)
{
	unsigned n = cli_n_values(cmd->args, "device");
	g_autoptr(GError) error = NULL;
	g_autofree char *dir = cli_given(cmd->args, "socket")
				       ? g_path_get_dirname(cli_text(cmd->args, "socket"))
				       : socket_dir_find(cli_text(cmd->args, "pool"), &error);

	if (!dir) {
		cli_complain(cmd->args, "%s", error->message);
		return EXIT_REFUSED;
	}
	if (n > PROCESS_HOST_MAX_PORTS) {
		cli_complain(cmd->args, "%u devices, but a host has %u ports", n,
			     PROCESS_HOST_MAX_PORTS);
		return EXIT_USAGE;
	}
	cmd->devices = g_new0(HostDevice, n);
	for (unsigned i = 0; i < n; i++) {
		ExitCode code = connect_device(cmd, dir, cli_value(cmd->args, "device", i)->text);

		if (code != EXIT_DONE)
			return code;
	}
	return EXIT_DONE;
}

static bool start_devices(HostCmd *cmd)
{
	g_autoptr(GError) error = NULL;

	if (!process_host_start(cmd->host, &error)) {
		cli_complain(cmd->args, "%s", error->message);
		return false;
	}
	for (unsigned i = 0; i < cmd->n_devices; i++) {
		HostDevice *device = &cmd->devices[i];

		host_tell_attached(device);
		if (!process_host_serve(cmd->host, device->port, &host_dcd_ops, device, NULL,
					&error)) {
			cli_complain(cmd->args, "%s: %s", device->name, error->message);
			return false;
		}
	}
	return true;
}

/* ---- running ---- */

static void settle(HostCmd *cmd)
{
	for (unsigned i = 0; i < cmd->n_devices; i++) {
		HostDevice *device = &cmd->devices[i];

		host_device_settle(device);
		if (!device->is_back || process_host_is_away(cmd->host, device->port))
			continue;
		device->is_back = false;
		host_device_verify(device);
	}
}

static ExitCode serve(HostCmd *cmd, Signals *signals)
{
	g_autoptr(GError) error = NULL;

	while (!atomic_load(&signals->leaves)) {
		int n = process_host_poll(cmd->host, POLL_MS, &error);

		settle(cmd);
		if (cmd->has_mismatch)
			return EXIT_REFUSED;
		if (n < 0) {
			cli_complain(cmd->args, "%s", error->message);
			return g_error_matches(error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT)
				       ? EXIT_TIMED_OUT
				       : EXIT_REFUSED;
		}
	}
	return EXIT_DONE;
}

static ExitCode leave(HostCmd *cmd)
{
	bool ok = true;

	for (unsigned i = 0; i < cmd->n_devices; i++) {
		ok = host_device_verify(&cmd->devices[i]) && ok;
		if (!cli_flag(cmd->args, "keep") && !cmd->has_mismatch)
			ok = host_device_leave(&cmd->devices[i]) && ok;
	}
	if (cmd->has_mismatch)
		return EXIT_REFUSED;
	for (unsigned i = 0; i < cmd->n_devices; i++)
		host_tell_left(&cmd->devices[i]);
	return ok ? EXIT_DONE : EXIT_REFUSED;
}

static ExitCode run_host(HostCmd *cmd)
{
	ExitCode code = connect_all(cmd);
	Signals signals;

	if (code != EXIT_DONE)
		return code;
	if (!signals_start(&signals, cmd->host)) {
		cli_complain(cmd->args, "cannot start a thread");
		return EXIT_REFUSED;
	}
	code = start_devices(cmd) ? serve(cmd, &signals) : EXIT_REFUSED;
	if (code == EXIT_DONE)
		code = leave(cmd);
	signals_stop(&signals);
	return code;
}

static ExitCode run(const CliArgs *args)
{
	HostCmd cmd = {
		.args = args,
		.is_human = cli_flag(args, "human") ||
			    (!cli_flag(args, "json") && isatty(STDOUT_FILENO)),
		.checks = cli_given(args, "check"),
		.expects_zeros = cli_flag(args, "expect-zeros"),
	};
	ProcessHostConfig config = {
		.window_len = cli_value(args, "window", 0)->number,
		.ops = { .away = on_away, .resumed = on_resumed, .remapped = on_remapped },
		.opaque = &cmd,
		.log = on_log,
		.log_opaque = &cmd,
	};
	g_autoptr(GError) error = NULL;
	ExitCode code;

	if (cxl_accept_list_parse(cli_text(args, "accept"), &cmd.accept) < 0) {
		cli_complain(args,
			     "--accept %s: not all, none, or a list of tags (UUIDs) with commas",
			     cli_text(args, "accept"));
		return EXIT_USAGE;
	}
	if (cmd.checks)
		cmd.seed = cli_value(args, "check", 0)->number;
	if (cli_given(args, "reconnect-timeout"))
		config.reconnect_ms = (unsigned)MIN(cli_value(args, "reconnect-timeout", 0)->number,
						    (uint64_t)UINT_MAX);
	signals_mask(SIG_BLOCK);
	cmd.out = host_out_new(STDOUT_FILENO);
	/* Each tag comes with a file. */
	nofile_raise(NOFILE_WANTED);
	cmd.host = process_host_new(&config, &error);
	if (cmd.host) {
		cli_complain(args, "a path that is told here may be opened by other programs of "
				   "this user; what they map stays theirs after it is given back, "
				   "and nothing guards it");
		code = run_host(&cmd);
	} else {
		cli_complain(args, "%s", error->message);
		code = EXIT_REFUSED;
	}
	process_host_free(cmd.host);
	/* What is left may take as long as its reader likes. */
	signals_mask(SIG_UNBLOCK);
	host_out_free(cmd.out);
	for (unsigned i = 0; i < cmd.n_devices; i++)
		host_device_clear(&cmd.devices[i]);
	g_free(cmd.devices);
	cxl_accept_list_clear(&cmd.accept);
	return code;
}

static const CliParam options[] = {
	{ .name = "device",
	  .type = CLI_NAME,
	  .meta = "NAME",
	  .required = true,
	  .repeatable = true,
	  .source = CLI_FROM_DEVICES,
	  .help = "be the host of this device" },
	{ .name = "window",
	  .type = CLI_SIZE,
	  .fallback = "16G",
	  .help = "host physical addresses for all devices, a multiple of 256 MiB; must hold the "
		  "whole of their regions and partitions" },
	{ .name = "accept",
	  .type = CLI_TEXT,
	  .meta = "all|none|TAG,...",
	  .fallback = "all",
	  .help = "accept what is offered, decline it, or accept these tags only" },
	{ .name = "keep",
	  .type = CLI_FLAG,
	  .help = "on SIGTERM leave what is accepted accepted, for the next host" },
	{ .name = "reconnect-timeout",
	  .type = CLI_DURATION,
	  .help = "end when a device has been away for so long; without it, never" },
	{ .name = "expect-zeros", .type = CLI_FLAG, .hidden = true },
	{ .name = "check",
	  .type = CLI_UINT,
	  .meta = "SEED",
	  .help = "fill what is accepted with a pattern of this seed; verify it before it is given "
		  "back and after the pool was away" },
	{ 0 },
};

static const CliExample examples[] = {
	{ "host --device dev0", "accept all that dev0 is offered, and tell where it is mapped" },
	{ "host --device dev0 --device dev1 --window 64G --accept 5be1f00d-2a6b-4f43-9c1e-"
	  "0d5f3ac0ffee",
	  "two devices, and of their offers one tag" },
	{ "host --device dev0 --check 1", "test the memory, and the pool" },
	{ 0 },
};

static const CliSection sections[] = {
	{ "Events",
	  "Each line of output is an object with event, time (microseconds since 1970) and "
	  "device.\n"
	  "\n"
	  "attached: the window's hpa, len and address in this process.\n"
	  "\n"
	  "accepted: tag, len, and as maps where each part is: dpa, hpa, address, len, and path "
	  "and "
	  "offset of the file behind it, of which incarnation names the present contents. "
	  "recovered: "
	  "it was accepted before this host came. remapped: the same, where only the file has "
	  "changed.\n"
	  "\n"
	  "released: given back; why is asked or leaving. kept: asked for, but pinned. lost: taken "
	  "away (forced), no longer known after a restart of the pool (gone), or with contents "
	  "that "
	  "did not outlive it (contents).\n"
	  "\n"
	  "reconnecting: the pool is away; what is accepted stays mapped and keeps its contents. "
	  "resumed: it is back; session is kept, or new when the pool did not know this host any "
	  "more.\n"
	  "\n"
	  "mismatch: memory does not hold what --check has written. left: the end." },
	{ "Using the memory",
	  "Another program of the same user opens the path of a map and maps it at its offset. It "
	  "should take a shared flock(2) on it first: what is locked is not given back when the "
	  "device asks. This is an agreement, not a guarantee: a descriptor that another program "
	  "holds is outside all promises of softdcd. What it has mapped stays mapped after a "
	  "release, and shows, for memory that is wiped by a fresh file, what nobody else uses any "
	  "more." },
	{ "Signals", "SIGTERM and SIGINT: everything is given back (but see --keep), the devices "
		     "are left, exit "
		     "0. A second one ends the process at once." },
	{ 0 },
};

static const char *const see_also[] = { "serve", "offer", "release", "list", NULL };

const CliVerb verb_host = {
	.name = "host",
	.run = run,
	.summary = "be the host of devices: accept memory and tell where it is mapped",
	.text = "Attaches this process to devices of a running pool, programs their decoders, "
		"accepts "
		"capacity by a policy, and gives it back when it is asked for. What is accepted is "
		"ordinary memory of this process, at the speed of memory.\n"
		"\n"
		"A pool that ends, however it ends, takes nothing away: the memory stays mapped, "
		"and "
		"when the pool is back the host goes on where it was.\n"
		"\n"
		"With --check a mismatch ends the host with exit code 1, and nothing is given "
		"back. "
		"What is found accepted at the start is verified if a host with the same seed had "
		"filled it, and filled otherwise.",
	.options = options,
	.examples = examples,
	.sections = sections,
	.see_also = see_also,
	.flags = CLI_VERB_CLIENT | CLI_VERB_OUTPUT,
	.exits = 1 << EXIT_NO_OBJECT | 1 << EXIT_NO_DAEMON | 1 << EXIT_TIMED_OUT,
};
