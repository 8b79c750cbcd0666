/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon's backends and devices: made, removed, and found by name. */
#include "pool/pool_daemon_priv.h"

#include "util/autofd.h"
#include "util/sd_listen.h"

#include <sys/socket.h>

/* ---- tables ---- */

static void free_device(gpointer data)
{
	DaemonDevice *device = data;

	device_spec_free(device->spec);
	g_free(device);
}

static void free_backend(gpointer data)
{
	DaemonBackend *backend = data;

	backend_spec_free(backend->spec);
	g_free(backend);
}

void daemon_objects_init(PoolDaemon *daemon)
{
	daemon->devices = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_device);
	daemon->backends = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_backend);
}

void daemon_objects_clear(PoolDaemon *daemon)
{
	g_clear_pointer(&daemon->devices, g_hash_table_unref);
	g_clear_pointer(&daemon->backends, g_hash_table_unref);
}

DaemonDevice *daemon_find_device(PoolDaemon *daemon, const char *name, GError **error)
{
	DaemonDevice *device = g_hash_table_lookup(daemon->devices, name);

	if (device && !device->leaving)
		return device;
	g_set_error(error, QMP_ERROR, QMP_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", name);
	return NULL;
}

DaemonBackend *daemon_find_backend(PoolDaemon *daemon, const char *name, GError **error)
{
	DaemonBackend *backend = g_hash_table_lookup(daemon->backends, name);

	if (backend && !backend->leaving)
		return backend;
	g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_NOT_FOUND, "object '%s' not found", name);
	return NULL;
}

static gint compare_devices(gconstpointer a, gconstpointer b)
{
	const DaemonDevice *const *x = a, *const *y = b;

	return g_strcmp0((*x)->spec->name, (*y)->spec->name);
}

static gint compare_backends(gconstpointer a, gconstpointer b)
{
	const DaemonBackend *const *x = a, *const *y = b;

	return g_strcmp0((*x)->spec->config.name, (*y)->spec->config.name);
}

GPtrArray *daemon_list_devices(PoolDaemon *daemon)
{
	GPtrArray *list = g_ptr_array_new();
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, daemon->devices);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		if (!((DaemonDevice *)value)->leaving)
			g_ptr_array_add(list, value);
	g_ptr_array_sort(list, compare_devices);
	return list;
}

GPtrArray *daemon_list_backends(PoolDaemon *daemon)
{
	GPtrArray *list = g_ptr_array_new();
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, daemon->backends);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		if (!((DaemonBackend *)value)->leaving)
			g_ptr_array_add(list, value);
	g_ptr_array_sort(list, compare_backends);
	return list;
}

void daemon_put_backend(PoolDaemon *daemon, BackendSpec *spec)
{
	DaemonBackend *backend = g_new0(DaemonBackend, 1);

	backend->spec = spec;
	g_hash_table_replace(daemon->backends, (gpointer)spec->config.name, backend);
}

DaemonDevice *daemon_put_device(PoolDaemon *daemon, DeviceSpec *spec, PoolDevice *device)
{
	DaemonDevice *entry = g_new0(DaemonDevice, 1);

	entry->spec = spec;
	entry->device = device;
	g_hash_table_replace(daemon->devices, spec->name, entry);
	return entry;
}

/* ---- durability ---- */

typedef struct DurableWait {
	PoolDaemon *daemon;
	ObjectDone done;
	void *opaque;
	bool ok;
} DurableWait;

static gboolean durable_arrived(gpointer data)
{
	g_autofree DurableWait *wait = data;
	GError *error = NULL;

	wait->daemon->n_tasks--;
	if (!wait->ok)
		error = g_error_new(CAPACITY_ERROR, CAPACITY_ERROR_FAILED,
				    "the ledger cannot keep it; see query-pool for the reason");
	wait->done(wait->daemon, error, wait->opaque);
	g_clear_error(&error);
	return G_SOURCE_REMOVE;
}

static void durable_known(void *opaque, bool ok)
{
	DurableWait *wait = opaque;

	wait->ok = ok;
	g_idle_add_full(G_PRIORITY_DEFAULT, durable_arrived, wait, NULL);
}

static void ask_durable(Pool *pool, void *opaque)
{
	capacity_when_durable(pool_peek_capacity(pool), durable_known, opaque);
}

void daemon_when_durable(PoolDaemon *daemon, ObjectDone done, void *opaque)
{
	DurableWait *wait = g_new0(DurableWait, 1);

	wait->daemon = daemon;
	wait->done = done;
	wait->opaque = opaque;
	daemon->n_tasks++;
	pool_call(daemon->pool, ask_durable, wait);
}

