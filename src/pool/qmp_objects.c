/* SPDX-License-Identifier: BSD-3-Clause */
/* QMP commands that make, remove and reset backends and devices. */
#include "pool/pool_daemon_priv.h"

#include <string.h>

/* ---- the answer, and who asked for what with what result ---- */

QmpAction *qmp_action_new(QmpCall *call, AuditWhat what, const char *device, const char *backend)
{
	QmpAction *action = g_new0(QmpAction, 1);

	action->call = call;
	action->what = what;
	action->device = g_strdup(device);
	action->backend = g_strdup(backend);
	return action;
}

static void audit_action(PoolDaemon *daemon, const QmpAction *action, const GError *error)
{
	const QmpPeer *peer = qmp_call_peek_peer(action->call);
	AuditEntry entry = {
		.what = action->what,
		.who = { AUDIT_BY_CLIENT, qmp_call_peek_name(action->call), peer->pid, peer->uid },
		.device = action->device,
		.backend = action->backend,
		.tag = action->tag,
		.id = action->id,
		.len = action->len,
		.failure = error ? error->message : NULL,
	};

	if (daemon->ledger)
		ledger_audit(daemon->ledger, &entry);
}

void qmp_action_done(PoolDaemon *daemon, GError *error, void *opaque)
{
	QmpAction *action = opaque;
	JsonObject *result;

	audit_action(daemon, action, error);
	if (error) {
		qmp_call_fail(action->call, g_error_copy(error));
	} else {
		result = json_object_new();
		if (action->result)
			json_object_set_member(result, action->result,
					       qmp_json_new_u64(action->id));
		qmp_call_return(action->call, json_node_init_object(json_node_alloc(), result));
		json_object_unref(result);
	}
	g_free(action->device);
	g_free(action->backend);
	g_free(action);
}

void qmp_action_fail(PoolDaemon *daemon, QmpAction *action, GError *error)
{
	qmp_action_done(daemon, error, action);
	g_error_free(error);
}

/* ---- object-add, object-del ---- */

typedef struct ObjectType {
	const char *name;
	BackendType type;
} ObjectType;

static const ObjectType object_types[] = {
	{ "memory-backend-ram", BACKEND_MEMFD },
	{ "memory-backend-memfd", BACKEND_MEMFD },
	{ "memory-backend-file", BACKEND_FILE },
	{ "memory-backend-devdax", BACKEND_DEVDAX },
};

static const char *const on_release_names[] = { "wipe", "keep", NULL };

/* clang-format off */
static const QmpArg object_add_args[] = {
	{ "qom-type",         QMP_STRING, .optional = false },
	{ "id",               QMP_STRING, .optional = false },
	{ "size",             QMP_U64,    .optional = true },
	{ "tag",              QMP_STRING, .optional = true },
	{ "share",            QMP_BOOL,   .optional = true },
	{ "prealloc",         QMP_BOOL,   .optional = true },
	{ "hugetlb",          QMP_BOOL,   .optional = true },
	{ "hugetlbsize",      QMP_U64,    .optional = true },
	{ "mem-path",         QMP_STRING, .optional = true },
	{ "readonly",         QMP_BOOL,   .optional = true },
	{ "shareable",        QMP_BOOL,   .optional = true },
	{ "on-release",       QMP_ENUM,   .optional = true, .values = on_release_names },
	/* QEMU's, without meaning here */
	{ "merge",            QMP_BOOL,   .optional = true },
	{ "dump",             QMP_BOOL,   .optional = true },
	{ "reserve",          QMP_BOOL,   .optional = true },
	{ "seal",             QMP_BOOL,   .optional = true },
	{ "discard-data",     QMP_BOOL,   .optional = true },
	{ "prealloc-threads", QMP_U32,    .optional = true },
	{ "x-use-canonical-path-for-ramblock-id", QMP_BOOL, .optional = true },
	{ NULL, 0, 0, NULL, NULL },
};

static const QmpArg id_args[] = {
	{ "id", QMP_STRING, .optional = false },
	{ NULL, 0, 0, NULL, NULL },
};
/* clang-format on */

