/* SPDX-License-Identifier: BSD-3-Clause */
/* QMP commands that offer capacity and ask for it back. */
#include "capacity/query.h"
#include "pool/pool_daemon_priv.h"

#include <string.h>

/* clang-format off */
static const char *const selection_names[] = {
	[OFFER_FREE] = "free",
	[OFFER_CONTIGUOUS] = "contiguous",
	[OFFER_PRESCRIPTIVE] = "prescriptive",
	[OFFER_ENABLE_SHARED_ACCESS] = "enable-shared-access",
	NULL,
};

static const char *const removal_names[] = { "tag-based", "prescriptive", NULL };

static const QmpArg extent_members[] = {
	{ "offset", QMP_U64, .optional = false },
	{ "len",    QMP_U64, .optional = false },
	{ NULL, 0, 0, NULL, NULL },
};

static const QmpArg add_args[] = {
	{ "path",             QMP_STRING,  .optional = false },
	{ "host-id",          QMP_U16,     .optional = false },
	{ "selection-policy", QMP_ENUM,    .optional = false, .values = selection_names },
	{ "region",           QMP_U8,      .optional = false },
	{ "tag",              QMP_STRING,  .optional = true },
	{ "extents",          QMP_OBJECTS, .optional = true, .members = extent_members },
	{ "length",           QMP_U64,     .optional = true },
	{ NULL, 0, 0, NULL, NULL },
};

static const QmpArg release_args[] = {
	{ "path",                QMP_STRING,  .optional = false },
	{ "host-id",             QMP_U16,     .optional = false },
	{ "removal-policy",      QMP_ENUM,    .optional = false, .values = removal_names },
	{ "forced-removal",      QMP_BOOL,    .optional = true },
	{ "sanitize-on-release", QMP_BOOL,    .optional = true },
	{ "region",              QMP_U8,      .optional = false },
	{ "tag",                 QMP_STRING,  .optional = true },
	{ "extents",             QMP_OBJECTS, .optional = true, .members = extent_members },
	{ "timeout",             QMP_U64,     .optional = true },
	{ NULL, 0, 0, NULL, NULL },
};

static const QmpArg status_args[] = {
	{ "path",    QMP_STRING, .optional = false },
	{ "host-id", QMP_U16,    .optional = false },
	{ "region",  QMP_U8,     .optional = false },
	{ "tag",     QMP_STRING, .optional = false },
	{ NULL, 0, 0, NULL, NULL },
};

static const QmpArg withdraw_args[] = {
	{ "path",  QMP_STRING, .optional = false },
	{ "offer", QMP_U64,    .optional = true },
	{ "tag",   QMP_STRING, .optional = true },
	{ NULL, 0, 0, NULL, NULL },
};
/* clang-format on */

/* ---- what all of them have ---- */

DaemonDevice *qmp_find_path(PoolDaemon *daemon, JsonObject *args, GError **error)
{
	const char *path = qmp_args_string(args, "path", "");
	const char *slash = strrchr(path, '/');
	DaemonDevice *device = daemon_find_device(daemon, slash ? slash + 1 : path, NULL);

	/* QEMU answers GenericError here. */
	if (!device)
		qmp_refuse(error, "Unable to find CXL type 3 device with path '%s'", path);
	return device;
}

/* The device with its region of dynamic capacity. */
static DaemonDevice *find_region(PoolDaemon *daemon, JsonObject *args, uint8_t *ret_region,
				 GError **error)
{
	DaemonDevice *device = qmp_find_path(daemon, args, error);
	uint64_t region = qmp_args_u64(args, "region", 0);

	if (!device)
		return NULL;
	if (device->spec->n_regions == 0) {
		qmp_refuse(error, "device %s: no dynamic capacity support from the device",
			   device->spec->name);
		return NULL;
	}
	if (region >= device->spec->n_regions) {
		qmp_refuse(error, "device %s: region id %u is too large, it has regions 0 to %u",
			   device->spec->name, (unsigned)region, device->spec->n_regions - 1);
		return NULL;
	}
	*ret_region = (uint8_t)region;
	return device;
}