/* ---- work that may block ---- */

typedef struct ObjectJob ObjectJob;
struct ObjectJob {
	PoolDaemon *daemon;
	BackendSpec *backend_spec;
	DeviceSpec *device_spec;
	Backend *backend;
	PoolDevice *device;
	char *name;
	GError *error;
	ObjectDone done;
	void *opaque;
	void (*work)(ObjectJob *job);  /* on a thread of its own */
	void (*after)(ObjectJob *job); /* then on the daemon's */
};

static ObjectJob *job_new(PoolDaemon *daemon, ObjectDone done, void *opaque)
{
	ObjectJob *job = g_new0(ObjectJob, 1);

	job->daemon = daemon;
	job->done = done;
	job->opaque = opaque;
	return job;
}

static void job_end(ObjectJob *job)
{
	job->done(job->daemon, job->error, job->opaque);
	g_clear_error(&job->error);
	backend_spec_free(job->backend_spec);
	device_spec_free(job->device_spec);
	g_free(job->name);
	g_free(job);
}

static void job_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	ObjectJob *job = data;

	job->work(job);
	g_task_return_boolean(task, TRUE);
}

static void job_ready(GObject *source, GAsyncResult *result, gpointer data)
{
	ObjectJob *job = data;

	job->daemon->n_tasks--;
	job->after(job);
}

static void job_run(ObjectJob *job, void (*work)(ObjectJob *), void (*after)(ObjectJob *))
{
	g_autoptr(GTask) task = g_task_new(NULL, NULL, job_ready, job);

	job->work = work;
	job->after = after;
	job->daemon->n_tasks++;
	g_task_set_task_data(task, job, NULL);
	g_task_run_in_thread(task, job_thread);
}

static void job_nothing(ObjectJob *job)
{
}

/* For what is refused at once: DONE is never called from inside. */
static void job_refuse(ObjectJob *job)
{
	job_run(job, job_nothing, job_end);
}

/* ---- backends ---- */

typedef struct BackendCall {
	Backend *backend;
	const char *name;
	GError **error;
	bool ok;
} BackendCall;

static void run_add_backend(Pool *pool, void *opaque)
{
	BackendCall *call = opaque;

	call->ok = capacity_add_backend(pool_peek_capacity(pool), call->backend, call->error);
}

static void run_take_backend(Pool *pool, void *opaque)
{
	BackendCall *call = opaque;

	call->backend = capacity_remove_backend(pool_peek_capacity(pool), call->name, call->error);
}

bool daemon_insert_backend(PoolDaemon *daemon, BackendSpec *spec, Backend *backend, GError **error)
{
	BackendCall call = { .backend = backend, .error = error };

	if (g_hash_table_contains(daemon->backends, spec->config.name)) {
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY,
			    "object '%s': the name is taken; choose another", spec->config.name);
		return false;
	}
	pool_call(daemon->pool, run_add_backend, &call);
	if (!call.ok)
		return false;
	daemon_put_backend(daemon, spec);
	daemon_event_object(daemon, "BACKEND_ADDED", "backend", spec->config.name);
	return true;
}

Backend *daemon_take_backend(PoolDaemon *daemon, const char *name, GError **error)
{
	BackendCall call = { .name = name, .error = error };

	if (!daemon_find_backend(daemon, name, error))
		return NULL;
	pool_call(daemon->pool, run_take_backend, &call);
	if (!call.backend)
		return NULL;
	daemon_event_object(daemon, "BACKEND_REMOVED", "backend", name);
	g_hash_table_remove(daemon->backends, name);
	return call.backend;
}

static void backend_add_over(PoolDaemon *daemon, GError *error, void *opaque)
{
	ObjectJob *job = opaque;

	/* Whoever asked is told that it failed, so it must not be there. */
	if (error) {
		backend_free(daemon_take_backend(daemon, job->name, NULL));
		job->error = g_error_copy(error);
	}
	job_end(job);
}

static void open_backend(ObjectJob *job)
{
	job->backend = backend_new(&job->backend_spec->config, &job->error);
}

static void backend_opened(ObjectJob *job)
{
	if (!job->backend) {
		job_end(job);
		return;
	}
	job->name = g_strdup(job->backend_spec->config.name);
	if (!daemon_insert_backend(job->daemon, job->backend_spec, job->backend, &job->error)) {
		backend_free(job->backend);
		job_end(job);
		return;
	}
	job->backend_spec = NULL;
	daemon_when_durable(job->daemon, backend_add_over, job);
}

