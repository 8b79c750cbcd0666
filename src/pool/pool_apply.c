/* SPDX-License-Identifier: BSD-3-Clause */
/* Making the pool what the configuration file says: the difference, all of it or nothing. */
#include "pool/pool_daemon_priv.h"

#include "util/sd_notify.h"

#define BLOB_KIND "config"
#define BLOB_NAME "objects"

/*
 * Which objects the configuration made is kept in the ledger as a list of names: an object that
 * leaves the file while no daemon runs goes at the next start. The list is written twice, with all
 * names before a change and with the right ones after it, so that a crash between forgets none.
 */

typedef struct Apply {
	PoolDaemon *daemon;
	PoolFile *file;
	GPtrArray *backends;     /* BackendSpec to be made, of FILE */
	GPtrArray *opened;       /* Backend, as BACKENDS; ours until they are in the pool */
	GPtrArray *devices;      /* DeviceSpec to be made, of FILE */
	GPtrArray *old_backends; /* names to be removed */
	GPtrArray *old_devices;  /* names to be removed */
	GPtrArray *taken;        /* Backend: removed, kept in case */
	GPtrArray *taken_specs;  /* BackendSpec of TAKEN */
	GPtrArray *gone_devices; /* DeviceSpec: removed, kept in case */
	guint n_backends_in, n_devices_in;
	GError *error;
} Apply;

/* ---- what is to be done ---- */

static const char *spec_name(const GPtrArray *specs, bool devices, guint index)
{
	return devices ? ((DeviceSpec *)specs->pdata[index])->name
		       : ((BackendSpec *)specs->pdata[index])->config.name;
}

static bool file_has(const GPtrArray *specs, bool devices, const char *name)
{
	for (guint i = 0; i < specs->len; i++)
		if (g_str_equal(name, spec_name(specs, devices, i)))
			return true;
	return false;
}

static void plan_backends(Apply *apply)
{
	g_autoptr(GPtrArray) present = daemon_list_backends(apply->daemon);

	for (guint i = 0; i < present->len; i++) {
		BackendSpec *spec = ((DaemonBackend *)present->pdata[i])->spec;

		if (spec->origin == SPEC_FROM_CONFIG &&
		    !file_has(apply->file->backends, false, spec->config.name))
			g_ptr_array_add(apply->old_backends, g_strdup(spec->config.name));
	}
	for (guint i = 0; i < apply->file->backends->len; i++) {
		BackendSpec *wanted = apply->file->backends->pdata[i];
		DaemonBackend *backend = daemon_find_backend(apply->daemon, wanted->config.name,
							     NULL);

		if (backend && backend_spec_equal(backend->spec, wanted)) {
			backend->spec->origin = SPEC_FROM_CONFIG;
			continue;
		}
		if (backend)
			g_ptr_array_add(apply->old_backends, g_strdup(wanted->config.name));
		g_ptr_array_add(apply->backends, wanted);
	}
}

static void plan_devices(Apply *apply)
{
	g_autoptr(GPtrArray) present = daemon_list_devices(apply->daemon);

	for (guint i = 0; i < present->len; i++) {
		DeviceSpec *spec = ((DaemonDevice *)present->pdata[i])->spec;

		if (spec->origin == SPEC_FROM_CONFIG &&
		    !file_has(apply->file->devices, true, spec->name))
			g_ptr_array_add(apply->old_devices, g_strdup(spec->name));
	}
	for (guint i = 0; i < apply->file->devices->len; i++) {
		DeviceSpec *wanted = apply->file->devices->pdata[i];
		DaemonDevice *device = daemon_find_device(apply->daemon, wanted->name, NULL);

		if (device && device_spec_equal(device->spec, wanted)) {
			device->spec->origin = SPEC_FROM_CONFIG;
			continue;
		}
		if (device)
			g_ptr_array_add(apply->old_devices, g_strdup(wanted->name));
		g_ptr_array_add(apply->devices, wanted);
	}
}

static bool in_use(const char *what, const char *name, const CapacityCounters *bytes,
		   GError **error)
{
	if (bytes->free == bytes->total)
		return false;
	g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY,
		    "[%s %s] cannot be removed or changed: %" G_GUINT64_FORMAT
		    " bytes of it are not free; release them first",
		    what, name, bytes->total - bytes->free);
	return true;
}

