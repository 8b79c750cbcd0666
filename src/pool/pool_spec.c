/* SPDX-License-Identifier: BSD-3-Clause */
/* Descriptions of backends and devices: copies, comparison, and the texts in them. */
#include "pool/pool_spec.h"

#include "util/size.h"

#include <inttypes.h>
#include <string.h>

#define DC_DEFAULT_BLOCK_SIZE (UINT64_C(2) << 20)

static const char *const type_names[] = {
	[BACKEND_MEMFD] = "memfd",
	[BACKEND_HUGETLB] = "hugetlb",
	[BACKEND_FILE] = "file",
	[BACKEND_DEVDAX] = "devdax",
};

const char *backend_type_name(BackendType type)
{
	return (size_t)type < G_N_ELEMENTS(type_names) ? type_names[type] : NULL;
}

bool backend_type_parse(const char *text, BackendType *ret)
{
	for (size_t i = 0; i < G_N_ELEMENTS(type_names); i++) {
		if (strcmp(text, type_names[i]) == 0) {
			*ret = (BackendType)i;
			return true;
		}
	}
	return false;
}

/* ---- backends ---- */

BackendSpec *backend_spec_copy(const BackendConfig *config, SpecOrigin origin)
{
	BackendSpec *spec = g_new(BackendSpec, 1);

	spec->config = *config;
	spec->config.name = g_strdup(config->name);
	spec->config.path = g_strdup(config->path);
	spec->origin = origin;
	return spec;
}

void backend_spec_free(BackendSpec *spec)
{
	if (!spec)
		return;
	g_free((char *)spec->config.name);
	g_free((char *)spec->config.path);
	g_free(spec);
}

static bool wipes(const BackendConfig *config)
{
	bool ram = config->type == BACKEND_MEMFD || config->type == BACKEND_HUGETLB;

	return config->on_release == ON_RELEASE_WIPE ||
	       (config->on_release == ON_RELEASE_DEFAULT && ram && !config->read_only);
}

bool backend_spec_equal(const BackendSpec *a, const BackendSpec *b)
{
	const BackendConfig *x = &a->config, *y = &b->config;
	/* 0: whatever there is; one that exists knows by now what that is. */
	bool same_size = x->size == y->size || x->size == 0 || y->size == 0;

	return g_str_equal(x->name, y->name) && x->type == y->type && same_size &&
	       x->page_size == y->page_size && g_strcmp0(x->path, y->path) == 0 &&
	       uuid_equal(&x->tag, &y->tag) && x->shareable == y->shareable &&
	       x->read_only == y->read_only && wipes(x) == wipes(y);
}

BackendSpec *backend_spec_from_row(const RowBackend *row)
{
	BackendConfig config = {
		.name = row->name,
		.type = row->type,
		.size = row->size,
		.page_size = row->page_size,
		.path = row->path,
		.tag = row->tag,
		.share = row->share,
		.shareable = row->shareable,
		.read_only = row->read_only,
		.prealloc = row->prealloc,
		.on_release = row->wipes ? ON_RELEASE_WIPE : ON_RELEASE_KEEP,
	};

	return backend_spec_copy(&config, SPEC_FROM_QMP);
}

/* ---- devices ---- */

DeviceSpec *device_spec_new(const char *name, SpecOrigin origin)
{
	DeviceSpec *spec = g_new0(DeviceSpec, 1);

	spec->name = g_strdup(name);
	spec->origin = origin;
	return spec;
}

void device_spec_free(DeviceSpec *spec)
{
	if (!spec)
		return;
	g_free(spec->name);
	g_free(spec);
}

static uint64_t block_size(const DcRegionConfig *region)
{
	return region->block_size ? region->block_size : DC_DEFAULT_BLOCK_SIZE;
}

static bool region_equal(const DcRegionConfig *a, const DcRegionConfig *b)
{
	return a->len == b->len && block_size(a) == block_size(b) && a->sharable == b->sharable &&
	       a->read_only == b->read_only && a->sanitize_on_release == b->sanitize_on_release &&
	       a->non_volatile == b->non_volatile;
}

bool device_spec_equal(const DeviceSpec *a, const DeviceSpec *b)
{
	if (!g_str_equal(a->name, b->name) || device_spec_serial(a) != device_spec_serial(b) ||
	    a->ram_len != b->ram_len || a->pmem_len != b->pmem_len || a->lsa_len != b->lsa_len ||
	    a->n_regions != b->n_regions || a->max_extents != b->max_extents ||
	    a->max_chain != b->max_chain || a->dc_log_depth != b->dc_log_depth ||
	    a->hold_off != b->hold_off || a->read_latency_ns != b->read_latency_ns ||
	    a->write_latency_ns != b->write_latency_ns || a->bandwidth_mbps != b->bandwidth_mbps)
		return false;
	for (unsigned i = 0; i < a->n_regions; i++)
		if (!region_equal(&a->regions[i], &b->regions[i]))
			return false;
	return true;
}

