/* SPDX-License-Identifier: BSD-3-Clause */
/* QMP commands that put event records into a device's logs, with QEMU's names and arguments. */
#include "pool/pool_daemon_priv.h"

#include <string.h>

/* clang-format off */
static const char *const log_names[] = {
	[CXL_LOG_INFO] = "informational",
	[CXL_LOG_WARNING] = "warning",
	[CXL_LOG_FAILURE] = "failure",
	[CXL_LOG_FATAL] = "fatal",
	NULL,
};

#define COMMON_ARGS                                                        \
	{ "path",              QMP_STRING, .optional = false },            \
	{ "log",               QMP_ENUM,   .optional = false, .values = log_names }, \
	{ "flags",             QMP_U32,    .optional = false },            \
	{ "maint-op-class",    QMP_U8,     .optional = true },             \
	{ "maint-op-subclass", QMP_U8,     .optional = true },             \
	{ "ld-id",             QMP_U16,    .optional = true },             \
	{ "head-id",           QMP_U8,     .optional = true }

#define COMPONENT_ARGS                                                     \
	{ "component-id",      QMP_STRING, .optional = true },             \
	{ "is-comp-id-pldm",   QMP_BOOL,   .optional = true }

#define MEDIA_ARGS                                                         \
	{ "dpa",               QMP_U64,    .optional = false },            \
	{ "descriptor",        QMP_U8,     .optional = false },            \
	{ "type",              QMP_U8,     .optional = false },            \
	{ "transaction-type",  QMP_U8,     .optional = false },            \
	{ "sub-type",          QMP_U8,     .optional = false },            \
	{ "channel",           QMP_U8,     .optional = true },             \
	{ "rank",              QMP_U8,     .optional = true },             \
	{ "cme-ev-flags",      QMP_U8,     .optional = true }

static const QmpArg media_args[] = {
	COMMON_ARGS,
	MEDIA_ARGS,
	{ "device",            QMP_U32,    .optional = true },
	COMPONENT_ARGS,
	{ "cme-count",         QMP_U32,    .optional = true },
	{ NULL, 0, 0, NULL, NULL },
};

static const QmpArg dram_args[] = {
	COMMON_ARGS,
	MEDIA_ARGS,
	{ "nibble-mask",       QMP_U32,    .optional = true },
	{ "bank-group",        QMP_U8,     .optional = true },
	{ "bank",              QMP_U8,     .optional = true },
	{ "row",               QMP_U32,    .optional = true },
	{ "column",            QMP_U16,    .optional = true },
	{ "correction-mask",   QMP_U64S,   .optional = true },
	COMPONENT_ARGS,
	{ "sub-channel",       QMP_U8,     .optional = true },
	{ "cvme-count",        QMP_U32,    .optional = true },
	{ NULL, 0, 0, NULL, NULL },
};

static const QmpArg module_args[] = {
	COMMON_ARGS,
	{ "type",                             QMP_U8,  .optional = false },
	{ "health-status",                    QMP_U8,  .optional = false },
	{ "media-status",                     QMP_U8,  .optional = false },
	{ "additional-status",                QMP_U8,  .optional = false },
	{ "life-used",                        QMP_U8,  .optional = false },
	{ "temperature",                      QMP_I16, .optional = false },
	{ "dirty-shutdown-count",             QMP_U32, .optional = false },
	{ "corrected-volatile-error-count",   QMP_U32, .optional = false },
	{ "corrected-persistent-error-count", QMP_U32, .optional = false },
	{ "sub-type",                         QMP_U8,  .optional = false },
	COMPONENT_ARGS,
	{ NULL, 0, 0, NULL, NULL },
};
/* clang-format on */

#define U24_MAX 0xffffffu

/* ---- reading ---- */

static bool refuse(GError **error, const char *name, const char *rule)
{
	g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC, "Parameter '%s' %s", name, rule);
	return false;
}

static bool read_u24(JsonObject *args, const char *name, le24 *ret, GError **error)
{
	uint64_t value = qmp_args_u64(args, name, 0);

	if (value > U24_MAX)
		return refuse(error, name, "expects a 24-bit number");
	*ret = le24_put((uint32_t)value);
	return true;
}

static uint8_t read_u8(JsonObject *args, const char *name)
{
	return (uint8_t)qmp_args_u64(args, name, 0);
}

static uint32_t read_u32(JsonObject *args, const char *name)
{
	return (uint32_t)qmp_args_u64(args, name, 0);
}

/* The bit of a validity field that says whether an optional argument was given. */
static uint16_t given(JsonObject *args, const char *name, unsigned bit)
{
	return json_object_has_member(args, name) ? (uint16_t)bit : 0;
}

static unsigned read_log(JsonObject *args)
{
	const char *name = qmp_args_string(args, "log", "");
	unsigned log = 0;

	while (strcmp(log_names[log], name) != 0)
		log++;
	return log;
}

