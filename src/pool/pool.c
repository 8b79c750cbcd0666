/* SPDX-License-Identifier: BSD-3-Clause */
/* The pool's thread, its timer, its wipe workers, and calls into it from other threads. */
#include "capacity/restore.h"
#include "pool/pool_priv.h"

#include "link/vfu_spin.h"

#define N_WIPERS 2

static uint64_t now_us(void *opaque)
{
	return (uint64_t)g_get_monotonic_time();
}

static uint64_t wall_us(void *opaque)
{
	return (uint64_t)g_get_real_time();
}

static void pass_step(Pool *pool, PoolStep step)
{
	if (pool->config.step)
		pool->config.step(step, pool->config.opaque);
}

/* ---- timer: one source for every deadline in the pool ---- */

void pool_update_timer(Pool *pool)
{
	uint64_t due = capacity_next_deadline_us(pool->capacity);
	gint64 ready_time;

	/* At the pool's end devices lose their endpoints before the last wipes are done. */
	for (guint i = 0; i < pool->devices->len; i++) {
		PoolDevice *device = g_ptr_array_index(pool->devices, i);

		if (device->endpoint)
			due = MIN(due, device_next_deadline_us(device->endpoint));
	}
	ready_time = due > G_MAXINT64 ? -1 : (gint64)due;
	/* Setting it wakes the loop, which is not worth it for nothing. */
	if (ready_time != g_source_get_ready_time(pool->timer))
		g_source_set_ready_time(pool->timer, ready_time);
}

static gboolean timer_dispatch(GSource *source, GSourceFunc callback, gpointer user_data)
{
	return callback(user_data);
}

static gboolean timer_due(gpointer user_data)
{
	Pool *pool = user_data;

	capacity_tick(pool->capacity);
	for (guint i = 0; i < pool->devices->len; i++) {
		PoolDevice *device = g_ptr_array_index(pool->devices, i);

		if (device->endpoint)
			device_tick(device->endpoint);
	}
	pool_update_timer(pool);
	return G_SOURCE_CONTINUE;
}

static GSourceFuncs timer_funcs = { .dispatch = timer_dispatch };

static void deadline_changed(void *opaque)
{
	pool_update_timer(opaque);
}

/* ---- wiping ---- */

typedef struct PoolWipe {
	Pool *pool;
	WipeJob *job;
} PoolWipe;

static gboolean wipe_finish(gpointer user_data)
{
	g_autofree PoolWipe *wipe = user_data;
	const PoolConfig *config = &wipe->pool->config;
	WipeInfo info;

	wipe->pool->n_wipes--;
	if (config->wiped && wipe_job_describe(wipe->job, &info))
		config->wiped(&info, config->opaque);
	wipe_job_finish(wipe->job);
	return G_SOURCE_REMOVE;
}

static void wipe_run(gpointer data, gpointer user_data)
{
	PoolWipe *wipe = data;
	Pool *pool = user_data;
	GSource *source;

	if (pool->config.wipe_delay_us)
		g_usleep(pool->config.wipe_delay_us);
	pass_step(pool, POOL_STEP_WIPING);
	wipe_job_run(wipe->job);
	pass_step(pool, POOL_STEP_WIPED);
	source = g_idle_source_new();
	g_source_set_priority(source, G_PRIORITY_DEFAULT);
	g_source_set_callback(source, wipe_finish, wipe, NULL);
	g_source_attach(source, pool->context);
	g_source_unref(source);
}

static void wipe_start(void *opaque, WipeJob *job)
{
	Pool *pool = opaque;
	PoolWipe *wipe = g_new(PoolWipe, 1);

	pass_step(pool, POOL_STEP_REVOKED);
	*wipe = (PoolWipe){ .pool = pool, .job = job };
	pool->n_wipes++;
	g_thread_pool_push(pool->wipers, wipe, NULL);
}

static void notify(void *opaque, const CapacityNotice *notice)
{
	Pool *pool = opaque;

	if (pool->config.notice)
		pool->config.notice(notice, pool->config.notice_data);
	if (notice->type == NOTICE_ACCEPTED)
		pass_step(pool, POOL_STEP_EXPOSED);
}

/* ---- journal ---- */

static void tell_journal(Pool *pool, bool ok, const char *why)
{
	if (!pool->config.journal_failed || pool->stopped)
		return;
	if (!ok)
		pool->config.journal_failed(why, pool->config.opaque);
	else if (pool->journal_fails && !capacity_is_behind(pool->capacity))
		pool->config.journal_failed(NULL, pool->config.opaque);
	else
		return;
	pool->journal_fails = !ok;
}

