/* SPDX-License-Identifier: BSD-3-Clause */
/* Dying and stalling on purpose. */
#include "pool/pool_fault.h"

#include <gio/gio.h>

#include <signal.h>
#include <string.h>
#include <unistd.h>

#define N_STEPS (G_N_ELEMENTS(steps))

static const char *const steps[] = {
	"ledger-before-commit",
	"ledger-after-commit",
	"after-prepare",
	"after-commit-before-expose",
	"after-expose-before-reply",
	"after-revoke-before-wipe",
	"mid-wipe",
	"after-new-file-before-drop",
};

struct PoolFault {
	GMutex lock;
	int step; /* index, -1 = none */
	guint64 at;
	guint64 n_passed[N_STEPS];
	bool report, doomed;
	guint64 stall_us[POOL_N_STALLS];
	gint64 stall_until_us;
};

static int find_step(const char *name, size_t len)
{
	for (size_t i = 0; i < N_STEPS; i++)
		if (strlen(steps[i]) == len && strncmp(steps[i], name, len) == 0)
			return (int)i;
	return -1;
}

static bool read_fault(PoolFault *fault, const char *text, GError **error)
{
	const char *colon = strchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : strlen(text);

	fault->step = find_step(text, len);
	fault->at = 1;
	if (fault->step >= 0 &&
	    (!colon || g_ascii_string_to_unsigned(colon + 1, 10, 1, G_MAXUINT32, &fault->at, NULL)))
		return true;
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
		    "--fault %s: is no STEP or STEP:N; pool_fault.h lists the steps", text);
	return false;
}

static bool read_stall(PoolFault *fault, const char *text, GError **error)
{
	static const char *const names[] = { "ledger:", "wipe:" };
	guint64 seconds;

	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		if (g_str_has_prefix(text, names[i]) &&
		    g_ascii_string_to_unsigned(text + strlen(names[i]), 10, 1, 3600, &seconds,
					       NULL)) {
			fault->stall_us[i] = seconds * G_USEC_PER_SEC;
			return true;
		}
	}
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
		    "--stall %s: is neither ledger:SECONDS nor wipe:SECONDS", text);
	return false;
}

PoolFault *pool_fault_new(const char *text, const char *stall, bool report, GError **error)
{
	PoolFault *fault = g_new0(PoolFault, 1);

	g_mutex_init(&fault->lock);
	fault->step = -1;
	fault->report = report;
	if ((!text || read_fault(fault, text, error)) &&
	    (!stall || read_stall(fault, stall, error)))
		return fault;
	pool_fault_free(fault);
	return NULL;
}

void pool_fault_free(PoolFault *fault)
{
	if (!fault)
		return;
	g_mutex_clear(&fault->lock);
	g_free(fault);
}

static void die(void)
{
	kill(getpid(), SIGKILL);
	pause();
}

/* True if it is time. */
static bool count(PoolFault *fault, const char *name)
{
	int step = find_step(name, strlen(name));
	guint64 n;
	bool due;

	g_assert(step >= 0);
	g_mutex_lock(&fault->lock);
	n = ++fault->n_passed[step];
	due = step == fault->step && n == fault->at;
	fault->doomed |= due;
	/* One write, so that lines of several threads do not mix. */
	if (fault->report)
		g_printerr("step %s %" G_GUINT64_FORMAT "%s\n", name, n, due ? " kill" : "");
	g_mutex_unlock(&fault->lock);
	return due;
}

void pool_fault_pass(PoolFault *fault, const char *step)
{
	if (fault && count(fault, step))
		die();
}

static gpointer die_later(gpointer data)
{
	g_usleep(GPOINTER_TO_UINT(data));
	die();
	return NULL;
}

void pool_fault_pass_later(PoolFault *fault, const char *step, unsigned us)
{
	if (fault && count(fault, step))
		g_thread_unref(g_thread_new("fault", die_later, GUINT_TO_POINTER(us)));
}

void pool_fault_now(PoolFault *fault)
{
	bool doomed;

	if (!fault)
		return;
	g_mutex_lock(&fault->lock);
	doomed = fault->doomed;
	g_mutex_unlock(&fault->lock);
	if (doomed)
		die();
}

void pool_fault_begin_stall(PoolFault *fault)
{
	g_mutex_lock(&fault->lock);
	fault->stall_until_us = g_get_monotonic_time() +
				(gint64)MAX(fault->stall_us[0], fault->stall_us[1]);
	g_mutex_unlock(&fault->lock);
}

void pool_fault_stall(PoolFault *fault, PoolStall what)
{
	gint64 left_us;

	if (!fault || !fault->stall_us[what])
		return;
	g_mutex_lock(&fault->lock);
	left_us = fault->stall_until_us - g_get_monotonic_time();
	g_mutex_unlock(&fault->lock);
	if (left_us > 0)
		g_usleep((gulong)left_us);
}
