/* SPDX-License-Identifier: BSD-3-Clause */
/* QMP queries about the pool, its backends, devices, offers and release requests. */
#include "pool/pool_daemon_priv.h"

#include <string.h>
#include <unistd.h>

/* clang-format off */
static const QmpArg optional_id[] = {
	{ "id", QMP_STRING, .optional = true },
	{ NULL, 0, 0, NULL, NULL },
};

static const QmpArg optional_device[] = {
	{ "device", QMP_STRING, .optional = true },
	{ NULL, 0, 0, NULL, NULL },
};

static const QmpArg release_args[] = {
	{ "device", QMP_STRING, .optional = true },
	{ "id",     QMP_U64,    .optional = true },
	{ NULL, 0, 0, NULL, NULL },
};
/* clang-format on */

/* ---- parts of answers ---- */

void qmp_text_counters(QmpText *text, const char *name, const CapacityCounters *counters)
{
	qmp_text_begin(text, name, '{');
	qmp_text_u64(text, "total", counters->total);
	qmp_text_u64(text, "free", counters->free);
	qmp_text_u64(text, "reserved", counters->reserved);
	qmp_text_u64(text, "accepted", counters->accepted);
	qmp_text_u64(text, "draining", counters->draining);
	qmp_text_u64(text, "quarantined", counters->quarantined);
	qmp_text_end(text, '}');
}

void qmp_text_tag(QmpText *text, const char *name, const Uuid *tag)
{
	char canonical[UUID_TEXT_SIZE];

	uuid_format(tag, canonical);
	qmp_text_string(text, name, uuid_is_null(tag) ? NULL : canonical);
}

static const char *origin_name(SpecOrigin origin)
{
	return origin == SPEC_FROM_CONFIG ? "config" : "qmp";
}

GPtrArray *qmp_pick_devices(PoolDaemon *daemon, JsonObject *args, const char *name, GError **error)
{
	const char *id = qmp_args_string(args, name, NULL);
	GPtrArray *list;
	DaemonDevice *device;

	if (!id)
		return daemon_list_devices(daemon);
	device = daemon_find_device(daemon, id, error);
	if (!device)
		return NULL;
	list = g_ptr_array_new();
	g_ptr_array_add(list, device);
	return list;
}

/* ---- query-pool ---- */

typedef struct PoolCounts {
	CapacityCounters bytes;
	bool behind;
} PoolCounts;

static void count_pool(Pool *pool, void *opaque)
{
	PoolCounts *counts = opaque;

	capacity_counters(pool_peek_capacity(pool), &counts->bytes);
	counts->behind = capacity_is_behind(pool_peek_capacity(pool));
}

static void add_ledger(PoolDaemon *daemon, QmpText *text, bool behind)
{
	g_autofree char *why = daemon_ledger_trouble(daemon);

	qmp_text_begin(text, "ledger", '{');
	qmp_text_string(text, "state", daemon->ephemeral ? "none" : behind ? "failed" : "ok");
	qmp_text_string(text, "message", behind ? why : NULL);
	qmp_text_end(text, '}');
	qmp_text_begin(text, "keeper", '{');
	qmp_text_string(text, "state",
			daemon->ephemeral        ? "none"
			: daemon->keeper_is_lost ? "lost"
						 : "ok");
	if (daemon->keeper_pid != 0)
		qmp_text_i64(text, "pid", daemon->keeper_pid);
	else
		qmp_text_null(text, "pid");
	qmp_text_end(text, '}');
}

static void add_lost(PoolDaemon *daemon, QmpText *text)
{
	g_autoptr(GPtrArray) backends = daemon_list_backends(daemon);

	qmp_text_begin(text, "contents-lost", '[');
	for (guint i = 0; i < backends->len; i++) {
		const DaemonBackend *backend = backends->pdata[i];

		if (backend->contents_lost)
			qmp_text_string(text, NULL, backend->spec->config.name);
	}
	qmp_text_end(text, ']');
}

static unsigned count_hosts(PoolDaemon *daemon)
{
	g_autoptr(GPtrArray) devices = daemon_list_devices(daemon);
	unsigned n = 0;

	for (guint i = 0; i < devices->len; i++) {
		PoolDeviceState state;

		pool_device_state(daemon->pool, ((DaemonDevice *)devices->pdata[i])->device,
				  &state);
		n += state.has_host;
	}
	return n;
}

