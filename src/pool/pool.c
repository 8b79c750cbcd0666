/* SPDX-License-Identifier: BSD-3-Clause */
/* The pool's thread, its timer, its wipe workers, and calls into it from other threads. */
#include "pool/pool_priv.h"

#define N_WIPERS 2

static uint64_t now_us(void *opaque)
{
	return (uint64_t)g_get_monotonic_time();
}

/* ---- timer: one source for every deadline in the pool ---- */

void pool_update_timer(Pool *pool)
{
	uint64_t due = capacity_next_deadline_us(pool->capacity);

	for (guint i = 0; i < pool->devices->len; i++) {
		PoolDevice *device = g_ptr_array_index(pool->devices, i);

		due = MIN(due, device_next_deadline_us(device->endpoint));
	}
	g_source_set_ready_time(pool->timer, due > G_MAXINT64 ? -1 : (gint64)due);
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

	wipe->pool->n_wipes--;
	wipe_job_finish(wipe->job);
	return G_SOURCE_REMOVE;
}

static void wipe_run(gpointer data, gpointer user_data)
{
	PoolWipe *wipe = data;
	Pool *pool = user_data;
	GSource *source;

	wipe_job_run(wipe->job);
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

	*wipe = (PoolWipe){ .pool = pool, .job = job };
	pool->n_wipes++;
	g_thread_pool_push(pool->wipers, wipe, NULL);
}

static void notify(void *opaque, const CapacityNotice *notice)
{
	Pool *pool = opaque;

	if (pool->config.notice)
		pool->config.notice(notice, pool->config.notice_data);
}

static const CapacityOps capacity_ops = {
	.now_us = now_us,
	.wipe = wipe_start,
	.notify = notify,
	.deadline_changed = deadline_changed,
};

/* ---- thread ---- */

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
	Pool *pool = g_new0(Pool, 1);

	pool->config = *config;
	pool->context = g_main_context_new();
	pool->loop = g_main_loop_new(pool->context, FALSE);
	pool->capacity = capacity_new(&capacity_ops, pool);
	pool->devices = g_ptr_array_new();
	pool->hosts = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, free_host);
	pool->wipers = g_thread_pool_new(wipe_run, pool, N_WIPERS, FALSE, NULL);
	pool->timer = g_source_new(&timer_funcs, sizeof(GSource));
	g_source_set_callback(pool->timer, timer_due, pool, NULL);
	g_source_attach(pool->timer, pool->context);
	pool->thread = g_thread_new("pool", pool_thread, pool);
	return pool;
}

void pool_free(Pool *pool)
{
	if (!pool)
		return;
	g_main_loop_quit(pool->loop);
	g_thread_join(pool->thread);
	/* From here on this thread owns the state. Links first: nobody calls in any more. */
	g_main_context_push_thread_default(pool->context);
	for (guint i = 0; i < pool->devices->len; i++)
		pool_device_close(g_ptr_array_index(pool->devices, i));
	while (pool->n_wipes)
		g_main_context_iteration(pool->context, TRUE);
	g_thread_pool_free(pool->wipers, FALSE, TRUE);
	g_source_destroy(pool->timer);
	g_source_unref(pool->timer);
	capacity_free(pool->capacity);
	for (guint i = 0; i < pool->devices->len; i++)
		pool_device_free(g_ptr_array_index(pool->devices, i));
	g_ptr_array_unref(pool->devices);
	g_hash_table_unref(pool->hosts);
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
