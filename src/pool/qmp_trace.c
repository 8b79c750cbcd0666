/* SPDX-License-Identifier: BSD-3-Clause */
/* QMP x-trace: a device's trace as events to the clients that asked for it. */
#include "pool/pool_daemon_priv.h"
#include "pool/pool_trace.h"
#include "trace/trace_event.h"

#include <glib-unix.h>

#define TAKEN_PER_TURN  256       /* then other work of the daemon's thread gets its turn */
#define MAX_BACKLOG_LEN (1 << 20) /* bytes; of a client with more waiting, entries are lost */

/* clang-format off */
static const QmpArg trace_args[] = {
	{ "device",   QMP_STRING, .optional = false },
	{ "enable",   QMP_BOOL,   .optional = false },
	{ "payloads", QMP_BOOL,   .optional = true },
	{ NULL, 0, 0, NULL, NULL },
};
/* clang-format on */

typedef struct TraceClient {
	uint64_t id;
	bool payloads;
	uint64_t n_lost; /* since what it was last sent */
} TraceClient;

/* One device that somebody traces. */
struct DaemonTrace {
	PoolDaemon *daemon;
	char *device;
	TraceRing *ring;
	GSource *source;
	GArray *clients; /* TraceClient */
};

/* ---- to the clients ---- */

/* False: the client is gone. */
static bool send_entry(DaemonTrace *trace, TraceClient *client, const TraceEntry *entry)
{
	TraceEntry counted = *entry;

	client->n_lost += entry->n_lost;
	if (qmp_server_backlog(trace->daemon->qmp, client->id) > MAX_BACKLOG_LEN) {
		client->n_lost++;
		return true;
	}
	counted.n_lost = client->n_lost;
	client->n_lost = 0;
	return qmp_server_event_to(trace->daemon->qmp, client->id, "X_TRACE",
				   trace_event_new(trace->device, &counted, client->payloads));
}

static gboolean entries_arrived(gint fd, GIOCondition condition, gpointer data)
{
	DaemonTrace *trace = data;

	for (unsigned n = 0; n < TAKEN_PER_TURN; n++) {
		const TraceEntry *entry = trace_ring_take(trace->ring);

		if (!entry)
			break;
		for (guint i = trace->clients->len; i-- > 0;) {
			if (!send_entry(trace, &g_array_index(trace->clients, TraceClient, i),
					entry))
				g_array_remove_index(trace->clients, i);
		}
	}
	return G_SOURCE_CONTINUE;
}

/* ---- beginning and end ---- */

typedef struct TraceCall {
	PoolDevice *device;
	TraceRing *ring;
} TraceCall;

static void run_set_trace(Pool *pool, void *opaque)
{
	const TraceCall *call = opaque;

	pool_device_set_trace(call->device, call->ring);
}

static DaemonTrace *trace_new(PoolDaemon *daemon, const char *device)
{
	TraceRing *ring = trace_ring_new(0);
	DaemonTrace *trace;

	if (!ring)
		return NULL;
	trace = g_new0(DaemonTrace, 1);
	trace->daemon = daemon;
	trace->device = g_strdup(device);
	trace->ring = ring;
	trace->clients = g_array_new(FALSE, FALSE, sizeof(TraceClient));
	trace->source = g_unix_fd_source_new(trace_ring_peek_fd(ring), G_IO_IN);
	/* Whoever waits for an answer comes first. */
	g_source_set_priority(trace->source, G_PRIORITY_DEFAULT_IDLE);
	g_source_set_callback(trace->source, G_SOURCE_FUNC(entries_arrived), trace, NULL);
	g_source_attach(trace->source, NULL);
	return trace;
}

void daemon_trace_free(gpointer data)
{
	DaemonTrace *trace = data;

	g_source_destroy(trace->source);
	g_source_unref(trace->source);
	g_array_unref(trace->clients);
	trace_ring_unref(trace->ring);
	g_free(trace->device);
	g_free(trace);
}

/* Nobody traces it any more: it costs nothing again. */
static void end_if_unused(PoolDaemon *daemon, DaemonTrace *trace)
{
	DaemonDevice *device = daemon_find_device(daemon, trace->device, NULL);
	TraceCall call = { .device = device ? device->device : NULL };

	if (trace->clients->len > 0)
		return;
	if (device)
		pool_call(daemon->pool, run_set_trace, &call);
	g_hash_table_remove(daemon->traces, trace->device);
}

static void drop_client(DaemonTrace *trace, uint64_t id)
{
	for (guint i = trace->clients->len; i-- > 0;) {
		if (g_array_index(trace->clients, TraceClient, i).id == id)
			g_array_remove_index(trace->clients, i);
	}
}

void daemon_trace_client_gone(PoolDaemon *daemon, uint64_t id)
{
	g_autoptr(GList) traces = g_hash_table_get_values(daemon->traces);

	for (GList *link = traces; link; link = link->next) {
		drop_client(link->data, id);
		end_if_unused(daemon, link->data);
	}
}

/* ---- the command ---- */

static bool enable(PoolDaemon *daemon, DaemonDevice *device, const TraceClient *client)
{
	DaemonTrace *trace = g_hash_table_lookup(daemon->traces, device->spec->name);
	TraceCall call = { .device = device->device };

	if (!trace) {
		trace = trace_new(daemon, device->spec->name);
		if (!trace)
			return false;
		g_hash_table_insert(daemon->traces, trace->device, trace);
	}
	drop_client(trace, client->id);
	g_array_append_vals(trace->clients, client, 1);
	/* Also for a device that has been removed and made again since. */
	call.ring = trace->ring;
	pool_call(daemon->pool, run_set_trace, &call);
	return true;
}

static void run_trace(QmpCall *call, JsonObject *args, void *opaque)
{
	PoolDaemon *daemon = opaque;
	TraceClient client = {
		.id = qmp_call_peek_peer(call)->client,
		.payloads = qmp_args_bool(args, "payloads", false),
	};
	GError *error = NULL;
	DaemonDevice *device = daemon_find_device(daemon, qmp_args_string(args, "device", ""),
						  &error);
	DaemonTrace *trace;

	if (!device) {
		qmp_call_fail(call, error);
		return;
	}
	if (qmp_args_bool(args, "enable", false)) {
		if (enable(daemon, device, &client))
			qmp_call_return(call, NULL);
		else
			qmp_call_error(call, QMP_ERROR_GENERIC,
				       "device %s: no memory or descriptors left for a trace",
				       device->spec->name);
		return;
	}
	trace = g_hash_table_lookup(daemon->traces, device->spec->name);
	if (trace) {
		drop_client(trace, client.id);
		end_if_unused(daemon, trace);
	}
	qmp_call_return(call, NULL);
}

const QmpCommand qmp_trace_commands[] = {
	{ "x-trace", trace_args, run_trace },
	{ NULL, NULL, NULL },
};