/* The ledger answers in order, so the numbers need not travel. */
static void journal_kept(void *opaque, bool ok, const char *why)
{
	Pool *pool = opaque;
	uint64_t *req = g_queue_pop_head(&pool->journal_reqs);
	uint64_t number = *req;

	g_free(req);
	/* At the end of the pool its core goes as if killed: it is not told any more. */
	if (!pool->stopped)
		capacity_journal_done(pool->capacity, number, ok);
	tell_journal(pool, ok, why);
}

static void journal(void *opaque, uint64_t req, RowRecord *record)
{
	Pool *pool = opaque;

	if (pool->stopped)
		return;
	g_queue_push_tail(&pool->journal_reqs, g_memdup2(&req, sizeof(req)));
	ledger_submit(pool->ledger, record, journal_kept, pool);
}

void pool_set_ledger(Pool *pool, Ledger *ledger)
{
	pool->ledger = ledger;
}

GMainContext *pool_peek_context(Pool *pool)
{
	return pool->context;
}

/* ---- hosts ---- */

void pool_tell_host(PoolDevice *device, bool connected)
{
	Pool *pool = device->pool;
	PoolHostEvent event = { .device = device->name, .connected = connected };

	if (pool->config.host_event && !pool->stopped && device->dc &&
	    pool_host_of(pool, device->dc, &event.host))
		pool->config.host_event(&event, pool->config.opaque);
}

/* ---- thread ---- */

/*
 * A host that accepts memory and its link answer each other, and us, within microseconds: look for
 * them before the loop sleeps. GLib gives this function no data; each pool has a thread of its own.
 */
static gint pool_poll(GPollFD *fds, guint n_fds, gint timeout_ms)
{
	static _Thread_local VfuSpin spin = { .us = VFU_SPIN_DEFAULT_US };
	gint n;

	do {
		n = g_poll(fds, n_fds, 0);
	} while (n == 0 && timeout_ms != 0 && vfu_spin_again(&spin));
	if (n != 0 || timeout_ms == 0) {
		vfu_spin_found(&spin);
		return n;
	}
	return g_poll(fds, n_fds, timeout_ms);
}

static gpointer pool_thread(gpointer data)
{
	Pool *pool = data;

	g_main_context_push_thread_default(pool->context);
	g_main_loop_run(pool->loop);
	g_main_context_pop_thread_default(pool->context);
	return NULL;
}

static void free_host(gpointer data)
{
	pool_host_free(data);
}

Pool *pool_new(const PoolConfig *config)
{
	const CapacityOps ops = {
		.now_us = now_us,
		.wall_us = wall_us,
		.wipe = wipe_start,
		.journal = config->durable ? journal : NULL,
		.notify = notify,
		.deadline_changed = deadline_changed,
		.faults = config->faults,
	};
	Pool *pool = g_new0(Pool, 1);

	pool->config = *config;
	pool->context = g_main_context_new();
	g_main_context_set_poll_func(pool->context, pool_poll);
	pool->loop = g_main_loop_new(pool->context, FALSE);
	pool->capacity = capacity_new(&ops, pool);
	pool->devices = g_ptr_array_new();
	pool->hosts = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, free_host);
	pool->wipers = g_thread_pool_new(wipe_run, pool, N_WIPERS, FALSE, NULL);
	pool->timer = g_source_new(&timer_funcs, sizeof(GSource));
	g_source_set_callback(pool->timer, timer_due, pool, NULL);
	g_source_attach(pool->timer, pool->context);
	pool->thread = g_thread_new("pool", pool_thread, pool);
	return pool;
}

/* ---- end ---- */

static void wait_for_wipes(Pool *pool)
{
	while (pool->n_wipes)
		g_main_context_iteration(pool->context, TRUE);
}

/*
 * Hosts that live on keep descriptors of memory nobody offers any more, so their word is not needed
 * now: each counts as gone, and all that was theirs is wiped.
 */
static void take_everything_back(Pool *pool)
{
	g_autoptr(GList) hosts = g_hash_table_get_values(pool->hosts);

	for (GList *link = hosts; link; link = link->next)
		capacity_host_gone(pool->capacity, ((PoolHost *)link->data)->serial);
	for (guint i = 0; i < pool->devices->len; i++) {
		PoolDevice *device = g_ptr_array_index(pool->devices, i);

		dc_device_reset(device->dc, DC_RESET_FORGET);
	}
	wait_for_wipes(pool);
}

static void list_backend(Backend *backend, void *opaque)
{
	g_ptr_array_add(opaque, g_strdup(backend_name(backend)));
}

