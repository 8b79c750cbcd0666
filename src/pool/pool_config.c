/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration file: one table row for each key. */
#include "pool/pool_config.h"

#include "util/size.h"

#include <inttypes.h>
#include <string.h>

/* What is being read: one section, into one of these. */
typedef struct Target {
	PoolFile *file;
	BackendSpec *backend;
	DeviceSpec *device;
} Target;

/* File, section and key are put before the error by the caller. */
typedef bool (*ReadFunc)(Target *target, const char *text, GError **error);

static bool refuse(GError **error, const char *text, const char *rule)
{
	g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_INVALID, "\"%s\": %s", text, rule);
	return false;
}

/* ---- values ---- */

static bool read_size(const char *text, uint64_t multiple, uint64_t *ret, GError **error)
{
	g_autofree char *rule = NULL;
	uint64_t len;

	if (!size_parse(text, &len, error))
		return false;
	if (len > SPEC_LEN_MAX)
		return refuse(error, text, "must be below 2^63 bytes");
	if (len % multiple == 0) {
		*ret = len;
		return true;
	}
	rule = size_format_human(multiple);
	g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_INVALID,
		    "\"%s\": must be a multiple of %s", text, rule);
	return false;
}

static bool read_count(const char *text, uint64_t max, uint32_t *ret, GError **error)
{
	uint64_t value;

	if (!g_ascii_string_to_unsigned(text, 10, 1, max, &value, NULL)) {
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_INVALID,
			    "\"%s\": must be a number from 1 to %" PRIu64, text, max);
		return false;
	}
	*ret = (uint32_t)value;
	return true;
}

static bool read_bool(const char *text, bool *ret, GError **error)
{
	if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
		return refuse(error, text, "must be true or false");
	*ret = strcmp(text, "true") == 0;
	return true;
}

/* ---- [pool] ---- */

static bool key_pool_group(Target *target, const char *text, GError **error)
{
	if (!text[0])
		return refuse(error, text, "must name a group");
	g_free(target->file->group);
	target->file->group = g_strdup(text);
	return true;
}

/* ---- [backend NAME] ---- */

static bool key_backend_type(Target *target, const char *text, GError **error)
{
	return backend_type_parse(text, &target->backend->config.type) ||
	       refuse(error, text, "must be memfd, hugetlb, file or devdax");
}

static bool key_backend_size(Target *target, const char *text, GError **error)
{
	return read_size(text, 4096, &target->backend->config.size, error);
}

static bool key_backend_page_size(Target *target, const char *text, GError **error)
{
	return read_size(text, 4096, &target->backend->config.page_size, error);
}

static bool key_backend_path(Target *target, const char *text, GError **error)
{
	if (!g_path_is_absolute(text))
		return refuse(error, text, "must be an absolute path");
	g_free((char *)target->backend->config.path);
	target->backend->config.path = g_strdup(text);
	return true;
}

static bool key_backend_tag(Target *target, const char *text, GError **error)
{
	Uuid tag;

	if (!uuid_parse(text, &tag, error))
		return false;
	if (uuid_is_null(&tag))
		return refuse(error, text, "all zeros means no tag; leave the key out");
	target->backend->config.tag = tag;
	return true;
}

static bool key_backend_shareable(Target *target, const char *text, GError **error)
{
	return read_bool(text, &target->backend->config.shareable, error);
}

static bool key_backend_read_only(Target *target, const char *text, GError **error)
{
	return read_bool(text, &target->backend->config.read_only, error);
}

static bool key_backend_prealloc(Target *target, const char *text, GError **error)
{
	return read_bool(text, &target->backend->config.prealloc, error);
}

static bool key_backend_on_release(Target *target, const char *text, GError **error)
{
	if (strcmp(text, "wipe") == 0)
		target->backend->config.on_release = ON_RELEASE_WIPE;
	else if (strcmp(text, "keep") == 0)
		target->backend->config.on_release = ON_RELEASE_KEEP;
	else
		return refuse(error, text, "must be wipe or keep");
	return true;
}

/* ---- [device NAME] ---- */

static bool key_device_regions(Target *target, const char *text, GError **error)
{
	g_auto(GStrv) parts = g_strsplit(text, ";", -1);
	DeviceSpec *device = target->device;

	for (unsigned i = 0; parts[i]; i++) {
		if (!*g_strstrip(parts[i]))
			continue;
		if (device->n_regions == DC_MAX_REGIONS)
			return refuse(error, text, "at most 8 regions are possible");
		if (!dc_region_parse(parts[i], &device->regions[device->n_regions], error)) {
			g_prefix_error(error, "region %u: ", device->n_regions);
			return false;
		}
		device->n_regions++;
	}
	return true;
}

static bool key_device_ram(Target *target, const char *text, GError **error)
{
	return read_size(text, DC_REGION_ALIGN, &target->device->ram_len, error);
}

static bool key_device_pmem(Target *target, const char *text, GError **error)
{
	return read_size(text, DC_REGION_ALIGN, &target->device->pmem_len, error);
}

