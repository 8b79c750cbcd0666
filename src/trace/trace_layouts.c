/* SPDX-License-Identifier: BSD-3-Clause */
/* What payloads and event records consist of, as tables for the decoder. */
#include "trace/trace_layouts.h"

#include "cxl/cci.h"
#include "cxl/dcd.h"
#include "cxl/event.h"
#include "cxl/memdev.h"

#include <string.h>

/* One field of a wire structure. */
#define F(type, member, name, kind)                                                           \
	{                                                                                     \
		name, offsetof(type, member), sizeof(((type *)0)->member), TRACE_##kind, NULL \
	}
#define FN(type, member, name, names)                                                        \
	{                                                                                    \
		name, offsetof(type, member), sizeof(((type *)0)->member), TRACE_NAME, names \
	}
#define END                         \
	{                           \
		NULL, 0, 0, 0, NULL \
	}
#define FIELDS(...)              \
	(const TraceField[])     \
	{                        \
		__VA_ARGS__, END \
	}
#define COUNT(type, member) \
	.count_offset = offsetof(type, member), .count_len = sizeof(((type *)0)->member)

static const char *const log_names[] = {
	"informational", "warning", "failure", "fatal", "dc", NULL
};
static const char *const dc_event_names[] = {
	"add",      "release", "forced-release", "region-config-updated", "add-response",
	"released", NULL
};
static const char *const media_type_names[] = {
	"ecc", "invalid-address", "data-path", "te-state", "scrub-ecc", "cme-expired", "ckid", NULL
};
static const char *const dram_type_names[] = { "ecc",       "scrub-ecc", "invalid-address",
					       "data-path", "te-state",  "cme-expired",
					       "ckid",      NULL };
static const char *const module_type_names[] = { "health",    "media", "life-used", "temperature",
						 "data-path", "lsa",   NULL };
static const char *const transaction_names[] = { "unknown",    "host-read",   "host-write",
						 "host-scan",  "host-inject", "scrub",
						 "management", "ecs",         "init",
						 NULL };
static const char *const severity_names[] = { "normal", "not-ready", "persistency-lost",
					      "data-lost", NULL };

/* ---- items of lists ---- */

static const TraceLayout extent_item = {
	FIELDS(F(CxlDcExtent, dpa, "dpa", HEX), F(CxlDcExtent, len, "len", HEX),
	       F(CxlDcExtent, tag, "tag", UUID), F(CxlDcExtent, shared_seq, "seq", UINT)),
	sizeof(CxlDcExtent),
	NULL,
	NULL,
	0,
	0,
	0,
	NULL,
};
static const TraceLayout range_item = {
	FIELDS(F(CxlDcResponseEntry, dpa, "dpa", HEX), F(CxlDcResponseEntry, len, "len", HEX)),
	sizeof(CxlDcResponseEntry),
	NULL,
	NULL,
	0,
	0,
	0,
	NULL,
};
static const TraceLayout region_item = {
	FIELDS(F(CxlDcRegionConfig, base_dpa, "dpa", HEX),
	       F(CxlDcRegionConfig, decode_len, "decode-len", UNITS),
	       F(CxlDcRegionConfig, len, "len", HEX),
	       F(CxlDcRegionConfig, block_len, "block-size", HEX),
	       F(CxlDcRegionConfig, dsmad_handle, "dsmad-handle", UINT),
	       F(CxlDcRegionConfig, flags, "flags", HEX)),
	sizeof(CxlDcRegionConfig),
	NULL,
	NULL,
	0,
	0,
	0,
	NULL,
};
static const TraceLayout region_tail = {
	FIELDS(F(CxlDcConfigTail, n_extents_supported, "extents-supported", UINT),
	       F(CxlDcConfigTail, n_extents_available, "extents-available", UINT),
	       F(CxlDcConfigTail, n_tags_supported, "tags-supported", UINT),
	       F(CxlDcConfigTail, n_tags_available, "tags-available", UINT)),
	sizeof(CxlDcConfigTail),
	NULL,
	NULL,
	0,
	0,
	0,
	NULL,
};
static const TraceLayout handle_item = {
	FIELDS({ "handle", 0, 2, TRACE_UINT, NULL }), 2, NULL, NULL, 0, 0, 0, NULL,
};
static const TraceLayout log_item = {
	FIELDS(F(CxlSupportedLog, uuid, "uuid", UUID), F(CxlSupportedLog, len, "len", UINT)),
	sizeof(CxlSupportedLog),
	NULL,
	NULL,
	0,
	0,
	0,
	NULL,
};