bool qmp_read_tag(JsonObject *args, Uuid *ret, GError **error)
{
	const char *text = qmp_args_string(args, "tag", NULL);
	Uuid tag;

	if (!text)
		return true;
	if (!uuid_parse(text, &tag, error)) {
		g_prefix_error(error, "Parameter 'tag': ");
		return false;
	}
	if (uuid_is_null(&tag))
		return qmp_refuse(error, "Parameter 'tag': %s means no tag; leave it out", text);
	*ret = tag;
	return true;
}

static bool read_type(JsonObject *args, BackendType *ret, GError **error)
{
	const char *name = qmp_args_string(args, "qom-type", "");
	bool hugetlb = qmp_args_bool(args, "hugetlb", false);

	for (size_t i = 0; i < G_N_ELEMENTS(object_types); i++) {
		if (strcmp(object_types[i].name, name) != 0)
			continue;
		*ret = object_types[i].type;
		if (hugetlb && strcmp(name, "memory-backend-memfd") != 0)
			return qmp_refuse(error,
					  "Property 'hugetlb' is for memory-backend-memfd, "
					  "not for %s",
					  name);
		if (hugetlb)
			*ret = BACKEND_HUGETLB;
		return true;
	}
	return qmp_refuse(error,
			  "Parameter 'qom-type' does not accept value '%s'; there are "
			  "memory-backend-ram, memory-backend-memfd, memory-backend-file, "
			  "memory-backend-devdax",
			  name);
}

static bool check_backend(const BackendConfig *config, GError **error)
{
	bool has_path = config->type == BACKEND_FILE || config->type == BACKEND_DEVDAX;

	if (has_path && !config->path)
		return qmp_refuse(error, "object '%s': 'mem-path' is missing", config->name);
	if (has_path && !g_path_is_absolute(config->path))
		return qmp_refuse(error, "object '%s': mem-path '%s' must be absolute",
				  config->name, config->path);
	if (!has_path && config->path)
		return qmp_refuse(error, "object '%s': 'mem-path' is for file and devdax only",
				  config->name);
	if (!has_path && config->size == 0)
		return qmp_refuse(error, "object '%s': can't create backend with size 0",
				  config->name);
	if (config->page_size && config->type != BACKEND_HUGETLB)
		return qmp_refuse(error, "object '%s': 'hugetlbsize' needs 'hugetlb'",
				  config->name);
	return true;
}

static bool read_backend(JsonObject *args, BackendConfig *ret, GError **error)
{
	const char *on_release = qmp_args_string(args, "on-release", NULL);
	BackendConfig config = {
		.name = qmp_args_string(args, "id", ""),
		.size = qmp_args_u64(args, "size", 0),
		.page_size = qmp_args_u64(args, "hugetlbsize", 0),
		.path = qmp_args_string(args, "mem-path", NULL),
		.share = qmp_args_bool(args, "share", false),
		.shareable = qmp_args_bool(args, "shareable", false),
		.read_only = qmp_args_bool(args, "readonly", false),
		.prealloc = qmp_args_bool(args, "prealloc", false),
	};

	if (!read_type(args, &config.type, error) || !qmp_read_tag(args, &config.tag, error) ||
	    !check_backend(&config, error))
		return false;
	if (on_release)
		config.on_release = strcmp(on_release, "wipe") == 0 ? ON_RELEASE_WIPE
								    : ON_RELEASE_KEEP;
	*ret = config;
	return true;
}

static void run_object_add(QmpCall *call, JsonObject *args, void *opaque)
{
	PoolDaemon *daemon = opaque;
	GError *error = NULL;
	BackendConfig config;
	QmpAction *action;

	if (!read_backend(args, &config, &error)) {
		qmp_call_fail(call, error);
		return;
	}
	action = qmp_action_new(call, AUDIT_BACKEND_ADD, NULL, config.name);
	action->tag = config.tag;
	action->len = config.size;
	daemon_add_backend(daemon, backend_spec_copy(&config, SPEC_FROM_QMP), qmp_action_done,
			   action);
}

static void run_object_del(QmpCall *call, JsonObject *args, void *opaque)
{
	PoolDaemon *daemon = opaque;
	const char *name = qmp_args_string(args, "id", "");

	daemon_remove_backend(daemon, name, qmp_action_done,
			      qmp_action_new(call, AUDIT_BACKEND_REMOVE, NULL, name));
}

/* ---- x-reclaim-backend ---- */

typedef struct ReclaimCall {
	const char *name;
	GError *error;
} ReclaimCall;