/* False if something cannot be let go of, which a failed wipe may cause. */
static bool remove_everything(Pool *pool)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GError) error = NULL;
	bool ok = true;

	for (guint i = 0; ok && i < pool->devices->len; i++) {
		PoolDevice *device = g_ptr_array_index(pool->devices, i);

		ok = capacity_remove_device(pool->capacity, device->dc, &error);
	}
	if (ok)
		capacity_foreach_backend(pool->capacity, list_backend, names);
	for (guint i = 0; ok && i < names->len; i++) {
		const char *name = g_ptr_array_index(names, i);
		Backend *backend;

		if (capacity_reclaim_backend(pool->capacity, name, NULL))
			wait_for_wipes(pool);
		backend = capacity_remove_backend(pool->capacity, name, &error);
		ok = backend;
		backend_free(backend);
	}
	if (!ok)
		g_warning("pool ends with memory it could not take back: %s", error->message);
	return ok;
}

static gboolean quit(gpointer loop)
{
	g_main_loop_quit(loop);
	return G_SOURCE_REMOVE;
}

/* From within the loop: before it runs, quitting is without effect. */
static void quit_loop(Pool *pool)
{
	g_autoptr(GSource) source = g_idle_source_new();

	g_source_set_priority(source, G_PRIORITY_DEFAULT);
	g_source_set_callback(source, quit, pool->loop, NULL);
	g_source_attach(source, pool->context);
}

/* Links first: nobody calls in any more. */
void pool_stop(Pool *pool)
{
	if (pool->stopped)
		return;
	quit_loop(pool);
	g_thread_join(pool->thread);
	/* From here on this thread owns the state. */
	pool->stopped = pool->config.durable;
	g_main_context_push_thread_default(pool->context);
	for (guint i = 0; i < pool->devices->len; i++)
		pool_device_close(g_ptr_array_index(pool->devices, i));
	wait_for_wipes(pool);
	g_main_context_pop_thread_default(pool->context);
	pool->stopped = true;
}

static void free_state(Pool *pool, bool is_empty)
{
	/* What could not be taken back stays where it is: better a leak than a dangling pointer. */
	if (is_empty)
		capacity_free(pool->capacity);
	for (guint i = 0; is_empty && i < pool->devices->len; i++)
		pool_device_free(g_ptr_array_index(pool->devices, i));
	g_ptr_array_unref(pool->devices);
	g_hash_table_unref(pool->hosts);
}

void pool_free(Pool *pool)
{
	bool is_empty = true;

	if (!pool)
		return;
	pool_stop(pool);
	g_main_context_push_thread_default(pool->context);
	if (!pool->config.durable) {
		take_everything_back(pool);
		is_empty = remove_everything(pool);
	}
	g_thread_pool_free(pool->wipers, FALSE, TRUE);
	g_source_destroy(pool->timer);
	g_source_unref(pool->timer);
	free_state(pool, is_empty);
	g_queue_clear_full(&pool->journal_reqs, g_free);
	g_main_context_pop_thread_default(pool->context);
	g_main_loop_unref(pool->loop);
	g_main_context_unref(pool->context);
	g_free(pool);
}

/* ---- calls from other threads ---- */

typedef struct PoolCall {
	Pool *pool;
	PoolFunc func;
	void *user_data;
	GMutex lock;
	GCond finished;
	bool is_finished;
} PoolCall;

static gboolean call_run(gpointer user_data)
{
	PoolCall *call = user_data;

	call->func(call->pool, call->user_data);
	g_mutex_lock(&call->lock);
	call->is_finished = true;
	g_cond_signal(&call->finished);
	g_mutex_unlock(&call->lock);
	return G_SOURCE_REMOVE;
}

void pool_call(Pool *pool, PoolFunc func, void *user_data)
{
	PoolCall call = { .pool = pool, .func = func, .user_data = user_data };
	GSource *source = g_idle_source_new();

	g_mutex_init(&call.lock);
	g_cond_init(&call.finished);
	g_source_set_priority(source, G_PRIORITY_DEFAULT);
	g_source_set_callback(source, call_run, &call, NULL);
	g_source_attach(source, pool->context);
	g_source_unref(source);

	g_mutex_lock(&call.lock);
	while (!call.is_finished)
		g_cond_wait(&call.finished, &call.lock);
	g_mutex_unlock(&call.lock);
	g_mutex_clear(&call.lock);
	g_cond_clear(&call.finished);
}

Capacity *pool_peek_capacity(Pool *pool)
{
	return pool->capacity;
}