static bool key_device_lsa(Target *target, const char *text, GError **error)
{
	return read_size(text, 4096, &target->device->lsa_len, error);
}

static bool key_device_serial(Target *target, const char *text, GError **error)
{
	bool is_hex = g_str_has_prefix(text, "0x");
	uint64_t serial;

	if (!g_ascii_string_to_unsigned(is_hex ? text + 2 : text, is_hex ? 16 : 10, 1, INT64_MAX,
					&serial, NULL))
		return refuse(error, text, "must be a number from 1 to 2^63 - 1, or 0x and hex");
	target->device->serial = serial;
	return true;
}

static bool key_device_max_extents(Target *target, const char *text, GError **error)
{
	return read_count(text, 65536, &target->device->max_extents, error);
}

static bool key_device_max_chain(Target *target, const char *text, GError **error)
{
	return read_count(text, 65535, &target->device->max_chain, error);
}

static bool key_device_log_depth(Target *target, const char *text, GError **error)
{
	return read_count(text, 65535, &target->device->dc_log_depth, error);
}

static bool key_device_read_latency(Target *target, const char *text, GError **error)
{
	return read_count(text, LATENCY_NS_MAX, &target->device->read_latency_ns, error);
}

static bool key_device_write_latency(Target *target, const char *text, GError **error)
{
	return read_count(text, LATENCY_NS_MAX, &target->device->write_latency_ns, error);
}

static bool key_device_bandwidth(Target *target, const char *text, GError **error)
{
	return read_count(text, UINT32_MAX, &target->device->bandwidth_mbps, error);
}

static bool key_device_hold(Target *target, const char *text, GError **error)
{
	if (strcmp(text, "auto") != 0 && strcmp(text, "off") != 0)
		return refuse(error, text, "must be auto or off");
	target->device->hold_off = strcmp(text, "off") == 0;
	return true;
}

/* ---- the table ---- */

typedef struct KeyRow {
	PoolFileKey key;
	ReadFunc read;
} KeyRow;

/* clang-format off */
static const KeyRow rows[] = {
	{ { "pool", "group" }, key_pool_group },
	{ { "backend", "type" }, key_backend_type },
	{ { "backend", "size" }, key_backend_size },
	{ { "backend", "tag" }, key_backend_tag },
	{ { "backend", "path" }, key_backend_path },
	{ { "backend", "page-size" }, key_backend_page_size },
	{ { "backend", "shareable" }, key_backend_shareable },
	{ { "backend", "read-only" }, key_backend_read_only },
	{ { "backend", "prealloc" }, key_backend_prealloc },
	{ { "backend", "on-release" }, key_backend_on_release },
	{ { "device", "dc-regions" }, key_device_regions },
	{ { "device", "ram" }, key_device_ram },
	{ { "device", "pmem" }, key_device_pmem },
	{ { "device", "lsa" }, key_device_lsa },
	{ { "device", "serial" }, key_device_serial },
	{ { "device", "max-extents" }, key_device_max_extents },
	{ { "device", "max-chain" }, key_device_max_chain },
	{ { "device", "log-depth" }, key_device_log_depth },
	{ { "device", "read-latency" }, key_device_read_latency },
	{ { "device", "write-latency" }, key_device_write_latency },
	{ { "device", "bandwidth" }, key_device_bandwidth },
	{ { "device", "hold" }, key_device_hold },
};
/* clang-format on */

const PoolFileKey *pool_file_key(size_t index)
{
	return index < G_N_ELEMENTS(rows) ? &rows[index].key : NULL;
}

static ReadFunc find_reader(const char *section, const char *key)
{
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
		if (strcmp(rows[i].key.section, section) == 0 && strcmp(rows[i].key.key, key) == 0)
			return rows[i].read;
	return NULL;
}

/* ---- the file ---- */

static bool unknown_key(const char *section, const char *key, GError **error)
{
	g_autoptr(GString) known = g_string_new(NULL);

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
		if (strcmp(rows[i].key.section, section) == 0)
			g_string_append_printf(known, "%s%s", known->len ? ", " : "",
					       rows[i].key.key);
	g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_INVALID,
		    "there is no such key; a %s has: %s", section, known->str);
	return false;
}

static bool load_keys(GKeyFile *keys, const char *group, const char *section, Target *target,
		      GError **error)
{
	g_auto(GStrv) names = g_key_file_get_keys(keys, group, NULL, error);

	if (!names)
		return false;
	for (unsigned i = 0; names[i]; i++) {
		g_autofree char *text = g_key_file_get_string(keys, group, names[i], error);
		ReadFunc read = find_reader(section, names[i]);

		if (!text || !(read ? read(target, g_strstrip(text), error)
				    : unknown_key(section, names[i], error))) {
			g_prefix_error(error, "[%s] %s: ", group, names[i]);
			return false;
		}
	}
	return true;
}