static GArray *read_extents(JsonObject *args)
{
	JsonArray *list = qmp_args_array(args, "extents");
	guint n = list ? json_array_get_length(list) : 0;
	GArray *extents = g_array_sized_new(FALSE, FALSE, sizeof(OfferExtent), n);

	for (guint i = 0; i < n; i++) {
		JsonObject *members = json_array_get_object_element(list, i);
		OfferExtent extent = {
			.offset = qmp_args_u64(members, "offset", 0),
			.len = qmp_args_u64(members, "len", 0),
		};

		g_array_append_val(extents, extent);
	}
	return extents;
}

static unsigned read_enum(JsonObject *args, const char *name, const char *const *names)
{
	const char *text = qmp_args_string(args, name, "");
	unsigned i = 0;

	while (strcmp(names[i], text) != 0)
		i++;
	return i;
}

/* ---- cxl-add-dynamic-capacity ---- */

static bool check_offer(const OfferRequest *request, GError **error)
{
	bool prescriptive = request->policy == OFFER_PRESCRIPTIVE;

	if (!prescriptive && request->n_extents > 0)
		return qmp_refuse(error,
				  "'extents' are for the prescriptive policy; with %s leave "
				  "them out",
				  selection_names[request->policy]);
	if (prescriptive && request->len)
		return qmp_refuse(error,
				  "'length' is for the other policies; a prescriptive offer's "
				  "is that of its extents");
	if (!prescriptive && uuid_is_null(&request->tag) && request->len == 0)
		return qmp_refuse(error,
				  "Parameter 'length' is missing: untagged capacity needs one");
	return true;
}

static void offer_is_durable(PoolDaemon *daemon, GError *error, void *opaque)
{
	/* What the ledger could not keep the core has taken back. */
	qmp_action_done(daemon, error, opaque);
}

static void run_add(QmpCall *call, JsonObject *args, void *opaque)
{
	PoolDaemon *daemon = opaque;
	g_autoptr(GArray) extents = read_extents(args);
	OfferRequest request = {
		.policy = (OfferPolicy)read_enum(args, "selection-policy", selection_names),
		.extents = (OfferExtent *)extents->data,
		.n_extents = extents->len,
		.len = qmp_args_u64(args, "length", 0),
	};
	GError *error = NULL;
	DaemonDevice *device = find_region(daemon, args, &request.region, &error);
	bool ok = device && qmp_read_tag(args, &request.tag, &error) &&
		  check_offer(&request, &error);
	QmpAction *action = qmp_action_new(call, AUDIT_OFFER, device ? device->spec->name : NULL,
					   NULL);

	action->tag = request.tag;
	action->result = "offer";
	if (ok && pool_offer(daemon->pool, device->device, &request, &action->id, &error))
		daemon_when_durable(daemon, offer_is_durable, action);
	else
		qmp_action_fail(daemon, action, error);
}

/* ---- x-withdraw-offer ---- */

typedef struct WithdrawCall {
	PoolDevice *device;
	uint64_t offer;
	Uuid tag;
	GError *error;
} WithdrawCall;

static void withdraw(Pool *pool, void *opaque)
{
	WithdrawCall *call = opaque;

	capacity_withdraw(pool_peek_capacity(pool), pool_device_peek_dc(call->device), call->offer,
			  &call->tag, &call->error);
}

static bool read_withdraw(JsonObject *args, WithdrawCall *call)
{
	bool by_offer = json_object_has_member(args, "offer");

	if (by_offer == json_object_has_member(args, "tag"))
		return qmp_refuse(&call->error, "exactly one of 'offer' and 'tag' is needed");
	call->offer = qmp_args_u64(args, "offer", 0);
	if (by_offer && call->offer == 0)
		return qmp_refuse(&call->error, "there is no offer 0");
	return qmp_read_tag(args, &call->tag, &call->error);
}