/* ---- payloads ---- */

#define PLAIN(type, ...)                                                     \
	{                                                                    \
		FIELDS(__VA_ARGS__), sizeof(type), NULL, NULL, 0, 0, 0, NULL \
	}

static const TraceLayout identify_out = PLAIN(
	CxlIdentifyOut, F(CxlIdentifyOut, vendor_id, "vendor", HEX),
	F(CxlIdentifyOut, device_id, "device", HEX),
	F(CxlIdentifyOut, subsys_vendor_id, "subsystem-vendor", HEX),
	F(CxlIdentifyOut, subsys_id, "subsystem", HEX), F(CxlIdentifyOut, serial, "serial", HEX),
	F(CxlIdentifyOut, max_msg_log2, "max-message-log2", UINT),
	F(CxlIdentifyOut, component_type, "component-type", UINT));

static const TraceLayout get_events_in = PLAIN(CxlGetEventRecordsIn,
					       FN(CxlGetEventRecordsIn, log, "log", log_names));
static const TraceLayout get_events_out = {
	FIELDS(F(CxlGetEventRecordsOut, flags, "flags", HEX),
	       F(CxlGetEventRecordsOut, overflow_count, "overflows", UINT),
	       F(CxlGetEventRecordsOut, first_overflow_timestamp, "first-overflow", UINT),
	       F(CxlGetEventRecordsOut, last_overflow_timestamp, "last-overflow", UINT),
	       F(CxlGetEventRecordsOut, n_records, "n-records", UINT)),
	sizeof(CxlGetEventRecordsOut),
	"records",
	NULL,
	CXL_EVENT_RECORD_LEN,
	COUNT(CxlGetEventRecordsOut, n_records),
	NULL,
};
static const TraceLayout clear_events_in = {
	FIELDS(FN(CxlClearEventRecordsIn, log, "log", log_names),
	       F(CxlClearEventRecordsIn, flags, "flags", HEX),
	       F(CxlClearEventRecordsIn, n_handles, "n-handles", UINT)),
	sizeof(CxlClearEventRecordsIn),
	"handles",
	&handle_item,
	2,
	COUNT(CxlClearEventRecordsIn, n_handles),
	NULL,
};
/* Four bytes from hosts that know no dynamic capacity. */
static const TraceLayout int_policy = {
	FIELDS({ "informational", 0, 1, TRACE_HEX, NULL }, { "warning", 1, 1, TRACE_HEX, NULL },
	       { "failure", 2, 1, TRACE_HEX, NULL }, { "fatal", 3, 1, TRACE_HEX, NULL },
	       { "dc", 4, 1, TRACE_HEX, NULL }),
	sizeof(CxlEventIntPolicy),
	NULL,
	NULL,
	0,
	0,
	0,
	NULL,
};

static const TraceLayout fw_info_out = PLAIN(CxlFwInfoOut,
					     F(CxlFwInfoOut, n_slots, "n-slots", UINT),
					     F(CxlFwInfoOut, slot_info, "slot-info", HEX),
					     F(CxlFwInfoOut, activation_caps, "activation", HEX),
					     F(CxlFwInfoOut, revision[0], "revision", TEXT));
static const TraceLayout timestamp = PLAIN(CxlTimestamp, F(CxlTimestamp, ns, "ns", UINT));
static const TraceLayout supported_logs_out = {
	FIELDS(F(CxlSupportedLogsOut, n_logs, "n-logs", UINT)),
	sizeof(CxlSupportedLogsOut),
	"logs",
	&log_item,
	sizeof(CxlSupportedLog),
	COUNT(CxlSupportedLogsOut, n_logs),
	NULL,
};
static const TraceLayout get_log_in = PLAIN(CxlGetLogIn, F(CxlGetLogIn, uuid, "uuid", UUID),
					    F(CxlGetLogIn, offset, "offset", UINT),
					    F(CxlGetLogIn, len, "len", UINT));
static const TraceLayout rest = {
	FIELDS({ "data", 0, 0, TRACE_REST, NULL }), 0, NULL, NULL, 0, 0, 0, NULL,
};