static bool backend_may_go(PoolDaemon *daemon, const char *name, GError **error)
{
	CapacityCounters bytes;
	uint64_t allocated_len;

	return !pool_backend_counters(daemon->pool, name, &bytes, &allocated_len) ||
	       !in_use("backend", name, &bytes, error);
}

static bool device_may_go(PoolDaemon *daemon, const char *name, GError **error)
{
	DaemonDevice *device = daemon_find_device(daemon, name, error);
	CapacityCounters bytes;

	if (!device || !daemon_device_is_idle(daemon, device, false, error))
		return false;
	pool_device_counters(daemon->pool, device->device, &bytes);
	return !in_use("device", name, &bytes, error);
}

static bool all_may_go(Apply *apply, GError **error)
{
	for (guint i = 0; i < apply->old_devices->len; i++)
		if (!device_may_go(apply->daemon, apply->old_devices->pdata[i], error))
			return false;
	for (guint i = 0; i < apply->old_backends->len; i++)
		if (!backend_may_go(apply->daemon, apply->old_backends->pdata[i], error))
			return false;
	return true;
}

/* ---- which objects are the configuration's ---- */

static void add_present(GString *text, PoolDaemon *daemon)
{
	g_autoptr(GPtrArray) backends = daemon_list_backends(daemon);
	g_autoptr(GPtrArray) devices = daemon_list_devices(daemon);

	for (guint i = 0; i < backends->len; i++) {
		const BackendSpec *spec = ((DaemonBackend *)backends->pdata[i])->spec;

		if (spec->origin == SPEC_FROM_CONFIG)
			g_string_append_printf(text, "backend %s\n", spec->config.name);
	}
	for (guint i = 0; i < devices->len; i++) {
		const DeviceSpec *spec = ((DaemonDevice *)devices->pdata[i])->spec;

		if (spec->origin == SPEC_FROM_CONFIG)
			g_string_append_printf(text, "device %s\n", spec->name);
	}
}

static void add_wanted(GString *text, const Apply *apply)
{
	for (guint i = 0; i < apply->backends->len; i++)
		g_string_append_printf(text, "backend %s\n", spec_name(apply->backends, false, i));
	for (guint i = 0; i < apply->devices->len; i++)
		g_string_append_printf(text, "device %s\n", spec_name(apply->devices, true, i));
}

static void save_origins(const Apply *apply, bool before)
{
	g_autoptr(GString) text = g_string_new(NULL);
	g_autoptr(GBytes) data = NULL;
	PoolDaemon *daemon = apply->daemon;

	add_present(text, daemon);
	if (before)
		add_wanted(text, apply);
	data = g_bytes_new(text->str, text->len);
	if (daemon->ledger)
		ledger_put_blob(daemon->ledger, BLOB_KIND, BLOB_NAME, data, NULL, NULL);
}

static void load_origin(const char *name, GBytes *data, void *opaque)
{
	PoolDaemon *daemon = opaque;
	gsize len;
	const char *bytes = g_bytes_get_data(data, &len);
	g_autofree char *text = g_strndup(len ? bytes : "", len);
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

	for (unsigned i = 0; lines[i]; i++) {
		DaemonBackend *backend = NULL;
		DaemonDevice *device = NULL;

		if (g_str_has_prefix(lines[i], "backend "))
			backend = daemon_find_backend(daemon, lines[i] + 8, NULL);
		if (g_str_has_prefix(lines[i], "device "))
			device = daemon_find_device(daemon, lines[i] + 7, NULL);
		if (backend)
			backend->spec->origin = SPEC_FROM_CONFIG;
		if (device)
			device->spec->origin = SPEC_FROM_CONFIG;
	}
}

/* ---- opening, which may take long and changes nothing ---- */

/* Would the core take this device? Asked of one that is thrown away. */
static bool check_device(const DeviceSpec *spec, GError **error)
{
	const CapacityOps ops = { .now_us = NULL };
	const DcDeviceOps device_ops = { .prepare = NULL };
	g_autoptr(Capacity) scratch = capacity_new(&ops, NULL);
	DcDeviceConfig config = {
		.name = spec->name,
		.static_len = spec->ram_len + spec->pmem_len,
		.regions = spec->regions,
		.n_regions = spec->n_regions,
		.max_extents = spec->max_extents,
		.max_chain = spec->max_chain,
	};

	return capacity_add_device(scratch, &config, &device_ops, NULL, error);
}

