/* SPDX-License-Identifier: BSD-3-Clause */
/* Machine: boots its parts, waits for the end and for signals, and boots again if so asked. */
#include "machine/machine_parts.h"

#include "util/autofd.h"

#include <errno.h>
#include <gio/gio.h>
#include <glib-unix.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>

#define POWER_OFF_SECONDS 10 /* a guest that was asked to end gets so long */

/* A guest that reboots while its pool is being restarted waits for it, trying so often. */
#define POOL_PATIENCE (30 * G_USEC_PER_SEC)
#define RETRY_MS      250

typedef struct Run {
	const MachineConfig *config;
	MachineParts *parts; /* without a VM while a pool is waited for */
	Uuid session;
	bool has_booted; /* before */
	GMainContext *context;
	unsigned n_signals;

	pthread_mutex_t lock; /* of what follows */
	bool has_ended;
	MachineEnd end;
	char *why;
} Run;

static void say(const Run *run, const char *line)
{
	if (run->config->log)
		run->config->log(run->config->opaque, line);
}

/* ---- ends ---- */

static void stop(void *opaque, MachineEnd end, const char *why)
{
	Run *run = opaque;

	pthread_mutex_lock(&run->lock);
	if (!run->has_ended) {
		run->has_ended = true;
		run->end = end;
		run->why = g_strdup(why);
	}
	pthread_mutex_unlock(&run->lock);
	g_main_context_wakeup(run->context);
}

static gboolean on_impatience(gpointer opaque)
{
	Run *run = opaque;

	say(run, "the guest does not switch itself off");
	stop(run, MACHINE_END_ASKED, NULL);
	return G_SOURCE_REMOVE;
}

/* The first asks a guest that can be asked, the second does not ask. */
static void ask_to_end(Run *run)
{
	g_autoptr(GSource) patience = NULL;

	if (run->n_signals++ || run->config->has_command || !run->parts->vm ||
	    kvm_vm_pulse(run->parts->vm, MACHINE_GSI_GED)) {
		stop(run, MACHINE_END_ASKED, NULL);
		return;
	}
	patience = g_timeout_source_new_seconds(POWER_OFF_SECONDS);
	g_source_set_callback(patience, on_impatience, run, NULL);
	g_source_attach(patience, run->context);
}

static gboolean on_signal(gint fd, GIOCondition condition, gpointer opaque)
{
	Run *run = opaque;
	struct signalfd_siginfo info;

	if (read(fd, &info, sizeof(info)) != sizeof(info))
		return G_SOURCE_CONTINUE;
	if (info.ssi_signo != SIGWINCH)
		ask_to_end(run);
	else if (run->parts->stdio)
		guest_stdio_resize(run->parts->stdio);
	return G_SOURCE_CONTINUE;
}

static bool has_ended(Run *run)
{
	bool ended;

	pthread_mutex_lock(&run->lock);
	ended = run->has_ended;
	pthread_mutex_unlock(&run->lock);
	return ended;
}

/* ---- one boot ---- */

static void watch_signals(Run *run, int fd)
{
	g_autoptr(GSource) source = g_unix_fd_source_new(fd, G_IO_IN);

	g_source_set_callback(source, G_SOURCE_FUNC(on_signal), run, NULL);
	g_source_attach(source, run->context);
}

/* A panic with a reboot after it, and a command that ends before the machine does. */
static void settle_end(Run *run, int *ret_code)
{
	GuestStdio *stdio = run->parts->stdio;

	if (guest_stdio_has_panicked(stdio) && run->end != MACHINE_END_ASKED)
		run->end = MACHINE_END_PANIC;
	else if (run->config->has_command && run->end == MACHINE_END_POWER_OFF &&
		 guest_stdio_command_code(stdio, ret_code))
		run->end = MACHINE_END_COMMAND;
	if (run->end == MACHINE_END_COMMAND)
		guest_stdio_command_code(stdio, ret_code);
}

static bool died(MachineEnd end)
{
	return end == MACHINE_END_PANIC || end == MACHINE_END_TRIPLE || end == MACHINE_END_KVM;
}

static void tell_why(Run *run)
{
	const MachineConfig *config = run->config;
	bool lacks_code = config->has_command && run->end != MACHINE_END_COMMAND &&
			  run->end != MACHINE_END_ASKED;

	/* Who sees the console has seen it. */
	if (config->has_command && !config->verbose && (died(run->end) || lacks_code))
		fputs(guest_stdio_console(run->parts->stdio), stderr);
	if (run->why)
		say(run, run->why);
}