static const TraceLayout identify_memdev_out =
	PLAIN(CxlIdentifyMemdevOut, F(CxlIdentifyMemdevOut, fw_revision, "revision", TEXT),
	      F(CxlIdentifyMemdevOut, total_capacity, "total", UNITS),
	      F(CxlIdentifyMemdevOut, volatile_capacity, "volatile", UNITS),
	      F(CxlIdentifyMemdevOut, persistent_capacity, "persistent", UNITS),
	      F(CxlIdentifyMemdevOut, partition_align, "partition-align", UNITS),
	      F(CxlIdentifyMemdevOut, info_event_log_size, "info-log", UINT),
	      F(CxlIdentifyMemdevOut, warning_event_log_size, "warning-log", UINT),
	      F(CxlIdentifyMemdevOut, failure_event_log_size, "failure-log", UINT),
	      F(CxlIdentifyMemdevOut, fatal_event_log_size, "fatal-log", UINT),
	      F(CxlIdentifyMemdevOut, dc_event_log_size, "dc-log", UINT),
	      F(CxlIdentifyMemdevOut, lsa_len, "lsa", UINT));
static const TraceLayout partition_out =
	PLAIN(CxlPartitionInfoOut, F(CxlPartitionInfoOut, active_volatile, "volatile", UNITS),
	      F(CxlPartitionInfoOut, active_persistent, "persistent", UNITS),
	      F(CxlPartitionInfoOut, next_volatile, "next-volatile", UNITS),
	      F(CxlPartitionInfoOut, next_persistent, "next-persistent", UNITS));
static const TraceLayout get_lsa_in = PLAIN(CxlGetLsaIn, F(CxlGetLsaIn, offset, "offset", UINT),
					    F(CxlGetLsaIn, len, "len", UINT));
static const TraceLayout set_lsa_in = {
	FIELDS(F(CxlSetLsaIn, offset, "offset", UINT),
	       { "data", sizeof(CxlSetLsaIn), 0, TRACE_REST, NULL }),
	sizeof(CxlSetLsaIn),
	NULL,
	NULL,
	0,
	0,
	0,
	NULL,
};
#define HEALTH_FIELDS(type, prefix)                                                   \
	F(type, prefix health_status, "health", HEX),                                 \
		FN(type, prefix media_status, "media", severity_names),               \
		F(type, prefix additional_status, "additional", HEX),                 \
		F(type, prefix life_used, "life-used", UINT),                         \
		F(type, prefix temperature, "temperature", INT),                      \
		F(type, prefix dirty_shutdown_count, "dirty-shutdowns", UINT),        \
		F(type, prefix corrected_volatile_count, "corrected-volatile", UINT), \
		F(type, prefix corrected_persistent_count, "corrected-persistent", UINT)
static const TraceLayout health_out = PLAIN(CxlHealthInfo, HEALTH_FIELDS(CxlHealthInfo, ));
static const TraceLayout alerts_out =
	PLAIN(CxlAlertConfigOut, F(CxlAlertConfigOut, valid, "valid", HEX),
	      F(CxlAlertConfigOut, programmable, "programmable", HEX),
	      F(CxlAlertConfigOut, life_used_critical, "life-used-critical", UINT),
	      F(CxlAlertConfigOut, life_used_warning, "life-used-warning", UINT),
	      F(CxlAlertConfigOut, over_temperature_critical, "over-critical", INT),
	      F(CxlAlertConfigOut, under_temperature_critical, "under-critical", INT),
	      F(CxlAlertConfigOut, over_temperature_warning, "over-warning", INT),
	      F(CxlAlertConfigOut, under_temperature_warning, "under-warning", INT),
	      F(CxlAlertConfigOut, corrected_volatile_warning, "volatile-warning", UINT),
	      F(CxlAlertConfigOut, corrected_persistent_warning, "persistent-warning", UINT));
static const TraceLayout alerts_in =
	PLAIN(CxlAlertConfigIn, F(CxlAlertConfigIn, valid_actions, "change", HEX),
	      F(CxlAlertConfigIn, enable_actions, "enable", HEX),
	      F(CxlAlertConfigIn, life_used_warning, "life-used-warning", UINT),
	      F(CxlAlertConfigIn, over_temperature_warning, "over-warning", INT),
	      F(CxlAlertConfigIn, under_temperature_warning, "under-warning", INT),
	      F(CxlAlertConfigIn, corrected_volatile_warning, "volatile-warning", UINT),
	      F(CxlAlertConfigIn, corrected_persistent_warning, "persistent-warning", UINT));
static const TraceLayout shutdown_state = PLAIN(CxlShutdownState,
						F(CxlShutdownState, state, "state", HEX));

static const TraceLayout dc_config_in = PLAIN(CxlDcConfigIn,
					      F(CxlDcConfigIn, n_regions, "n-regions", UINT),
					      F(CxlDcConfigIn, start, "start", UINT));