static void run_query_pool(QmpCall *call, JsonObject *args, void *opaque)
{
	PoolDaemon *daemon = opaque;
	QmpText text = { .out = g_string_new(NULL) };
	PoolCounts counts;

	pool_call(daemon->pool, count_pool, &counts);
	qmp_text_begin(&text, NULL, '{');
	qmp_text_string(&text, "name", daemon->name);
	qmp_text_string(&text, "version", SOFTDCD_VERSION);
	qmp_text_i64(&text, "pid", getpid());
	qmp_text_i64(&text, "uid", geteuid());
	qmp_text_i64(&text, "started", daemon->started_us);
	qmp_text_string(&text, "runtime-dir", socket_dir_path(daemon->sockets));
	qmp_text_string(&text, "state-dir", daemon->state_dir);
	qmp_text_string(&text, "config", daemon->config_path);
	qmp_text_u64(&text, "n-devices", g_hash_table_size(daemon->devices));
	qmp_text_u64(&text, "n-backends", g_hash_table_size(daemon->backends));
	qmp_text_u64(&text, "n-hosts", count_hosts(daemon));
	add_ledger(daemon, &text, counts.behind);
	add_lost(daemon, &text);
	qmp_text_counters(&text, "bytes", &counts.bytes);
	qmp_text_end(&text, '}');
	qmp_call_return_text(call, text.out);
}

/* ---- query-backends ---- */

typedef struct BackendView {
	const char *name;
	bool found, clean, shareable, read_only, wipes;
	BackendType type;
	uint64_t size, page_size, incarnation, backed;
	Uuid tag;
	CapacityCounters bytes;
} BackendView;

static void view_backend(Pool *pool, void *opaque)
{
	BackendView *view = opaque;
	Backend *backend = capacity_peek_backend(pool_peek_capacity(pool), view->name);

	view->found = backend;
	if (!backend)
		return;
	view->type = backend_type(backend);
	view->size = backend_size(backend);
	view->page_size = mem_file_page_size(backend_peek_file(backend));
	view->shareable = backend_is_shareable(backend);
	view->read_only = backend_is_read_only(backend);
	view->wipes = backend_wipes_on_release(backend);
	view->incarnation = backend_incarnation(backend);
	view->clean = backend_is_clean(backend);
	view->backed = mem_file_allocated_len(backend_peek_file(backend));
	view->tag = *backend_tag(backend);
	backend_counters(backend, &view->bytes);
}

static const char *state_of(const CapacityCounters *bytes)
{
	return bytes->quarantined ? "quarantined"
	       : bytes->draining  ? "draining"
	       : bytes->accepted  ? "accepted"
	       : bytes->reserved  ? "reserved"
				  : "free";
}

static const char *qom_type(BackendType type)
{
	return type == BACKEND_FILE     ? "memory-backend-file"
	       : type == BACKEND_DEVDAX ? "memory-backend-devdax"
					: "memory-backend-memfd";
}

static void add_backend(PoolDaemon *daemon, QmpText *text, const DaemonBackend *backend)
{
	const BackendConfig *config = &backend->spec->config;
	BackendView view = { .name = config->name };
	char incarnation[17];

	pool_call(daemon->pool, view_backend, &view);
	if (!view.found)
		return;
	g_snprintf(incarnation, sizeof(incarnation), "%016" G_GINT64_MODIFIER "x",
		   view.incarnation);
	qmp_text_begin(text, NULL, '{');
	qmp_text_string(text, "id", view.name);
	qmp_text_string(text, "qom-type", qom_type(view.type));
	qmp_text_string(text, "type", backend_type_name(view.type));
	qmp_text_u64(text, "size", view.size);
	qmp_text_tag(text, "tag", &view.tag);
	qmp_text_string(text, "path", config->path);
	qmp_text_u64(text, "page-size", view.page_size);
	qmp_text_bool(text, "shareable", view.shareable);
	qmp_text_bool(text, "read-only", view.read_only);
	qmp_text_string(text, "on-release", view.wipes ? "wipe" : "keep");
	qmp_text_bool(text, "prealloc", config->prealloc);
	qmp_text_string(text, "incarnation", incarnation);
	qmp_text_bool(text, "clean", view.clean);
	qmp_text_bool(text, "contents-lost", backend->contents_lost);
	qmp_text_string(text, "origin", origin_name(backend->spec->origin));
	qmp_text_string(text, "state", state_of(&view.bytes));
	qmp_text_u64(text, "committed", view.bytes.total - view.bytes.free);
	qmp_text_u64(text, "backed", view.backed);
	qmp_text_counters(text, "bytes", &view.bytes);
	qmp_text_end(text, '}');
}