static bool check_backend(const BackendSpec *spec, GError **error)
{
	const BackendConfig *config = &spec->config;
	bool has_path = config->type == BACKEND_FILE || config->type == BACKEND_DEVDAX;
	const char *rule = NULL;

	if (has_path && !config->path)
		rule = "path is missing";
	else if (!has_path && config->path)
		rule = "path is for file and devdax only";
	else if (!has_path && config->size == 0)
		rule = "size is missing";
	else if (config->page_size && config->type != BACKEND_HUGETLB)
		rule = "page-size is for hugetlb only";
	if (rule)
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_INVALID, "[backend %s] %s",
			    config->name, rule);
	return !rule;
}

static bool load_backend(PoolFile *file, GKeyFile *keys, const char *group, const char *name,
			 GError **error)
{
	BackendConfig empty = { .name = name };
	g_autoptr(BackendSpec) spec = backend_spec_copy(&empty, SPEC_FROM_CONFIG);
	Target target = { .file = file, .backend = spec };

	if (!load_keys(keys, group, "backend", &target, error) || !check_backend(spec, error))
		return false;
	g_ptr_array_add(file->backends, g_steal_pointer(&spec));
	return true;
}

static bool load_device(PoolFile *file, GKeyFile *keys, const char *group, const char *name,
			GError **error)
{
	g_autoptr(DeviceSpec) spec = device_spec_new(name, SPEC_FROM_CONFIG);
	Target target = { .file = file, .device = spec };

	if (!load_keys(keys, group, "device", &target, error))
		return false;
	if (!device_spec_check(spec, error)) {
		g_prefix_error(error, "[%s] ", group);
		return false;
	}
	g_ptr_array_add(file->devices, g_steal_pointer(&spec));
	return true;
}

static bool load_group(PoolFile *file, GKeyFile *keys, const char *group, GError **error)
{
	Target target = { .file = file };

	if (strcmp(group, "pool") == 0)
		return load_keys(keys, group, "pool", &target, error);
	if (g_str_has_prefix(group, "backend "))
		return load_backend(file, keys, group, group + strlen("backend "), error);
	if (g_str_has_prefix(group, "device "))
		return load_device(file, keys, group, group + strlen("device "), error);
	g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_INVALID,
		    "[%s]: there is no such section; there are [pool], [backend NAME] and "
		    "[device NAME]",
		    group);
	return false;
}

/* Two backends of one tag are refused by the pool as well, but then one of them exists already. */
static bool check_tags(const PoolFile *file, GError **error)
{
	for (guint i = 0; i < file->backends->len; i++) {
		const BackendConfig *a = &((BackendSpec *)file->backends->pdata[i])->config;

		for (guint j = 0; j < i && !uuid_is_null(&a->tag); j++) {
			const BackendConfig *b = &((BackendSpec *)file->backends->pdata[j])->config;

			if (uuid_equal(&a->tag, &b->tag)) {
				g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_INVALID,
					    "[backend %s] tag: [backend %s] has the same", a->name,
					    b->name);
				return false;
			}
		}
	}
	return true;
}

static void free_backend(gpointer data)
{
	backend_spec_free(data);
}

static void free_device(gpointer data)
{
	device_spec_free(data);
}

PoolFile *pool_file_new(void)
{
	PoolFile *file = g_new0(PoolFile, 1);

	file->backends = g_ptr_array_new_with_free_func(free_backend);
	file->devices = g_ptr_array_new_with_free_func(free_device);
	return file;
}

void pool_file_free(PoolFile *file)
{
	if (!file)
		return;
	g_ptr_array_unref(file->backends);
	g_ptr_array_unref(file->devices);
	g_free(file->group);
	g_free(file);
}

PoolFile *pool_file_load(const char *path, GError **error)
{
	g_autoptr(GKeyFile) keys = g_key_file_new();
	g_autoptr(PoolFile) file = pool_file_new();
	g_auto(GStrv) groups = NULL;
	bool ok = g_key_file_load_from_file(keys, path, G_KEY_FILE_NONE, error);

	groups = ok ? g_key_file_get_groups(keys, NULL) : NULL;
	for (unsigned i = 0; ok && groups[i]; i++)
		ok = load_group(file, keys, groups[i], error);
	if (ok && check_tags(file, error))
		return g_steal_pointer(&file);
	g_prefix_error(error, "%s: ", path);
	return NULL;
}

DeviceSpec *pool_file_parse_device(const char *name, const char *settings, GError **error)
{
	g_autofree char *group = g_strdup_printf("device %s", name);
	g_autofree char *text = g_strdup_printf("[%s]\n%s", group, settings);
	g_autoptr(GKeyFile) keys = g_key_file_new();
	g_autoptr(PoolFile) file = pool_file_new();

	if (!g_key_file_load_from_data(keys, text, strlen(text), G_KEY_FILE_NONE, error) ||
	    !load_device(file, keys, group, name, error))
		return NULL;
	return g_ptr_array_steal_index(file->devices, 0);
}