static void run_withdraw(QmpCall *call, JsonObject *args, void *opaque)
{
	PoolDaemon *daemon = opaque;
	WithdrawCall withdraw_call = { 0 };
	DaemonDevice *device = qmp_find_path(daemon, args, &withdraw_call.error);
	QmpAction *action = qmp_action_new(call, AUDIT_WITHDRAW, device ? device->spec->name : NULL,
					   NULL);

	if (device && read_withdraw(args, &withdraw_call)) {
		withdraw_call.device = device->device;
		action->id = withdraw_call.offer;
		action->tag = withdraw_call.tag;
		pool_call(daemon->pool, withdraw, &withdraw_call);
	}
	if (withdraw_call.error)
		qmp_action_fail(daemon, action, withdraw_call.error);
	else
		daemon_when_durable(daemon, qmp_action_done, action);
}

/* ---- cxl-release-dynamic-capacity ---- */

typedef struct ReleaseCall {
	PoolDevice *device;
	ReleaseRequest request;
	const Uuid *tag; /* each of the request's extents must carry it; NULL = any */
	uint64_t id;
	GError *error;
} ReleaseCall;

/* All of this range accepted and of this tag? What is not accepted the core refuses. */
static bool range_has_tag(DcDevice *dev, uint64_t dpa, uint64_t len, const Uuid *tag,
			  GError **error)
{
	uint64_t end = dpa + len;
	DcExtent extent;

	while (dpa < end && dc_device_find_extent(dev, dpa, &extent)) {
		if (!uuid_equal(&extent.tag, tag))
			return qmp_refuse(error,
					  "the extent at DPA %" G_GUINT64_FORMAT
					  " does not carry that tag; see query-extents",
					  extent.dpa);
		dpa = extent.dpa + extent.len;
	}
	return true;
}

static void release(Pool *pool, void *opaque)
{
	ReleaseCall *call = opaque;
	DcDevice *dev = pool_device_peek_dc(call->device);
	const DcRegion *region = dc_device_region(dev, call->request.region);

	for (size_t i = 0; call->tag && i < call->request.n_extents; i++) {
		const OfferExtent *extent = &call->request.extents[i];

		if (extent->offset < region->config.len &&
		    extent->len <= region->config.len - extent->offset &&
		    !range_has_tag(dev, region->base + extent->offset, extent->len, call->tag,
				   &call->error))
			return;
	}
	capacity_release(pool_peek_capacity(pool), dev, &call->request, &call->id, &call->error);
}

static bool check_release(ReleaseCall *call, bool tag_based, const Uuid *tag)
{
	bool has_tag = !uuid_is_null(tag);

	if (tag_based && !has_tag)
		return qmp_refuse(&call->error, "Parameter 'tag' is missing: a tag-based removal "
						"needs one");
	if (!tag_based && call->request.n_extents == 0)
		return qmp_refuse(&call->error, "Parameter 'extents' is missing: a prescriptive "
						"removal needs at least one");
	if (tag_based) {
		call->request.tag = *tag;
		call->request.extents = NULL;
		call->request.n_extents = 0;
	} else if (has_tag) {
		call->tag = tag;
	}
	return true;
}