static bool open_all(Apply *apply, GError **error)
{
	for (guint i = 0; i < apply->devices->len; i++) {
		const DeviceSpec *spec = apply->devices->pdata[i];

		if (!check_device(spec, error)) {
			g_prefix_error(error, "[device %s] ", spec->name);
			return false;
		}
	}
	for (guint i = 0; i < apply->backends->len; i++) {
		const BackendSpec *spec = apply->backends->pdata[i];
		Backend *backend = backend_new(&spec->config, error);

		if (!backend) {
			g_prefix_error(error, "[backend %s] ", spec->config.name);
			return false;
		}
		g_ptr_array_add(apply->opened, backend);
	}
	return true;
}

/* ---- doing it ---- */

static bool take_device(Apply *apply, const char *name, GError **error)
{
	PoolDaemon *daemon = apply->daemon;
	DaemonDevice *device = daemon_find_device(daemon, name, error);

	if (!device || !pool_remove_device(daemon->pool, device->device, error))
		return false;
	daemon_unserve_device(daemon, name);
	g_ptr_array_add(apply->gone_devices, g_steal_pointer(&device->spec));
	/* The entry's key is the spec's name, which lives on. */
	g_hash_table_remove(daemon->devices, name);
	daemon_event_object(daemon, "DEVICE_REMOVED", "device", name);
	return true;
}

static bool take_backend(Apply *apply, const char *name, GError **error)
{
	DaemonBackend *entry = daemon_find_backend(apply->daemon, name, error);
	BackendSpec *spec = entry ? backend_spec_copy(&entry->spec->config, entry->spec->origin)
				  : NULL;
	Backend *backend = entry ? daemon_take_backend(apply->daemon, name, error) : NULL;

	if (!backend) {
		backend_spec_free(spec);
		return false;
	}
	g_ptr_array_add(apply->taken, backend);
	g_ptr_array_add(apply->taken_specs, spec);
	return true;
}

static bool put_device(PoolDaemon *daemon, DeviceSpec *spec, GError **error)
{
	PoolDevice *device = daemon_name_is_free(daemon, spec->name, error)
				     ? daemon_make_device(daemon, spec, NULL, error)
				     : NULL;
	DaemonDevice *entry;

	if (!device) {
		device_spec_free(spec);
		return false;
	}
	entry = daemon_put_device(daemon, spec, device);
	/* At the start everything is served together, later. */
	if (daemon->qmp && !daemon_serve_device(daemon, entry, error)) {
		g_hash_table_remove(daemon->devices, spec->name);
		pool_remove_device(daemon->pool, device, NULL);
		return false;
	}
	daemon_event_object(daemon, "DEVICE_ADDED", "device", spec->name);
	return true;
}

static DeviceSpec *copy_device_spec(const DeviceSpec *spec)
{
	DeviceSpec *copy = g_memdup2(spec, sizeof(*spec));

	copy->name = g_strdup(spec->name);
	return copy;
}

static bool do_all(Apply *apply, GError **error)
{
	PoolDaemon *daemon = apply->daemon;

	for (guint i = 0; i < apply->old_devices->len; i++)
		if (!take_device(apply, apply->old_devices->pdata[i], error))
			return false;
	for (guint i = 0; i < apply->old_backends->len; i++)
		if (!take_backend(apply, apply->old_backends->pdata[i], error))
			return false;
	for (; apply->n_backends_in < apply->backends->len; apply->n_backends_in++) {
		const BackendSpec *wanted = apply->backends->pdata[apply->n_backends_in];
		BackendSpec *spec = backend_spec_copy(&wanted->config, SPEC_FROM_CONFIG);
		gpointer *opened = &apply->opened->pdata[apply->n_backends_in];

		if (!daemon_insert_backend(daemon, spec, *opened, error)) {
			backend_spec_free(spec);
			return false;
		}
		*opened = NULL;
	}
	for (; apply->n_devices_in < apply->devices->len; apply->n_devices_in++)
		if (!put_device(daemon,
				copy_device_spec(apply->devices->pdata[apply->n_devices_in]),
				error))
			return false;
	return true;
}