static void signals_set(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
}

/*
 * What is left to do may wait for whoever reads the guest's output, or for a daemon. A signal then
 * does what it does to any program; helpers end with it.
 */
static void stop_parts(const Run *run)
{
	sigset_t set;

	signals_set(&set);
	/* One that comes between two boots is for the next. */
	if (run->end != MACHINE_END_REBOOT)
		pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	machine_parts_stop(run->parts);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static gboolean set_flag(gpointer opaque)
{
	*(bool *)opaque = true;
	return G_SOURCE_REMOVE;
}

/* Or until it is to end. */
static void wait_ms(Run *run, unsigned ms)
{
	g_autoptr(GSource) source = g_timeout_source_new(ms);
	bool is_over = false;

	g_source_set_callback(source, set_flag, &is_over, NULL);
	g_source_attach(source, run->context);
	while (!is_over && !has_ended(run))
		g_main_context_iteration(run->context, TRUE);
	g_source_destroy(source);
}

/*
 * True: the pool of a device may just be restarting, and has been waited for a little. It may have
 * died at any step of being connected, so what went wrong does not matter: all was well before.
 */
static bool waits_for_pool(Run *run, gint64 until, const GError *why, bool is_first_try)
{
	g_autofree char *line = NULL;

	if (!run->has_booted || g_get_monotonic_time() >= until)
		return false;
	line = g_strdup_printf("%s; the reboot is tried again", why->message);
	if (is_first_try)
		say(run, line);
	wait_ms(run, RETRY_MS);
	return !has_ended(run);
}

/* False without an error: it is to end. */
static bool make_parts(Run *run, GError **error)
{
	gint64 until = g_get_monotonic_time() + POOL_PATIENCE;

	for (bool is_first_try = true;; is_first_try = false) {
		g_autoptr(GError) why = NULL;

		*run->parts = (MachineParts){ .session = run->session };
		if (machine_parts_make(run->parts, run->config, stop, run, &why))
			return true;
		machine_parts_clear(run->parts);
		if (waits_for_pool(run, until, why, is_first_try))
			continue;
		if (!has_ended(run))
			g_propagate_error(error, g_steal_pointer(&why));
		return false;
	}
}

/* Said once, to who wants to know; softdcd doctor has the cure. */
static void tell_limits(const Run *run)
{
	if (run->has_booted || !run->config->verbose || !run->config->n_devices ||
	    kvm_vm_unmap_is_cheap(run->parts->vm))
		return;
	say(run, "this kernel's KVM unmaps all of the guest's memory whenever an extent is given "
		 "back; Linux 6.12 and later do not");
}

static bool boot(Run *run, int signal_fd, int *ret_code, GError **error)
{
	g_autofree MachineParts *parts = g_new0(MachineParts, 1);
	bool ok;

	run->parts = parts;
	run->has_ended = false;
	watch_signals(run, signal_fd);
	if (!make_parts(run, error))
		return has_ended(run);
	tell_limits(run);
	ok = machine_parts_start(parts, error);
	if (ok) {
		while (!has_ended(run))
			g_main_context_iteration(run->context, TRUE);
		stop_parts(run);
		settle_end(run, ret_code);
		tell_why(run);
	}
	machine_parts_clear(parts);
	return ok;
}

/* One that reboots when asked to end, or for ever, has ended with that. */
static bool boots_again(Run *run)
{
	if (run->end != MACHINE_END_REBOOT || run->config->no_reboot || run->config->has_command)
		return false;
	if (run->n_signals)
		run->end = MACHINE_END_ASKED;
	return !run->n_signals;
}

bool machine_run(const MachineConfig *config, MachineEnd *ret_end, int *ret_code, GError **error)
{
	Run run = { .config = config };
	AUTOFD int signal_fd = -EBADF;
	sigset_t set, old;
	bool ok;

	signals_set(&set);
	sigaddset(&set, SIGWINCH);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	pthread_mutex_init(&run.lock, NULL);
	uuid_random(&run.session);
	do {
		/* Anew, so that nothing of the last boot is left in it. */
		run.context = g_main_context_new();
		g_clear_pointer(&run.why, g_free);
		ok = boot(&run, signal_fd, ret_code, error);
		g_main_context_unref(run.context);
		run.has_booted = true;
	} while (ok && boots_again(&run));
	pthread_mutex_destroy(&run.lock);
	g_free(run.why);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ok)
		*ret_end = run.end;
	return ok;
}