void daemon_add_backend(PoolDaemon *daemon, BackendSpec *spec, ObjectDone done, void *opaque)
{
	ObjectJob *job = job_new(daemon, done, opaque);

	job->backend_spec = spec;
	job_run(job, open_backend, backend_opened);
}

static void free_taken_backend(ObjectJob *job)
{
	backend_free(job->backend);
}

/* A removal that is not durable may be back after a restart, which the error says. */
static void backend_remove_over(PoolDaemon *daemon, GError *error, void *opaque)
{
	ObjectJob *job = opaque;

	job->error = error ? g_error_copy(error) : NULL;
	job_run(job, free_taken_backend, job_end);
}

void daemon_remove_backend(PoolDaemon *daemon, const char *name, ObjectDone done, void *opaque)
{
	ObjectJob *job = job_new(daemon, done, opaque);

	job->backend = daemon_take_backend(daemon, name, &job->error);
	if (job->backend)
		daemon_when_durable(daemon, backend_remove_over, job);
	else
		job_refuse(job);
}

/* ---- devices ---- */

static void make_device_config(PoolDaemon *daemon, const DeviceSpec *spec, PoolDeviceConfig *ret,
			       char **ret_pmem, char **ret_lsa)
{
	*ret_pmem = daemon->state_dir ? g_strdup_printf("%s/%s.pmem", daemon->state_dir, spec->name)
				      : NULL;
	*ret_lsa = daemon->state_dir ? g_strdup_printf("%s/%s.lsa", daemon->state_dir, spec->name)
				     : NULL;
	*ret = (PoolDeviceConfig){
		.name = spec->name,
		.serial = device_spec_serial(spec),
		.ram_len = spec->ram_len,
		.pmem_len = spec->pmem_len,
		.pmem_path = *ret_pmem,
		.lsa_len = spec->lsa_len,
		.lsa_path = *ret_lsa,
		.regions = spec->regions,
		.n_regions = spec->n_regions,
		.dc_log_depth = spec->dc_log_depth,
		.max_extents = spec->max_extents,
		.max_chain = spec->max_chain,
		.read_latency_ns = (uint16_t)spec->read_latency_ns,
		.write_latency_ns = (uint16_t)spec->write_latency_ns,
		.bandwidth_mbps = spec->bandwidth_mbps,
		.hold_off = spec->hold_off,
	};
}

PoolDevice *daemon_make_device(PoolDaemon *daemon, const DeviceSpec *spec, const RowDevice *row,
			       GError **error)
{
	g_autofree char *pmem_path = NULL, *lsa_path = NULL, *text = NULL, *session_path = NULL;
	PoolDeviceConfig config;

	if (!device_spec_check(spec, error))
		return NULL;
	if (spec->pmem_len && !daemon->state_dir) {
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_INVALID,
			    "device %s: pmem needs a state directory; leave out --ephemeral",
			    spec->name);
		return NULL;
	}
	make_device_config(daemon, spec, &config, &pmem_path, &lsa_path);
	text = device_spec_format(spec);
	session_path = g_strdup_printf("%s/%s.session", socket_dir_path(daemon->sockets),
				       spec->name);
	config.settings = text;
	config.session_path = daemon->ephemeral ? NULL : session_path;
	config.row = row;
	return pool_add_device(daemon->pool, &config, error);
}

/* The inherited socket of this name, else a new one. */
int daemon_listen(PoolDaemon *daemon, const char *name, int type, GError **error)
{
	GError *local = NULL;
	int fd = daemon->inherited ? sd_listen_steal(daemon->inherited, name, type, &local) : -1;

	if (local) {
		g_propagate_error(error, local);
		return -1;
	}
	return fd >= 0 ? fd : socket_dir_listen(daemon->sockets, name, type, error);
}

bool daemon_serve_device(PoolDaemon *daemon, DaemonDevice *device, GError **error)
{
	g_autofree char *vfio_name = g_strdup_printf("%s.vfio", device->spec->name);
	g_autofree char *mem_name = g_strdup_printf("%s.mem", device->spec->name);
	AUTOFD int vfu_fd = daemon_listen(daemon, vfio_name, SOCK_STREAM, error);
	AUTOFD int mem_fd = -EBADF;

	if (vfu_fd < 0)
		return false;
	mem_fd = daemon_listen(daemon, mem_name, SOCK_SEQPACKET, error);
	if (mem_fd < 0) {
		socket_dir_unlink(daemon->sockets, vfio_name);
		return false;
	}
	pool_listen(daemon->pool, device->device, fd_steal(&vfu_fd), fd_steal(&mem_fd));
	return true;
}