static bool name_is_good(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > DEVICE_NAME_MAX || !g_ascii_isalnum(name[0]))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!g_ascii_isalnum(name[i]) && !strchr("._-", name[i]))
			return false;
	return true;
}

bool device_spec_check(const DeviceSpec *spec, GError **error)
{
	if (!name_is_good(spec->name)) {
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_INVALID,
			    "device name \"%s\": must be 1 to %d of A-Z a-z 0-9 . _ - and begin "
			    "with a letter or digit",
			    spec->name, DEVICE_NAME_MAX);
		return false;
	}
	if (spec->ram_len == 0 && spec->pmem_len == 0 && spec->n_regions == 0) {
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_INVALID,
			    "device %s: has no capacity; give it dc-regions, ram or pmem",
			    spec->name);
		return false;
	}
	return true;
}

char *device_spec_format(const DeviceSpec *spec)
{
	GString *text = g_string_new(NULL);

	g_string_append_printf(text, "serial=%" PRIu64 "\nram=%" PRIu64 "\npmem=%" PRIu64 "\n",
			       device_spec_serial(spec), spec->ram_len, spec->pmem_len);
	g_string_append_printf(text, "lsa=%" PRIu64 "\nhold=%s\n", spec->lsa_len,
			       spec->hold_off ? "off" : "auto");
	if (spec->max_extents)
		g_string_append_printf(text, "max-extents=%u\n", spec->max_extents);
	if (spec->max_chain)
		g_string_append_printf(text, "max-chain=%u\n", spec->max_chain);
	if (spec->dc_log_depth)
		g_string_append_printf(text, "log-depth=%u\n", spec->dc_log_depth);
	if (spec->read_latency_ns)
		g_string_append_printf(text, "read-latency=%u\n", spec->read_latency_ns);
	if (spec->write_latency_ns)
		g_string_append_printf(text, "write-latency=%u\n", spec->write_latency_ns);
	if (spec->bandwidth_mbps)
		g_string_append_printf(text, "bandwidth=%u\n", spec->bandwidth_mbps);
	g_string_append(text, "dc-regions=");
	for (unsigned i = 0; i < spec->n_regions; i++) {
		const DcRegionConfig *region = &spec->regions[i];

		g_string_append_printf(text, "%" PRIu64 ",block=%" PRIu64 "%s%s%s%s;", region->len,
				       block_size(region), region->sharable ? ",sharable" : "",
				       region->read_only ? ",read-only" : "",
				       region->sanitize_on_release ? ",sanitize" : "",
				       region->non_volatile ? ",non-volatile" : "");
	}
	g_string_append_c(text, '\n');
	return g_string_free(text, FALSE);
}

/* FNV-1a: the same name has the same serial for ever. */
uint64_t device_spec_serial(const DeviceSpec *spec)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	if (spec->serial)
		return spec->serial;
	for (const char *c = spec->name; *c; c++)
		hash = (hash ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
	return (hash & SPEC_LEN_MAX) | 1;
}

/* ---- regions ---- */

static bool parse_option(const char *word, DcRegionConfig *region, GError **error)
{
	if (g_str_has_prefix(word, "block="))
		return size_parse(word + strlen("block="), &region->block_size, error);
	if (strcmp(word, "sharable") == 0)
		region->sharable = true;
	else if (strcmp(word, "read-only") == 0)
		region->read_only = true;
	else if (strcmp(word, "sanitize") == 0)
		region->sanitize_on_release = true;
	else if (strcmp(word, "non-volatile") == 0)
		region->non_volatile = true;
	else {
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_INVALID,
			    "\"%s\" is none of block=SIZE, sharable, read-only, sanitize, "
			    "non-volatile",
			    word);
		return false;
	}
	return true;
}

bool dc_region_parse(const char *text, DcRegionConfig *ret, GError **error)
{
	g_auto(GStrv) words = g_strsplit(text, ",", -1);
	DcRegionConfig region = { 0 };

	if (!words[0]) {
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_INVALID,
			    "a region needs a size: SIZE[,block=SIZE][,sharable]...");
		return false;
	}
	if (!size_parse(g_strstrip(words[0]), &region.len, error))
		return false;
	for (unsigned i = 1; words[i]; i++)
		if (!parse_option(g_strstrip(words[i]), &region, error))
			return false;
	*ret = region;
	return true;
}