static void run_release(QmpCall *call, JsonObject *args, void *opaque)
{
	PoolDaemon *daemon = opaque;
	g_autoptr(GArray) extents = read_extents(args);
	ReleaseCall release_call = {
		.request = {
			.extents = (OfferExtent *)extents->data,
			.n_extents = extents->len,
			.forced = qmp_args_bool(args, "forced-removal", false),
			.sanitize = qmp_args_bool(args, "sanitize-on-release", false),
			.timeout_us = qmp_args_u64(args, "timeout", 0),
		},
	};
	bool tag_based = read_enum(args, "removal-policy", removal_names) == 0;
	DaemonDevice *device = find_region(daemon, args, &release_call.request.region,
					   &release_call.error);
	QmpAction *action = qmp_action_new(
		call, release_call.request.forced ? AUDIT_FORCE_RELEASE : AUDIT_RELEASE_REQUEST,
		device ? device->spec->name : NULL, NULL);

	action->result = "release";
	if (device && qmp_read_tag(args, &action->tag, &release_call.error) &&
	    check_release(&release_call, tag_based, &action->tag)) {
		release_call.device = device->device;
		pool_call(daemon->pool, release, &release_call);
	}
	action->id = release_call.id;
	if (release_call.error)
		qmp_action_fail(daemon, action, release_call.error);
	else
		daemon_when_durable(daemon, qmp_action_done, action);
}

/* ---- cxl-release-dynamic-capacity-status ---- */

typedef struct StatusCall {
	PoolDevice *device;
	uint8_t region;
	Uuid tag;
	uint64_t len[DC_EXTENT_N_STATES];
	ReleaseInfo request; /* id 0 = none */
} StatusCall;

static void look_at_request(const ReleaseInfo *info, void *opaque)
{
	StatusCall *call = opaque;

	if (info->state < RELEASE_DONE && uuid_equal(&info->tag, &call->tag))
		call->request = *info;
}

static void look_at_tag(Pool *pool, void *opaque)
{
	StatusCall *call = opaque;
	DcDevice *dev = pool_device_peek_dc(call->device);

	dc_device_foreach_release(dev, look_at_request, call);
	dc_device_tag_bytes(dev, call->region, &call->tag, call->len);
}

static const char *status_of(const StatusCall *call, char **ret_message)
{
	if (call->len[DC_EXTENT_ACCEPTED]) {
		*ret_message = call->request.id
				       ? g_strdup_printf("accepted; the host has been asked for "
							 "it, %u times again since (request "
							 "%" G_GUINT64_FORMAT ")",
							 call->request.n_resent, call->request.id)
				       : g_strdup("accepted; nobody has asked the host for it");
		return "committed";
	}
	if (call->len[DC_EXTENT_QUEUED] || call->len[DC_EXTENT_OFFERED]) {
		*ret_message = g_strdup("offered; the host has not answered");
		return "pending";
	}
	if (call->len[DC_EXTENT_DRAINING] || call->len[DC_EXTENT_QUARANTINED]) {
		*ret_message = g_strdup("given back or taken away; not confirmed, wiped and free "
					"yet");
		return "draining";
	}
	*ret_message = g_strdup("nothing of this tag is in this region");
	return "gone";
}

static void run_status(QmpCall *call, JsonObject *args, void *opaque)
{
	PoolDaemon *daemon = opaque;
	StatusCall status_call = { 0 };
	g_autofree char *message = NULL;
	GError *error = NULL;
	DaemonDevice *device = find_region(daemon, args, &status_call.region, &error);
	QmpText text = { .out = NULL };
	const char *status;

	if (!device || !qmp_read_tag(args, &status_call.tag, &error)) {
		qmp_call_fail(call, error);
		return;
	}
	status_call.device = device->device;
	pool_call(daemon->pool, look_at_tag, &status_call);
	status = status_of(&status_call, &message);
	text.out = g_string_new(NULL);
	qmp_text_begin(&text, NULL, '{');
	qmp_text_string(&text, "status", status);
	qmp_text_string(&text, "message", message);
	qmp_text_end(&text, '}');
	qmp_call_return_text(call, text.out);
}

const QmpCommand qmp_capacity_commands[] = {
	{ "cxl-add-dynamic-capacity", add_args, run_add },
	{ "cxl-release-dynamic-capacity", release_args, run_release },
	{ "cxl-release-dynamic-capacity-status", status_args, run_status },
	{ "x-withdraw-offer", withdraw_args, run_withdraw },
	{ NULL, NULL, NULL },
};