/* The log says how severe it is, whatever the flags have there. */
static bool read_header(JsonObject *args, const uint8_t uuid[CXL_UUID_LEN], bool media,
			CxlEventHeader *ret, GError **error)
{
	uint32_t flags = read_u32(args, "flags");
	unsigned log = read_log(args);

	if (flags > U24_MAX)
		return refuse(error, "flags", "expects a 24-bit number");
	flags = (flags & ~CXL_EVENT_SEVERITY) | log;
	if (media && log == CXL_LOG_INFO && (flags & CXL_EVENT_MAINTENANCE_NEEDED))
		return refuse(error, "flags",
			      "has the maintenance needed flag, which an informational record "
			      "cannot have");
	flags |= given(args, "maint-op-subclass", CXL_EVENT_MAINT_SUBCLASS_VALID);
	flags |= given(args, "ld-id", CXL_EVENT_LD_ID_VALID);
	flags |= given(args, "head-id", CXL_EVENT_HEAD_ID_VALID);
	memcpy(ret->uuid, uuid, CXL_UUID_LEN);
	ret->flags = le24_put(flags);
	ret->maint_class = read_u8(args, "maint-op-class");
	ret->maint_subclass = read_u8(args, "maint-op-subclass");
	ret->ld_id = le16_put((uint16_t)qmp_args_u64(args, "ld-id", 0));
	ret->head_id = read_u8(args, "head-id");
	return true;
}

/* Text, filled up with zeros. */
static bool read_component(JsonObject *args, uint8_t ret[CXL_COMPONENT_ID_LEN], GError **error)
{
	const char *text = qmp_args_string(args, "component-id", "");
	size_t len = strlen(text);

	if (len > CXL_COMPONENT_ID_LEN)
		return refuse(error, "component-id", "expects at most 16 bytes");
	memcpy(ret, text, len);
	return true;
}

static uint16_t component_bits(JsonObject *args, unsigned valid, unsigned pldm)
{
	uint16_t bits = given(args, "component-id", valid);

	return bits && qmp_args_bool(args, "is-comp-id-pldm", false) ? (uint16_t)(bits | pldm)
								     : bits;
}

static bool read_correction_mask(JsonObject *args, uint8_t ret[32], GError **error)
{
	JsonArray *list = qmp_args_array(args, "correction-mask");
	guint n = list ? json_array_get_length(list) : 0;
	uint64_t value;

	if (n > 4)
		return refuse(error, "correction-mask", "expects at most 4 numbers");
	for (guint i = 0; i < n; i++) {
		if (!qmp_json_get_u64(json_array_get_element(list, i), &value))
			return refuse(error, "correction-mask", "expects uint64");
		le64_store(ret + 8 * i, value);
	}
	return true;
}

/* ---- putting it in ---- */

typedef struct InjectCall {
	PoolDevice *device;
	unsigned log;
	const CxlEventRecord *record;
	bool ok;
} InjectCall;

static void inject(Pool *pool, void *opaque)
{
	InjectCall *call = opaque;

	call->ok = device_inject_event(pool_device_peek_endpoint(call->device), call->log,
				       call->record);
}

static void inject_record(QmpCall *call, PoolDaemon *daemon, JsonObject *args, const void *record)
{
	InjectCall inject_call = { .log = read_log(args), .record = record };
	GError *error = NULL;
	DaemonDevice *device = qmp_find_path(daemon, args, &error);

	if (!device) {
		qmp_call_fail(call, error);
		return;
	}
	inject_call.device = device->device;
	pool_call(daemon->pool, inject, &inject_call);
	if (inject_call.ok)
		qmp_call_return(call, NULL);
	else
		qmp_call_error(call, QMP_ERROR_GENERIC,
			       "device %s: its %s event log is full; the record counts as lost, "
			       "the host must clear some first",
			       device->spec->name, log_names[inject_call.log]);
}

static void run_media(QmpCall *call, JsonObject *args, void *opaque)
{
	static const uint8_t uuid[] = CXL_UUID_EVENT_GENERAL_MEDIA;
	CxlEventGeneralMedia record = { .descriptor = read_u8(args, "descriptor") };
	GError *error = NULL;

	record.dpa = le64_put(qmp_args_u64(args, "dpa", 0));
	record.type = read_u8(args, "type");
	record.transaction = read_u8(args, "transaction-type");
	record.sub_type = read_u8(args, "sub-type");
	record.channel = read_u8(args, "channel");
	record.rank = read_u8(args, "rank");
	record.cme_flags = read_u8(args, "cme-ev-flags");
	record.validity = le16_put(given(args, "channel", CXL_GENERAL_MEDIA_VALID_CHANNEL) |
				   given(args, "rank", CXL_GENERAL_MEDIA_VALID_RANK) |
				   given(args, "device", CXL_GENERAL_MEDIA_VALID_DEVICE) |
				   component_bits(args, CXL_GENERAL_MEDIA_VALID_COMPONENT,
						  CXL_GENERAL_MEDIA_VALID_COMPONENT_PLDM));
	if (read_header(args, uuid, true, &record.header, &error) &&
	    read_u24(args, "device", &record.device, &error) &&
	    read_u24(args, "cme-count", &record.cme_count, &error) &&
	    read_component(args, record.component_id, &error))
		inject_record(call, opaque, args, &record);
	else
		qmp_call_fail(call, error);
}