static void run_query_backends(QmpCall *call, JsonObject *args, void *opaque)
{
	PoolDaemon *daemon = opaque;
	g_autoptr(GPtrArray) backends = daemon_list_backends(daemon);
	const char *id = qmp_args_string(args, "id", NULL);
	QmpText text = { .out = NULL };
	GError *error = NULL;

	if (id && !daemon_find_backend(daemon, id, &error)) {
		qmp_call_fail(call, error);
		return;
	}
	text.out = g_string_new(NULL);
	qmp_text_begin(&text, NULL, '[');
	for (guint i = 0; i < backends->len; i++) {
		const DaemonBackend *backend = backends->pdata[i];

		if (!id || strcmp(id, backend->spec->config.name) == 0)
			add_backend(daemon, &text, backend);
	}
	qmp_text_end(&text, ']');
	qmp_call_return_text(call, text.out);
}

/* ---- query-devices ---- */

static void add_sockets(PoolDaemon *daemon, QmpText *text, const char *name)
{
	const char *dir = socket_dir_path(daemon->sockets);
	g_autofree char *vfio = g_strdup_printf("%s/%s.vfio", dir, name);
	g_autofree char *mem = g_strdup_printf("%s/%s.mem", dir, name);

	qmp_text_begin(text, "sockets", '{');
	qmp_text_string(text, "vfio", vfio);
	qmp_text_string(text, "mem", mem);
	qmp_text_end(text, '}');
}

static void add_host(QmpText *text, const PoolDeviceState *state)
{
	if (!state->has_host) {
		qmp_text_null(text, "host");
		return;
	}
	qmp_text_begin(text, "host", '{');
	qmp_text_i64(text, "pid", state->host.pid);
	qmp_text_i64(text, "uid", state->host.uid);
	qmp_text_u64(text, "serial", state->host.serial);
	qmp_text_bool(text, "control-only", state->host.control_only);
	qmp_text_u64(text, "missed-reads", state->missed_reads);
	qmp_text_u64(text, "missed-writes", state->missed_writes);
	qmp_text_end(text, '}');
}

static void add_regions(QmpText *text, DcDevice *dev)
{
	qmp_text_begin(text, "dc-regions", '[');
	for (unsigned i = 0; i < dc_device_n_regions(dev); i++) {
		const DcRegion *region = dc_device_region(dev, i);

		qmp_text_begin(text, NULL, '{');
		qmp_text_u64(text, "index", i);
		qmp_text_u64(text, "dpa", region->base);
		qmp_text_u64(text, "size", region->config.len);
		qmp_text_u64(text, "block-size", region->config.block_size);
		qmp_text_bool(text, "sharable", region->config.sharable);
		qmp_text_bool(text, "read-only", region->config.read_only);
		qmp_text_bool(text, "sanitize-on-release", region->config.sanitize_on_release);
		qmp_text_bool(text, "non-volatile", region->config.non_volatile);
		qmp_text_end(text, '}');
	}
	qmp_text_end(text, ']');
}

static void add_device(PoolDaemon *daemon, QmpText *text, const DaemonDevice *device)
{
	const DeviceSpec *spec = device->spec;
	PoolDeviceState state;

	pool_device_state(daemon->pool, device->device, &state);
	qmp_text_begin(text, NULL, '{');
	qmp_text_string(text, "id", spec->name);
	qmp_text_u64(text, "serial", device_spec_serial(spec));
	qmp_text_u64(text, "ram", spec->ram_len);
	qmp_text_u64(text, "pmem", spec->pmem_len);
	qmp_text_u64(text, "lsa", spec->lsa_len);
	qmp_text_string(text, "origin", origin_name(spec->origin));
	qmp_text_string(text, "hold", spec->hold_off ? "off" : "auto");
	add_sockets(daemon, text, spec->name);
	add_host(text, &state);
	qmp_text_endpoint(daemon, text, device->device);
	/* Regions never change, so they may be read from here. */
	add_regions(text, pool_device_peek_dc(device->device));
	qmp_text_u64(text, "extents", state.extents);
	qmp_text_u64(text, "offers", state.offers);
	qmp_text_u64(text, "releases", state.releases);
	qmp_text_u64(text, "generation", state.generation);
	qmp_text_u64(text, "extents-supported", state.extents_supported);
	qmp_text_u64(text, "extents-available", state.extents_available);
	qmp_text_counters(text, "bytes", &state.bytes);
	qmp_text_end(text, '}');
}

static void run_query_devices(QmpCall *call, JsonObject *args, void *opaque)
{
	PoolDaemon *daemon = opaque;
	QmpText text = { .out = NULL };
	GError *error = NULL;
	g_autoptr(GPtrArray) devices = qmp_pick_devices(daemon, args, "id", &error);

	if (!devices) {
		qmp_call_fail(call, error);
		return;
	}
	text.out = g_string_new(NULL);
	qmp_text_begin(&text, NULL, '[');
	for (guint i = 0; i < devices->len; i++)
		add_device(daemon, &text, devices->pdata[i]);
	qmp_text_end(&text, ']');
	qmp_call_return_text(call, text.out);
}

