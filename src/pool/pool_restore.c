/* SPDX-License-Identifier: BSD-3-Clause */
/* A pool as its ledger says it was: backends, devices, hosts, and what is due since. */
#include "capacity/restore.h"
#include "pool/pool_priv.h"

#include "util/sd_notify.h"

#define WAIT_STEP_US   2000
#define START_TAKES_US (UINT64_C(60) * G_USEC_PER_SEC)

typedef struct RestoreCall {
	RowRecord *rows;
	guint index;
	const RowDevice *row;
	GError **error;
	bool ok;
} RestoreCall;

static void run_begin(Pool *pool, void *opaque)
{
	RestoreCall *call = opaque;

	for (guint i = 0; i < call->rows->changes->len; i++) {
		const RowChange *change = row_record_at(call->rows, i);

		if (change->kind == ROW_COUNTERS)
			pool->last_serial = change->counters.last_serial;
		if (change->kind == ROW_HOST)
			pool->last_serial = MAX(pool->last_serial, change->host.serial);
	}
	call->ok = capacity_restore_begin(pool->capacity, call->rows, call->error);
}

static void run_device(Pool *pool, void *opaque)
{
	RestoreCall *call = opaque;

	call->row = capacity_restore_device(pool->capacity, call->index);
}

/* Hosts that live are watched again before anything is said of those that do not. */
static void restore_hosts(Pool *pool, const RowRecord *rows)
{
	g_autoptr(GArray) ended = g_array_new(FALSE, FALSE, sizeof(uint64_t));

	for (guint i = 0; i < rows->changes->len; i++) {
		const RowChange *change = row_record_at(rows, i);

		if (change->kind == ROW_HOST && !pool_host_restore(pool, &change->host))
			g_array_append_val(ended, change->host.serial);
	}
	for (guint i = 0; i < ended->len; i++)
		capacity_host_gone(pool->capacity, g_array_index(ended, uint64_t, i));
}

static void run_end(Pool *pool, void *opaque)
{
	RestoreCall *call = opaque;

	call->ok = capacity_restore_end(pool->capacity, call->error);
	if (!call->ok)
		return;
	restore_hosts(pool, call->rows);
	pool_sessions_resume(pool);
}

/* ---- waiting for what is due ---- */

typedef struct DueCall {
	int n_wipes;
	bool asked, is_known, is_durable;
} DueCall;

static void durable_known(void *opaque, bool ok)
{
	DueCall *call = opaque;

	call->is_known = true;
	call->is_durable = ok;
}

static void run_due(Pool *pool, void *opaque)
{
	DueCall *call = opaque;

	call->n_wipes = pool->n_wipes;
	if (call->n_wipes == 0 && !call->asked) {
		call->asked = true;
		capacity_when_durable(pool->capacity, durable_known, call);
	}
}

/* A wipe's end may begin another one, so both are looked at until neither is left. */
static bool wait_until_done(Pool *pool, GError **error)
{
	DueCall call = { 0 };

	do {
		if (call.is_known)
			call = (DueCall){ 0 };
		pool_call(pool, run_due, &call);
		if (!call.is_known) {
			sd_notify_extend_timeout(START_TAKES_US);
			g_usleep(WAIT_STEP_US);
		}
	} while (!call.is_known || call.n_wipes > 0);
	if (!call.is_durable)
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_FAILED,
			    "the ledger takes no changes");
	return call.is_durable;
}

bool pool_restore(Pool *pool, RowRecord *rows, PoolRestoreDevice add, void *opaque, GError **error)
{
	RestoreCall call = { .rows = rows, .error = error };

	pool_call(pool, run_begin, &call);
	if (!call.ok)
		return false;
	for (;; call.index++) {
		pool_call(pool, run_device, &call);
		if (!call.row)
			break;
		if (!add(call.row, opaque, error))
			return false;
	}
	pool_call(pool, run_end, &call);
	return call.ok && wait_until_done(pool, error);
}