static uint16_t dram_validity(JsonObject *args)
{
	return given(args, "channel", CXL_DRAM_VALID_CHANNEL) |
	       given(args, "rank", CXL_DRAM_VALID_RANK) |
	       given(args, "nibble-mask", CXL_DRAM_VALID_NIBBLE_MASK) |
	       given(args, "bank-group", CXL_DRAM_VALID_BANK_GROUP) |
	       given(args, "bank", CXL_DRAM_VALID_BANK) | given(args, "row", CXL_DRAM_VALID_ROW) |
	       given(args, "column", CXL_DRAM_VALID_COLUMN) |
	       given(args, "correction-mask", CXL_DRAM_VALID_CORRECTION_MASK) |
	       given(args, "sub-channel", CXL_DRAM_VALID_SUB_CHANNEL) |
	       component_bits(args, CXL_DRAM_VALID_COMPONENT, CXL_DRAM_VALID_COMPONENT_PLDM);
}

static void run_dram(QmpCall *call, JsonObject *args, void *opaque)
{
	static const uint8_t uuid[] = CXL_UUID_EVENT_DRAM;
	CxlEventDram record = { .descriptor = read_u8(args, "descriptor") };
	GError *error = NULL;

	record.dpa = le64_put(qmp_args_u64(args, "dpa", 0));
	record.type = read_u8(args, "type");
	record.transaction = read_u8(args, "transaction-type");
	record.sub_type = read_u8(args, "sub-type");
	record.channel = read_u8(args, "channel");
	record.rank = read_u8(args, "rank");
	record.cme_flags = read_u8(args, "cme-ev-flags");
	record.bank_group = read_u8(args, "bank-group");
	record.bank = read_u8(args, "bank");
	record.column = le16_put((uint16_t)qmp_args_u64(args, "column", 0));
	record.sub_channel = read_u8(args, "sub-channel");
	record.validity = le16_put(dram_validity(args));
	if (read_header(args, uuid, true, &record.header, &error) &&
	    read_u24(args, "nibble-mask", &record.nibble_mask, &error) &&
	    read_u24(args, "row", &record.row, &error) &&
	    read_u24(args, "cvme-count", &record.cvme_count, &error) &&
	    read_correction_mask(args, record.correction_mask, &error) &&
	    read_component(args, record.component_id, &error))
		inject_record(call, opaque, args, &record);
	else
		qmp_call_fail(call, error);
}

static void run_module(QmpCall *call, JsonObject *args, void *opaque)
{
	static const uint8_t uuid[] = CXL_UUID_EVENT_MEMORY_MODULE;
	CxlEventMemoryModule record = { .type = read_u8(args, "type") };
	int16_t temperature = (int16_t)qmp_args_i64(args, "temperature", 0);
	GError *error = NULL;

	record.health = (CxlHealthInfo){
		.health_status = read_u8(args, "health-status"),
		.media_status = read_u8(args, "media-status"),
		.additional_status = read_u8(args, "additional-status"),
		.life_used = read_u8(args, "life-used"),
		.temperature = le16_put((uint16_t)temperature),
		.dirty_shutdown_count = le32_put(read_u32(args, "dirty-shutdown-count")),
		.corrected_volatile_count =
			le32_put(read_u32(args, "corrected-volatile-error-count")),
		.corrected_persistent_count =
			le32_put(read_u32(args, "corrected-persistent-error-count")),
	};
	record.sub_type = read_u8(args, "sub-type");
	record.validity = le16_put(component_bits(args, CXL_MEMORY_MODULE_VALID_COMPONENT,
						  CXL_MEMORY_MODULE_VALID_COMPONENT_PLDM));
	if (read_header(args, uuid, false, &record.header, &error) &&
	    read_component(args, record.component_id, &error))
		inject_record(call, opaque, args, &record);
	else
		qmp_call_fail(call, error);
}

const QmpCommand qmp_inject_commands[] = {
	{ "cxl-inject-general-media-event", media_args, run_media },
	{ "cxl-inject-dram-event", dram_args, run_dram },
	{ "cxl-inject-memory-module-event", module_args, run_module },
	{ NULL, NULL, NULL },
};
