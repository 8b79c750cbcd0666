/* SPDX-License-Identifier: BSD-3-Clause */
/* What a backend and a device are to be, as configuration file, QMP and ledger say it. */
#ifndef POOL_POOL_SPEC_H
#define POOL_POOL_SPEC_H

#include "pool/pool.h"

typedef enum SpecOrigin {
	SPEC_FROM_QMP,
	SPEC_FROM_CONFIG, /* goes when it leaves the configuration file */
} SpecOrigin;

/* Owns its strings. */
typedef struct BackendSpec {
	BackendConfig config;
	SpecOrigin origin;
} BackendSpec;

typedef struct DeviceSpec {
	char *name;
	uint64_t serial;   /* 0 = made from the name */
	uint64_t ram_len;  /* bytes */
	uint64_t pmem_len; /* bytes; its file is in the state directory */
	uint64_t lsa_len;  /* bytes; the same */
	DcRegionConfig regions[DC_MAX_REGIONS];
	unsigned n_regions;
	uint32_t max_extents, max_chain, dc_log_depth; /* 0 = default */
	uint32_t read_latency_ns, write_latency_ns;    /* for CDAT; 0 = default */
	uint32_t bandwidth_mbps;
	bool hold_off;
	SpecOrigin origin;
} DeviceSpec;

#define DEVICE_NAME_MAX 64
#define SPEC_LEN_MAX    ((uint64_t)INT64_MAX) /* what JSON and the ledger can hold */
#define LATENCY_NS_MAX  65534                 /* what CDAT can say */

BackendSpec *backend_spec_copy(const BackendConfig *config, SpecOrigin origin);
void backend_spec_free(BackendSpec *spec);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BackendSpec, backend_spec_free)
/* Would one do as the other, whatever its origin? */
bool backend_spec_equal(const BackendSpec *a, const BackendSpec *b);
/* Of a ledger's row. */
BackendSpec *backend_spec_from_row(const RowBackend *row);

DeviceSpec *device_spec_new(const char *name, SpecOrigin origin);
void device_spec_free(DeviceSpec *spec);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DeviceSpec, device_spec_free)
bool device_spec_equal(const DeviceSpec *a, const DeviceSpec *b);
/* What only a whole device can get wrong: its name, and having no capacity at all. Sizes and
 * blocks are the core's to check. */
bool device_spec_check(const DeviceSpec *spec, GError **error);
/* All but name and origin, as keys of a configuration file; caller frees. */
char *device_spec_format(const DeviceSpec *spec);
/* The serial it goes by. */
uint64_t device_spec_serial(const DeviceSpec *spec);

/* "SIZE[,block=SIZE][,sharable][,read-only][,sanitize][,non-volatile]" */
bool dc_region_parse(const char *text, DcRegionConfig *ret, GError **error);

/* Text as in QMP and configuration; the first is NULL for an unknown type. */
const char *backend_type_name(BackendType type);
bool backend_type_parse(const char *text, BackendType *ret);

#endif