static const TraceLayout dc_config_out = {
	FIELDS(F(CxlDcConfigOut, n_available, "n-available", UINT),
	       F(CxlDcConfigOut, n_returned, "n-returned", UINT)),
	sizeof(CxlDcConfigOut),
	"regions",
	&region_item,
	sizeof(CxlDcRegionConfig),
	COUNT(CxlDcConfigOut, n_returned),
	&region_tail,
};
static const TraceLayout dc_list_in = PLAIN(CxlDcExtentListIn,
					    F(CxlDcExtentListIn, n_extents, "n-extents", UINT),
					    F(CxlDcExtentListIn, start, "start", UINT));
static const TraceLayout dc_list_out = {
	FIELDS(F(CxlDcExtentListOut, n_returned, "n-returned", UINT),
	       F(CxlDcExtentListOut, n_total, "n-total", UINT),
	       F(CxlDcExtentListOut, generation, "generation", UINT)),
	sizeof(CxlDcExtentListOut),
	"extents",
	&extent_item,
	sizeof(CxlDcExtent),
	COUNT(CxlDcExtentListOut, n_returned),
	NULL,
};
static const TraceLayout dc_response_in = {
	FIELDS(F(CxlDcResponseHeader, n_extents, "n-extents", UINT),
	       F(CxlDcResponseHeader, flags, "flags", HEX)),
	sizeof(CxlDcResponseHeader),
	"extents",
	&range_item,
	sizeof(CxlDcResponseEntry),
	COUNT(CxlDcResponseHeader, n_extents),
	NULL,
};

static const TraceCommand commands[] = {
	{ CXL_OP_IDENTIFY, "identify", NULL, &identify_out },
	{ CXL_OP_GET_EVENT_RECORDS, "get-event-records", &get_events_in, &get_events_out },
	{ CXL_OP_CLEAR_EVENT_RECORDS, "clear-event-records", &clear_events_in, NULL },
	{ CXL_OP_GET_EVENT_INT_POLICY, "get-event-int-policy", NULL, &int_policy },
	{ CXL_OP_SET_EVENT_INT_POLICY, "set-event-int-policy", &int_policy, NULL },
	{ CXL_OP_GET_FW_INFO, "get-fw-info", NULL, &fw_info_out },
	{ CXL_OP_GET_TIMESTAMP, "get-timestamp", NULL, &timestamp },
	{ CXL_OP_SET_TIMESTAMP, "set-timestamp", &timestamp, NULL },
	{ CXL_OP_GET_SUPPORTED_LOGS, "get-supported-logs", NULL, &supported_logs_out },
	{ CXL_OP_GET_LOG, "get-log", &get_log_in, &rest },
	{ CXL_OP_IDENTIFY_MEMDEV, "identify-memdev", NULL, &identify_memdev_out },
	{ CXL_OP_GET_PARTITION_INFO, "get-partition-info", NULL, &partition_out },
	{ CXL_OP_GET_LSA, "get-lsa", &get_lsa_in, &rest },
	{ CXL_OP_SET_LSA, "set-lsa", &set_lsa_in, NULL },
	{ CXL_OP_GET_HEALTH_INFO, "get-health-info", NULL, &health_out },
	{ CXL_OP_GET_ALERT_CONFIG, "get-alert-config", NULL, &alerts_out },
	{ CXL_OP_SET_ALERT_CONFIG, "set-alert-config", &alerts_in, NULL },
	{ CXL_OP_GET_SHUTDOWN_STATE, "get-shutdown-state", NULL, &shutdown_state },
	{ CXL_OP_SET_SHUTDOWN_STATE, "set-shutdown-state", &shutdown_state, NULL },
	{ CXL_OP_GET_DC_CONFIG, "get-dc-config", &dc_config_in, &dc_config_out },
	{ CXL_OP_GET_DC_EXTENT_LIST, "get-dc-extent-list", &dc_list_in, &dc_list_out },
	{ CXL_OP_ADD_DC_RESPONSE, "add-dc-response", &dc_response_in, NULL },
	{ CXL_OP_RELEASE_DC, "release-dc", &dc_response_in, NULL },
};

const TraceCommand *trace_find_command(uint16_t opcode)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (commands[i].opcode == opcode)
			return &commands[i];
	}
	return NULL;
}

/* ---- event records ---- */

const TraceLayout trace_record_header =
	PLAIN(CxlEventHeader, F(CxlEventHeader, flags, "flags", HEX),
	      F(CxlEventHeader, handle, "handle", UINT),
	      F(CxlEventHeader, related_handle, "related-handle", UINT),
	      F(CxlEventHeader, timestamp, "timestamp", UINT),
	      F(CxlEventHeader, maint_class, "maint-class", UINT),
	      F(CxlEventHeader, maint_subclass, "maint-subclass", UINT),
	      F(CxlEventHeader, ld_id, "ld-id", UINT), F(CxlEventHeader, head_id, "head-id", UINT));