static void reclaim(Pool *pool, void *opaque)
{
	ReclaimCall *call = opaque;

	capacity_reclaim_backend(pool_peek_capacity(pool), call->name, &call->error);
}

static void run_reclaim(QmpCall *call, JsonObject *args, void *opaque)
{
	PoolDaemon *daemon = opaque;
	ReclaimCall reclaim_call = { .name = qmp_args_string(args, "id", "") };
	QmpAction *action = qmp_action_new(call, AUDIT_RECLAIM, NULL, reclaim_call.name);

	if (daemon_find_backend(daemon, reclaim_call.name, &reclaim_call.error))
		pool_call(daemon->pool, reclaim, &reclaim_call);
	if (reclaim_call.error) {
		qmp_action_fail(daemon, action, reclaim_call.error);
		return;
	}
	daemon_event_object(daemon, "BACKEND_RECLAIMED", "backend", reclaim_call.name);
	daemon_when_durable(daemon, qmp_action_done, action);
}

/* ---- device-add, device-del, x-device-reset ---- */

/* clang-format off */
static const QmpArg region_members[] = {
	{ "size",                QMP_U64,  .optional = false },
	{ "block-size",          QMP_U64,  .optional = true },
	{ "sharable",            QMP_BOOL, .optional = true },
	{ "read-only",           QMP_BOOL, .optional = true },
	{ "sanitize-on-release", QMP_BOOL, .optional = true },
	{ "non-volatile",        QMP_BOOL, .optional = true },
	{ NULL, 0, 0, NULL, NULL },
};

static const char *const hold_names[] = { "auto", "off", NULL };

static const QmpArg device_add_args[] = {
	{ "id",            QMP_STRING,  .optional = false },
	{ "dc-regions",    QMP_OBJECTS, .optional = true, .members = region_members },
	{ "ram",           QMP_U64,     .optional = true },
	{ "pmem",          QMP_U64,     .optional = true },
	{ "lsa",           QMP_U64,     .optional = true },
	{ "serial",        QMP_U64,     .optional = true },
	{ "max-extents",   QMP_U32,     .optional = true },
	{ "max-chain",     QMP_U32,     .optional = true },
	{ "dc-log-depth",  QMP_U32,     .optional = true },
	{ "read-latency",  QMP_U32,     .optional = true },
	{ "write-latency", QMP_U32,     .optional = true },
	{ "bandwidth",     QMP_U32,     .optional = true },
	{ "hold",          QMP_ENUM,    .optional = true, .values = hold_names },
	{ NULL, 0, 0, NULL, NULL },
};

static const QmpArg device_del_args[] = {
	{ "id",    QMP_STRING, .optional = false },
	{ "force", QMP_BOOL,   .optional = true },
	{ NULL, 0, 0, NULL, NULL },
};

static const QmpArg device_reset_args[] = {
	{ "id",     QMP_STRING, .optional = false },
	{ "forget", QMP_BOOL,   .optional = true },
	{ NULL, 0, 0, NULL, NULL },
};
/* clang-format on */

static bool read_regions(JsonObject *args, DeviceSpec *spec, GError **error)
{
	JsonArray *list = qmp_args_array(args, "dc-regions");
	guint n = list ? json_array_get_length(list) : 0;

	if (n > DC_MAX_REGIONS)
		return qmp_refuse(error, "device %s: %u regions, at most %d are possible",
				  spec->name, n, DC_MAX_REGIONS);
	for (guint i = 0; i < n; i++) {
		JsonObject *members = json_array_get_object_element(list, i);

		spec->regions[i] = (DcRegionConfig){
			.len = qmp_args_u64(members, "size", 0),
			.block_size = qmp_args_u64(members, "block-size", 0),
			.sharable = qmp_args_bool(members, "sharable", false),
			.read_only = qmp_args_bool(members, "read-only", false),
			.sanitize_on_release = qmp_args_bool(members, "sanitize-on-release", false),
			.non_volatile = qmp_args_bool(members, "non-volatile", false),
		};
	}
	spec->n_regions = n;
	return true;
}

static bool read_count(JsonObject *args, const char *name, uint32_t max, uint32_t *ret,
		       GError **error)
{
	uint64_t value = qmp_args_u64(args, name, 0);

	if (json_object_has_member(args, name) && (value == 0 || value > max))
		return qmp_refuse(error, "Parameter '%s' expects a number from 1 to %u", name, max);
	*ret = (uint32_t)value;
	return true;
}