void daemon_unserve_device(PoolDaemon *daemon, const char *name)
{
	g_autofree char *vfio_name = g_strdup_printf("%s.vfio", name);
	g_autofree char *mem_name = g_strdup_printf("%s.mem", name);

	socket_dir_unlink(daemon->sockets, vfio_name);
	socket_dir_unlink(daemon->sockets, mem_name);
}

static void remove_device(ObjectJob *job)
{
	/* An error that is there already is the reason for the removal, and is the one to tell. */
	pool_remove_device(job->daemon->pool, job->device, job->error ? NULL : &job->error);
}

static void added_device_removed(ObjectJob *job)
{
	daemon_unserve_device(job->daemon, job->name);
	g_hash_table_remove(job->daemon->devices, job->name);
	job_end(job);
}

static void device_add_over(PoolDaemon *daemon, GError *error, void *opaque)
{
	ObjectJob *job = opaque;
	DaemonDevice *device = g_hash_table_lookup(daemon->devices, job->name);

	if (error)
		job->error = g_error_copy(error);
	if (!error && daemon_serve_device(daemon, device, &job->error)) {
		device->leaving = false;
		daemon_event_object(daemon, "DEVICE_ADDED", "device", job->name);
		job_end(job);
		return;
	}
	job->device = device->device;
	job_run(job, remove_device, added_device_removed);
}

static void open_device(ObjectJob *job)
{
	job->device = daemon_make_device(job->daemon, job->device_spec, NULL, &job->error);
}

static void device_opened(ObjectJob *job)
{
	DaemonDevice *device;

	if (!job->device) {
		job_end(job);
		return;
	}
	job->name = g_strdup(job->device_spec->name);
	device = daemon_put_device(job->daemon, g_steal_pointer(&job->device_spec), job->device);
	/* There for nobody until it is durable. */
	device->leaving = true;
	daemon_when_durable(job->daemon, device_add_over, job);
}

/* One that is about to go may be out of the core already, and keeps its name until it has gone. */
bool daemon_name_is_free(PoolDaemon *daemon, const char *name, GError **error)
{
	if (!g_hash_table_contains(daemon->devices, name))
		return true;
	g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY,
		    "device %s: the name is taken; choose another", name);
	return false;
}

void daemon_add_device(PoolDaemon *daemon, DeviceSpec *spec, ObjectDone done, void *opaque)
{
	ObjectJob *job = job_new(daemon, done, opaque);

	job->device_spec = spec;
	if (daemon_name_is_free(daemon, spec->name, &job->error))
		job_run(job, open_device, device_opened);
	else
		job_refuse(job);
}

static void device_remove_over(PoolDaemon *daemon, GError *error, void *opaque)
{
	ObjectJob *job = opaque;

	job->error = error ? g_error_copy(error) : NULL;
	job_end(job);
}

static void device_removed(ObjectJob *job)
{
	DaemonDevice *device = g_hash_table_lookup(job->daemon->devices, job->name);

	if (job->error) {
		device->leaving = false;
		job_end(job);
		return;
	}
	daemon_unserve_device(job->daemon, job->name);
	daemon_event_object(job->daemon, "DEVICE_REMOVED", "device", job->name);
	g_hash_table_remove(job->daemon->devices, job->name);
	daemon_when_durable(job->daemon, device_remove_over, job);
}

bool daemon_device_is_idle(PoolDaemon *daemon, DaemonDevice *device, bool force, GError **error)
{
	PoolDeviceState state;

	pool_device_state(daemon->pool, device->device, &state);
	if (!state.has_host || force)
		return true;
	g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY,
		    "device %s: its host (pid %d) is connected; end it first, or use force",
		    device->spec->name, (int)state.host.pid);
	return false;
}

void daemon_remove_device(PoolDaemon *daemon, const char *name, bool force, ObjectDone done,
			  void *opaque)
{
	ObjectJob *job = job_new(daemon, done, opaque);
	DaemonDevice *device = daemon_find_device(daemon, name, &job->error);

	if (!device || !daemon_device_is_idle(daemon, device, force, &job->error)) {
		job_refuse(job);
		return;
	}
	job->name = g_strdup(name);
	job->device = device->device;
	device->leaving = true;
	job_run(job, remove_device, device_removed);
}
