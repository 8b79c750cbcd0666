/* SPDX-License-Identifier: BSD-3-Clause */
/* What the pool's thread has to tell: events for the control socket's clients, lines for the audit.
 */
#include "pool/pool_daemon_priv.h"

/* A notice outlives what it names, so it carries copies. */
typedef struct Message {
	PoolDaemon *daemon;
	const char *event;
	char *device, *backend;
	int region; /* -1 = none */
	bool has_dpa;
	uint64_t offer, dpa, len;
	Uuid tag;
	bool is_host; /* of the host below */
	PoolHostInfo host;
	bool contents_lost;
} Message;

typedef struct NoticeRow {
	const char *event;
	AuditWhat audit;
	AuditActor actor;
	const char *failure;
} NoticeRow;

/* clang-format off */
/* What a client of the control socket asked for is in the audit with its command; where that led,
 * and what others did, comes from here. */
static const NoticeRow notice_rows[NOTICE_N_TYPES] = {
	[NOTICE_OFFERED]           = { "CAPACITY_OFFERED",           AUDIT_OFFER,           AUDIT_BY_POOL, NULL },
	[NOTICE_DELIVERED]         = { "CAPACITY_DELIVERED",         AUDIT_N_WHATS,         AUDIT_BY_POOL, NULL },
	[NOTICE_ACCEPTED]          = { "CAPACITY_ACCEPTED",          AUDIT_ACCEPT,          AUDIT_BY_HOST, NULL },
	[NOTICE_DECLINED]          = { "CAPACITY_DECLINED",          AUDIT_DECLINE,         AUDIT_BY_HOST, NULL },
	[NOTICE_WITHDRAWN]         = { "CAPACITY_WITHDRAWN",         AUDIT_N_WHATS,         AUDIT_BY_POOL, NULL },
	[NOTICE_RELEASE_REQUESTED] = { "CAPACITY_RELEASE_REQUESTED", AUDIT_N_WHATS,         AUDIT_BY_POOL, NULL },
	[NOTICE_RELEASED]          = { "CAPACITY_RELEASED",          AUDIT_RELEASE,         AUDIT_BY_HOST, NULL },
	[NOTICE_FREED]             = { "CAPACITY_FREED",             AUDIT_FREE,            AUDIT_BY_POOL, NULL },
	[NOTICE_QUARANTINED]       = { "CAPACITY_QUARANTINED",       AUDIT_QUARANTINE,      AUDIT_BY_POOL, NULL },
	[NOTICE_FORCED]            = { "CAPACITY_FORCED",            AUDIT_FORCE_RELEASE,   AUDIT_BY_POOL, NULL },
	[NOTICE_OFFER_FAILED]      = { "CAPACITY_WITHDRAWN",         AUDIT_OFFER,           AUDIT_BY_POOL,
				       "the ledger could not keep it" },
	[NOTICE_CONTENTS_LOST]     = { "CONTENTS_LOST",              AUDIT_CONTENTS_LOST,   AUDIT_BY_POOL, NULL },
};
/* clang-format on */

/* ---- on the daemon's thread ---- */

void daemon_event(PoolDaemon *daemon, const char *name, JsonObject *data)
{
	if (daemon->qmp)
		qmp_server_event(daemon->qmp, name, data);
	else
		json_object_unref(data);
}

void daemon_event_object(PoolDaemon *daemon, const char *name, const char *key, const char *value)
{
	JsonObject *data = json_object_new();

	json_object_set_string_member(data, key, value);
	daemon_event(daemon, name, data);
}

static void set_string(JsonObject *data, const char *name, const char *value)
{
	if (value)
		json_object_set_string_member(data, name, value);
	else
		json_object_set_null_member(data, name);
}

static void set_u64(JsonObject *data, const char *name, bool is_there, uint64_t value)
{
	if (is_there)
		json_object_set_member(data, name, qmp_json_new_u64(value));
	else
		json_object_set_null_member(data, name);
}

static JsonObject *capacity_data(const Message *message)
{
	JsonObject *data = json_object_new();
	char tag[UUID_TEXT_SIZE];

	uuid_format(&message->tag, tag);
	set_string(data, "device", message->device);
	set_u64(data, "region", message->region >= 0, (uint64_t)message->region);
	set_u64(data, "offer", message->offer != 0, message->offer);
	set_string(data, "backend", message->backend);
	set_string(data, "tag", uuid_is_null(&message->tag) ? NULL : tag);
	set_u64(data, "dpa", message->has_dpa, message->dpa);
	set_u64(data, "len", true, message->len);
	return data;
}