/* ---- query-offers ---- */

typedef struct ListCall {
	PoolDevice *device;
	const char *name;
	uint64_t id; /* 0 = any */
	QmpText *text;
} ListCall;

static void add_offer(const OfferInfo *info, void *opaque)
{
	static const char *const states[] = {
		[OFFER_QUEUED] = "queued",
		[OFFER_OFFERED] = "offered",
		[OFFER_ACCEPTING] = "accepting",
	};
	ListCall *call = opaque;

	qmp_text_begin(call->text, NULL, '{');
	qmp_text_u64(call->text, "id", info->id);
	qmp_text_string(call->text, "device", call->name);
	qmp_text_u64(call->text, "region", info->region);
	qmp_text_tag(call->text, "tag", &info->tag);
	qmp_text_string(call->text, "state", states[info->state]);
	qmp_text_u64(call->text, "extents", info->n_extents);
	qmp_text_u64(call->text, "len", info->len);
	qmp_text_string(call->text, "waits-for", info->waits_for);
	qmp_text_end(call->text, '}');
}

/* At most 1024 offers and some hundred requests of a device: one call each. */
static void list_offers(Pool *pool, void *opaque)
{
	ListCall *call = opaque;

	dc_device_foreach_offer(pool_device_peek_dc(call->device), add_offer, call);
}

/* ---- query-releases ---- */

static void add_release(const ReleaseInfo *info, void *opaque)
{
	static const char *const states[] = {
		[RELEASE_QUEUED] = "queued",
		[RELEASE_DELIVERED] = "delivered",
		[RELEASE_CLEARED_UNANSWERED] = "cleared-unanswered",
		[RELEASE_RESENT] = "resent",
		[RELEASE_DONE] = "done",
		[RELEASE_TIMED_OUT] = "timed-out",
		[RELEASE_FORCED] = "forced",
		[RELEASE_FAILED] = "failed",
	};
	ListCall *call = opaque;
	/* The core's clock is the monotonic one. */
	int64_t offset_us = g_get_real_time() - g_get_monotonic_time();

	if (call->id && call->id != info->id)
		return;
	qmp_text_begin(call->text, NULL, '{');
	qmp_text_u64(call->text, "id", info->id);
	qmp_text_string(call->text, "device", call->name);
	qmp_text_tag(call->text, "tag", &info->tag);
	qmp_text_string(call->text, "state", states[info->state]);
	qmp_text_u64(call->text, "len", info->len);
	qmp_text_u64(call->text, "resent", info->n_resent);
	qmp_text_i64(call->text, "created", (int64_t)info->created_us + offset_us);
	qmp_text_i64(call->text, "changed", (int64_t)info->changed_us + offset_us);
	qmp_text_end(call->text, '}');
}

static void list_releases(Pool *pool, void *opaque)
{
	ListCall *call = opaque;

	dc_device_foreach_release(pool_device_peek_dc(call->device), add_release, call);
}

static void run_list(QmpCall *call, PoolDaemon *daemon, JsonObject *args, PoolFunc list)
{
	QmpText text = { .out = NULL };
	GError *error = NULL;
	g_autoptr(GPtrArray) devices = qmp_pick_devices(daemon, args, "device", &error);

	if (!devices) {
		qmp_call_fail(call, error);
		return;
	}
	text.out = g_string_new(NULL);
	qmp_text_begin(&text, NULL, '[');
	for (guint i = 0; i < devices->len; i++) {
		const DaemonDevice *device = devices->pdata[i];
		ListCall list_call = {
			.device = device->device,
			.name = device->spec->name,
			.id = qmp_args_u64(args, "id", 0),
			.text = &text,
		};

		pool_call(daemon->pool, list, &list_call);
	}
	qmp_text_end(&text, ']');
	qmp_call_return_text(call, text.out);
}

static void run_query_offers(QmpCall *call, JsonObject *args, void *opaque)
{
	run_list(call, opaque, args, list_offers);
}

static void run_query_releases(QmpCall *call, JsonObject *args, void *opaque)
{
	run_list(call, opaque, args, list_releases);
}

const QmpCommand qmp_query_commands[] = {
	{ "query-pool", NULL, run_query_pool },
	{ "query-backends", optional_id, run_query_backends },
	{ "query-devices", optional_id, run_query_devices },
	{ "query-offers", optional_device, run_query_offers },
	{ "query-releases", release_args, run_query_releases },
	{ NULL, NULL, NULL },
};