static const TraceLayout media_record = PLAIN(
	CxlEventRecord, F(CxlEventGeneralMedia, dpa, "dpa", HEX),
	F(CxlEventGeneralMedia, descriptor, "descriptor", HEX),
	FN(CxlEventGeneralMedia, type, "type", media_type_names),
	FN(CxlEventGeneralMedia, transaction, "transaction", transaction_names),
	F(CxlEventGeneralMedia, validity, "validity", HEX),
	F(CxlEventGeneralMedia, channel, "channel", UINT),
	F(CxlEventGeneralMedia, rank, "rank", UINT), F(CxlEventGeneralMedia, device, "device", HEX),
	F(CxlEventGeneralMedia, component_id, "component-id", BYTES),
	F(CxlEventGeneralMedia, cme_flags, "cme-flags", HEX),
	F(CxlEventGeneralMedia, cme_count, "cme-count", UINT),
	F(CxlEventGeneralMedia, sub_type, "sub-type", UINT));
static const TraceLayout dram_record =
	PLAIN(CxlEventRecord, F(CxlEventDram, dpa, "dpa", HEX),
	      F(CxlEventDram, descriptor, "descriptor", HEX),
	      FN(CxlEventDram, type, "type", dram_type_names),
	      FN(CxlEventDram, transaction, "transaction", transaction_names),
	      F(CxlEventDram, validity, "validity", HEX), F(CxlEventDram, channel, "channel", UINT),
	      F(CxlEventDram, rank, "rank", UINT), F(CxlEventDram, nibble_mask, "nibble-mask", HEX),
	      F(CxlEventDram, bank_group, "bank-group", UINT), F(CxlEventDram, bank, "bank", UINT),
	      F(CxlEventDram, row, "row", UINT), F(CxlEventDram, column, "column", UINT),
	      F(CxlEventDram, correction_mask, "correction-mask", BYTES),
	      F(CxlEventDram, component_id, "component-id", BYTES),
	      F(CxlEventDram, sub_channel, "sub-channel", UINT),
	      F(CxlEventDram, cme_flags, "cme-flags", HEX),
	      F(CxlEventDram, cvme_count, "cvme-count", UINT),
	      F(CxlEventDram, sub_type, "sub-type", UINT));
static const TraceLayout module_record =
	PLAIN(CxlEventRecord, FN(CxlEventMemoryModule, type, "type", module_type_names),
	      HEALTH_FIELDS(CxlEventMemoryModule, health.),
	      F(CxlEventMemoryModule, validity, "validity", HEX),
	      F(CxlEventMemoryModule, component_id, "component-id", BYTES),
	      F(CxlEventMemoryModule, sub_type, "sub-type", UINT));
static const TraceLayout dc_record =
	PLAIN(CxlEventRecord, FN(CxlEventDc, type, "type", dc_event_names),
	      F(CxlEventDc, validity, "validity", HEX), F(CxlEventDc, host_id, "host", UINT),
	      F(CxlEventDc, region, "region", UINT), F(CxlEventDc, flags, "dc-flags", HEX),
	      F(CxlEventDc, extent.dpa, "dpa", HEX), F(CxlEventDc, extent.len, "len", HEX),
	      F(CxlEventDc, extent.tag, "tag", UUID), F(CxlEventDc, extent.shared_seq, "seq", UINT),
	      F(CxlEventDc, n_extents_available, "extents-available", UINT),
	      F(CxlEventDc, n_tags_available, "tags-available", UINT));

static const TraceRecordKind record_kinds[] = {
	{ "dynamic-capacity", CXL_UUID_EVENT_DYNAMIC_CAPACITY, &dc_record },
	{ "general-media", CXL_UUID_EVENT_GENERAL_MEDIA, &media_record },
	{ "dram", CXL_UUID_EVENT_DRAM, &dram_record },
	{ "memory-module", CXL_UUID_EVENT_MEMORY_MODULE, &module_record },
};

const TraceRecordKind *trace_find_record(const uint8_t uuid[16])
{
	for (size_t i = 0; i < sizeof(record_kinds) / sizeof(record_kinds[0]); i++) {
		if (memcmp(record_kinds[i].uuid, uuid, 16) == 0)
			return &record_kinds[i];
	}
	return NULL;
}