/* What was free a moment ago and has been touched by nobody since. */
static void undo_all(Apply *apply)
{
	PoolDaemon *daemon = apply->daemon;

	while (apply->n_devices_in > 0) {
		const DeviceSpec *spec = apply->devices->pdata[--apply->n_devices_in];

		take_device(apply, spec->name, NULL);
		device_spec_free(
			g_ptr_array_steal_index(apply->gone_devices, apply->gone_devices->len - 1));
	}
	while (apply->n_backends_in > 0) {
		const BackendSpec *spec = apply->backends->pdata[--apply->n_backends_in];

		backend_free(daemon_take_backend(daemon, spec->config.name, NULL));
	}
	while (apply->taken->len > 0) {
		Backend *backend = g_ptr_array_steal_index(apply->taken, apply->taken->len - 1);
		BackendSpec *spec = g_ptr_array_steal_index(apply->taken_specs,
							    apply->taken_specs->len - 1);

		daemon_insert_backend(daemon, spec, backend, NULL);
	}
	while (apply->gone_devices->len > 0)
		put_device(
			daemon,
			g_ptr_array_steal_index(apply->gone_devices, apply->gone_devices->len - 1),
			NULL);
}

/* ---- life ---- */

static void free_backend(gpointer data)
{
	backend_free(data);
}

static void free_backend_spec(gpointer data)
{
	backend_spec_free(data);
}

static void free_device_spec(gpointer data)
{
	device_spec_free(data);
}

static Apply *apply_new(PoolDaemon *daemon, PoolFile *file)
{
	Apply *apply = g_new0(Apply, 1);

	apply->daemon = daemon;
	apply->file = file;
	apply->backends = g_ptr_array_new();
	apply->opened = g_ptr_array_new_with_free_func(free_backend);
	apply->devices = g_ptr_array_new();
	apply->old_backends = g_ptr_array_new_with_free_func(g_free);
	apply->old_devices = g_ptr_array_new_with_free_func(g_free);
	apply->taken = g_ptr_array_new_with_free_func(free_backend);
	apply->taken_specs = g_ptr_array_new_with_free_func(free_backend_spec);
	apply->gone_devices = g_ptr_array_new_with_free_func(free_device_spec);
	plan_devices(apply);
	plan_backends(apply);
	return apply;
}

static void apply_free(Apply *apply)
{
	g_ptr_array_unref(apply->backends);
	g_ptr_array_unref(apply->opened);
	g_ptr_array_unref(apply->devices);
	g_ptr_array_unref(apply->old_backends);
	g_ptr_array_unref(apply->old_devices);
	g_ptr_array_unref(apply->taken);
	g_ptr_array_unref(apply->taken_specs);
	g_ptr_array_unref(apply->gone_devices);
	g_clear_error(&apply->error);
	g_free(apply);
}

/* ---- at the start ---- */

/* What is in use stays as it is: a pool that does not start helps nobody. */
static void keep_what_is_used(Apply *apply, bool devices)
{
	GPtrArray *old = devices ? apply->old_devices : apply->old_backends;
	GPtrArray *wanted = devices ? apply->devices : apply->backends;

	for (guint i = old->len; i-- > 0;) {
		const char *name = old->pdata[i];
		g_autoptr(GError) error = NULL;

		if (devices ? device_may_go(apply->daemon, name, &error)
			    : backend_may_go(apply->daemon, name, &error))
			continue;
		g_printerr("softdcd serve: %s; it stays as it was\n", error->message);
		for (guint j = wanted->len; j-- > 0;)
			if (g_str_equal(spec_name(wanted, devices, j), name))
				g_ptr_array_remove_index(wanted, j);
		g_ptr_array_remove_index(old, i);
	}
}

bool daemon_apply_first(PoolDaemon *daemon, PoolFile *file, GError **error)
{
	Apply *apply;
	bool ok = !daemon->ledger ||
		  ledger_load_blobs(daemon->ledger, BLOB_KIND, load_origin, daemon, error);

	/* Without a file nothing is said of what others have made. */
	if (!ok || !daemon->config_path)
		return ok;
	apply = apply_new(daemon, file);
	keep_what_is_used(apply, true);
	keep_what_is_used(apply, false);
	save_origins(apply, true);
	ok = open_all(apply, error) && do_all(apply, error);
	if (ok)
		save_origins(apply, false);
	else
		g_prefix_error(error, "%s: ", daemon->config_path);
	apply_free(apply);
	return ok;
}