static JsonObject *host_data(const Message *message)
{
	JsonObject *data = json_object_new();

	set_string(data, "device", message->device);
	json_object_set_int_member(data, "pid", message->host.pid);
	json_object_set_int_member(data, "uid", message->host.uid);
	set_u64(data, "serial", true, message->host.serial);
	json_object_set_boolean_member(data, "control-only", message->host.control_only);
	return data;
}

static void note_contents_lost(const Message *message)
{
	DaemonBackend *backend = message->backend ? g_hash_table_lookup(message->daemon->backends,
									message->backend)
						  : NULL;

	if (backend)
		backend->contents_lost = true;
	g_printerr("softdcd serve: the contents of %s%s are lost: neither the daemon nor its "
		   "keeper had outlived them\n",
		   message->backend ? "backend " : "untagged capacity of device ",
		   message->backend ? message->backend : message->device);
}

static void message_free(Message *message)
{
	g_free(message->device);
	g_free(message->backend);
	g_free(message);
}

static gboolean message_arrived(gpointer data)
{
	Message *message = data;

	if (message->contents_lost)
		note_contents_lost(message);
	daemon_event(message->daemon, message->event,
		     message->is_host ? host_data(message) : capacity_data(message));
	message_free(message);
	return G_SOURCE_REMOVE;
}

/* ---- on the pool's thread ---- */

static void post(Message *message)
{
	g_idle_add_full(G_PRIORITY_DEFAULT, message_arrived, message, NULL);
}

static int region_of(DcDevice *device, uint64_t dpa)
{
	for (unsigned i = 0; i < dc_device_n_regions(device); i++) {
		const DcRegion *region = dc_device_region(device, i);

		if (dpa >= region->base && dpa - region->base < region->config.len)
			return (int)i;
	}
	return -1;
}

static void audit_notice(PoolDaemon *daemon, const CapacityNotice *notice, const NoticeRow *row)
{
	AuditEntry entry = {
		.what = row->audit,
		.who = { .actor = row->actor },
		.device = notice->device ? dc_device_name(notice->device) : NULL,
		.backend = notice->backend ? backend_name(notice->backend) : NULL,
		.tag = notice->tag,
		.id = notice->offer,
		.dpa = notice->dpa,
		.len = notice->len,
		.failure = row->failure,
	};
	PoolHostInfo host;

	if (row->audit == AUDIT_N_WHATS || !daemon->ledger)
		return;
	if (row->actor == AUDIT_BY_HOST && notice->device) {
		entry.who.name = entry.device;
		if (pool_host_of(daemon->pool, notice->device, &host)) {
			entry.who.pid = host.pid;
			entry.who.uid = host.uid;
		}
	}
	ledger_audit(daemon->ledger, &entry);
}

void daemon_take_notice(const CapacityNotice *notice, void *opaque)
{
	PoolDaemon *daemon = opaque;
	const NoticeRow *row = &notice_rows[notice->type];
	Message *message = g_new0(Message, 1);

	audit_notice(daemon, notice, row);
	message->daemon = daemon;
	message->event = row->event;
	message->region = -1;
	message->tag = notice->tag;
	message->offer = notice->offer;
	message->len = notice->len;
	message->contents_lost = notice->type == NOTICE_CONTENTS_LOST;
	if (notice->device) {
		message->device = g_strdup(dc_device_name(notice->device));
		message->has_dpa = notice->len > 0;
		message->dpa = notice->dpa;
		message->region = region_of(notice->device, notice->dpa);
	}
	if (notice->backend)
		message->backend = g_strdup(backend_name(notice->backend));
	post(message);
}

void daemon_take_host_event(const PoolHostEvent *event, void *opaque)
{
	PoolDaemon *daemon = opaque;
	Message *message = g_new0(Message, 1);
	AuditEntry entry = {
		.what = event->connected ? AUDIT_HOST_CONNECT : AUDIT_HOST_DISCONNECT,
		.who = { AUDIT_BY_HOST, event->device, event->host.pid, event->host.uid },
		.device = event->device,
		.id = event->host.serial,
	};

	if (daemon->ledger)
		ledger_audit(daemon->ledger, &entry);
	message->daemon = daemon;
	message->event = event->connected ? "HOST_CONNECTED" : "HOST_DISCONNECTED";
	message->device = g_strdup(event->device);
	message->is_host = true;
	message->host = event->host;
	post(message);
}

void daemon_take_wipe(const WipeInfo *info, void *opaque)
{
	PoolDaemon *daemon = opaque;
	AuditEntry entry = {
		.what = AUDIT_WIPE,
		.backend = info->backend ? backend_name(info->backend) : NULL,
		.id = info->offer,
		.len = info->len,
		.failure = info->result < 0 ? g_strerror(-info->result) : NULL,
	};

	if (info->backend)
		entry.tag = *backend_tag(info->backend);
	if (daemon->ledger)
		ledger_audit(daemon->ledger, &entry);
}
