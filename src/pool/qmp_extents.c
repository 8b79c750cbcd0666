/* SPDX-License-Identifier: BSD-3-Clause */
/* QMP query-extents: a device may have 65,536, so they are copied in slices between other work. */
#include "capacity/query.h"
#include "pool/pool_daemon_priv.h"

#define SLICE 1024

/* clang-format off */
static const QmpArg extent_args[] = {
	{ "device", QMP_STRING, .optional = true },
	{ "tag",    QMP_STRING, .optional = true },
	{ NULL, 0, 0, NULL, NULL },
};
/* clang-format on */

typedef struct Shown {
	DcExtent extent;
	DcExtentState state;
	char *backend; /* name; NULL = untagged */
} Shown;

typedef struct SliceCall {
	PoolDevice *device;
	Uuid tag; /* all zero = any */
	size_t start;
	uint64_t after;
	size_t n_seen;
	bool is_end;
	GArray *shown; /* Shown */
} SliceCall;

static void show(const DcExtent *extent, DcExtentState state, void *opaque)
{
	SliceCall *call = opaque;
	Shown shown = { .extent = *extent, .state = state };

	if (!uuid_is_null(&call->tag) && !uuid_equal(&call->tag, &extent->tag))
		return;
	/* The backend may be gone when this is written. */
	if (extent->backend)
		shown.backend = g_strdup(backend_name(extent->backend));
	g_array_append_val(call->shown, shown);
}

static void accepted_slice(Pool *pool, void *opaque)
{
	SliceCall *call = opaque;
	DcDevice *dev = pool_device_peek_dc(call->device);
	g_autofree DcExtent *extents = g_new(DcExtent, SLICE);

	call->n_seen = dc_device_extents(dev, call->start, extents, SLICE);
	for (size_t i = 0; i < call->n_seen; i++)
		show(&extents[i], DC_EXTENT_ACCEPTED, call);
	call->is_end = call->n_seen < SLICE;
}

static void other_slice(Pool *pool, void *opaque)
{
	SliceCall *call = opaque;

	call->after = dc_device_foreach_other(pool_device_peek_dc(call->device), call->after, SLICE,
					      show, call);
	call->is_end = call->after == 0;
}

static void add_extent(QmpText *text, const char *device, const Shown *shown)
{
	const DcExtent *extent = &shown->extent;

	qmp_text_begin(text, NULL, '{');
	qmp_text_string(text, "device", device);
	qmp_text_u64(text, "region", extent->region);
	qmp_text_u64(text, "dpa", extent->dpa);
	qmp_text_u64(text, "len", extent->len);
	qmp_text_tag(text, "tag", &extent->tag);
	qmp_text_u64(text, "seq", extent->shared_seq);
	qmp_text_string(text, "state", dc_extent_state_name(shown->state));
	qmp_text_string(text, "backend", shown->backend);
	qmp_text_u64(text, "backend-offset", extent->backend_offset);
	qmp_text_u64(text, "offer", extent->alloc);
	qmp_text_end(text, '}');
}

static void write_slice(SliceCall *call, QmpText *text, const char *device)
{
	for (guint i = 0; i < call->shown->len; i++) {
		Shown *shown = &g_array_index(call->shown, Shown, i);

		add_extent(text, device, shown);
		g_free(shown->backend);
	}
	g_array_set_size(call->shown, 0);
}

static void add_device(PoolDaemon *daemon, QmpText *text, const DaemonDevice *device,
		       const Uuid *tag)
{
	g_autoptr(GArray) shown = g_array_new(FALSE, FALSE, sizeof(Shown));
	SliceCall call = { .device = device->device, .tag = *tag, .shown = shown };

	do {
		pool_call(daemon->pool, accepted_slice, &call);
		call.start += call.n_seen;
		write_slice(&call, text, device->spec->name);
	} while (!call.is_end);
	do {
		pool_call(daemon->pool, other_slice, &call);
		write_slice(&call, text, device->spec->name);
	} while (!call.is_end);
}

static void run_query_extents(QmpCall *call, JsonObject *args, void *opaque)
{
	PoolDaemon *daemon = opaque;
	QmpText text = { .out = NULL };
	GError *error = NULL;
	Uuid tag = { { 0 } };
	g_autoptr(GPtrArray) devices = qmp_pick_devices(daemon, args, "device", &error);

	if (!devices || !qmp_read_tag(args, &tag, &error)) {
		qmp_call_fail(call, error);
		return;
	}
	text.out = g_string_new(NULL);
	qmp_text_begin(&text, NULL, '[');
	for (guint i = 0; i < devices->len; i++)
		add_device(daemon, &text, devices->pdata[i], &tag);
	qmp_text_end(&text, ']');
	qmp_call_return_text(call, text.out);
}

const QmpCommand qmp_extent_commands[] = {
	{ "query-extents", extent_args, run_query_extents },
	{ NULL, NULL, NULL },
};