/* ---- on SIGHUP ---- */

static void add_names(JsonObject *data, const char *member, const GPtrArray *backends,
		      const GPtrArray *devices)
{
	JsonArray *list = json_array_new();

	for (guint i = 0; i < backends->len; i++)
		json_array_add_string_element(list, backends->pdata[i]);
	for (guint i = 0; i < devices->len; i++)
		json_array_add_string_element(list, devices->pdata[i]);
	json_object_set_array_member(data, member, list);
}

static void tell_result(PoolDaemon *daemon, Apply *apply, const GError *error)
{
	g_autoptr(GPtrArray) none = g_ptr_array_new();
	g_autoptr(GPtrArray) backends = g_ptr_array_new();
	g_autoptr(GPtrArray) devices = g_ptr_array_new();
	JsonObject *data = json_object_new();

	for (guint i = 0; apply && !error && i < apply->backends->len; i++)
		g_ptr_array_add(backends, (gpointer)spec_name(apply->backends, false, i));
	for (guint i = 0; apply && !error && i < apply->devices->len; i++)
		g_ptr_array_add(devices, (gpointer)spec_name(apply->devices, true, i));
	add_names(data, "added", backends, devices);
	add_names(data, "removed", apply && !error ? apply->old_backends : none,
		  apply && !error ? apply->old_devices : none);
	if (error)
		json_object_set_string_member(data, "refused", error->message);
	else
		json_object_set_null_member(data, "refused");
	if (error)
		g_printerr("softdcd serve: nothing changed: %s\n", error->message);
	daemon_event(daemon, "CONFIG_APPLIED", data);
}

static void apply_over(PoolDaemon *daemon, Apply *apply, const GError *error)
{
	tell_result(daemon, apply, error);
	sd_notify_ready(error ? "configuration refused" : NULL);
	if (apply) {
		pool_file_free(apply->file);
		apply_free(apply);
	}
	daemon->applying = false;
	if (daemon->apply_again) {
		daemon->apply_again = false;
		daemon_apply_again(daemon);
	}
}

static void applied_durable(PoolDaemon *daemon, GError *error, void *opaque)
{
	apply_over(daemon, opaque, error);
}

static void apply_opened(GObject *source, GAsyncResult *result, gpointer data)
{
	Apply *apply = data;
	PoolDaemon *daemon = apply->daemon;
	g_autoptr(GError) error = g_steal_pointer(&apply->error);

	daemon->n_tasks--;
	/* Hosts and operators may have been busy meanwhile. */
	if (!error && all_may_go(apply, &error)) {
		save_origins(apply, true);
		if (do_all(apply, &error)) {
			save_origins(apply, false);
			daemon_when_durable(daemon, applied_durable, apply);
			return;
		}
		undo_all(apply);
	}
	apply_over(daemon, apply, error);
}

static void apply_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	Apply *apply = data;

	open_all(apply, &apply->error);
	g_task_return_boolean(task, TRUE);
}

void daemon_apply_again(PoolDaemon *daemon)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GTask) task = NULL;
	PoolFile *file = NULL;
	Apply *apply;

	if (daemon->applying) {
		daemon->apply_again = true;
		return;
	}
	daemon->applying = true;
	sd_notify_reloading();
	if (daemon->config_path)
		file = pool_file_load(daemon->config_path, &error);
	else
		g_set_error(&error, CAPACITY_ERROR, CAPACITY_ERROR_INVALID,
			    "no configuration file was named at the start");
	if (!file) {
		apply_over(daemon, NULL, error);
		return;
	}
	apply = apply_new(daemon, file);
	if (!all_may_go(apply, &error)) {
		apply_over(daemon, apply, error);
		return;
	}
	daemon->n_tasks++;
	task = g_task_new(NULL, NULL, apply_opened, apply);
	g_task_set_task_data(task, apply, NULL);
	g_task_run_in_thread(task, apply_thread);
}