static bool read_len(JsonObject *args, const char *name, uint64_t multiple, uint64_t *ret,
		     GError **error)
{
	uint64_t len = qmp_args_u64(args, name, 0);

	if (len % multiple != 0 || len > SPEC_LEN_MAX)
		return qmp_refuse(error,
				  "Parameter '%s': %" G_GUINT64_FORMAT
				  " must be a multiple of %" G_GUINT64_FORMAT " below 2^63",
				  name, len, multiple);
	*ret = len;
	return true;
}

static bool read_device(JsonObject *args, DeviceSpec *spec, GError **error)
{
	spec->serial = qmp_args_u64(args, "serial", 0);
	spec->hold_off = strcmp(qmp_args_string(args, "hold", "auto"), "off") == 0;
	if (spec->serial > SPEC_LEN_MAX)
		return qmp_refuse(error, "Parameter 'serial' must be below 2^63");
	return read_regions(args, spec, error) &&
	       read_len(args, "ram", DC_REGION_ALIGN, &spec->ram_len, error) &&
	       read_len(args, "pmem", DC_REGION_ALIGN, &spec->pmem_len, error) &&
	       read_len(args, "lsa", 4096, &spec->lsa_len, error) &&
	       read_count(args, "max-extents", 65536, &spec->max_extents, error) &&
	       read_count(args, "max-chain", 65535, &spec->max_chain, error) &&
	       read_count(args, "dc-log-depth", 65535, &spec->dc_log_depth, error) &&
	       read_count(args, "read-latency", LATENCY_NS_MAX, &spec->read_latency_ns, error) &&
	       read_count(args, "write-latency", LATENCY_NS_MAX, &spec->write_latency_ns, error) &&
	       read_count(args, "bandwidth", UINT32_MAX, &spec->bandwidth_mbps, error) &&
	       device_spec_check(spec, error);
}

static void run_device_add(QmpCall *call, JsonObject *args, void *opaque)
{
	PoolDaemon *daemon = opaque;
	DeviceSpec *spec = device_spec_new(qmp_args_string(args, "id", ""), SPEC_FROM_QMP);
	GError *error = NULL;

	if (!read_device(args, spec, &error)) {
		device_spec_free(spec);
		qmp_call_fail(call, error);
		return;
	}
	daemon_add_device(daemon, spec, qmp_action_done,
			  qmp_action_new(call, AUDIT_DEVICE_ADD, spec->name, NULL));
}

static void run_device_del(QmpCall *call, JsonObject *args, void *opaque)
{
	PoolDaemon *daemon = opaque;
	const char *name = qmp_args_string(args, "id", "");

	daemon_remove_device(daemon, name, qmp_args_bool(args, "force", false), qmp_action_done,
			     qmp_action_new(call, AUDIT_DEVICE_REMOVE, name, NULL));
}

typedef struct ResetCall {
	PoolDevice *device;
	bool forget;
} ResetCall;

static void reset_device(Pool *pool, void *opaque)
{
	ResetCall *call = opaque;

	device_reset(pool_device_peek_endpoint(call->device),
		     call->forget ? DEVICE_RESET_FORGET : DEVICE_RESET_CONVENTIONAL);
}

static void run_device_reset(QmpCall *call, JsonObject *args, void *opaque)
{
	PoolDaemon *daemon = opaque;
	GError *error = NULL;
	DaemonDevice *device = daemon_find_device(daemon, qmp_args_string(args, "id", ""), &error);
	ResetCall reset = { .forget = qmp_args_bool(args, "forget", false) };

	if (!device) {
		qmp_call_fail(call, error);
		return;
	}
	reset.device = device->device;
	pool_call(daemon->pool, reset_device, &reset);
	daemon_when_durable(daemon, qmp_action_done,
			    qmp_action_new(call, AUDIT_DEVICE_RESET, device->spec->name, NULL));
}

const QmpCommand qmp_object_commands[] = {
	{ "object-add", object_add_args, run_object_add },
	{ "object-del", id_args, run_object_del },
	{ "x-reclaim-backend", id_args, run_reclaim },
	{ "device-add", device_add_args, run_device_add },
	{ "device-del", device_del_args, run_device_del },
	{ "x-device-reset", device_reset_args, run_device_reset },
	{ NULL, NULL, NULL },
};
