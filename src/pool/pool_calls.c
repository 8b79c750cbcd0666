/* SPDX-License-Identifier: BSD-3-Clause */
/* What other threads may ask of a pool: each call is one function run on the pool's thread. */
#include "pool/pool_priv.h"

#include "util/autofd.h"

typedef struct BackendCall {
	const BackendConfig *config;
	const char *name;
	CapacityCounters *counters;
	uint64_t *allocated_len;
	Backend *backend;
	GError **error;
	bool ok;
} BackendCall;

static void run_add_backend(Pool *pool, void *user_data)
{
	BackendCall *call = user_data;

	call->ok = capacity_add_backend(pool->capacity, call->backend, call->error);
}

bool pool_add_backend(Pool *pool, const BackendConfig *config, GError **error)
{
	BackendCall call = { .error = error };

	/* Opening and sizing a file may block, so it happens on the caller's thread. */
	call.backend = backend_new(config, error);
	if (!call.backend)
		return false;
	pool_call(pool, run_add_backend, &call);
	if (!call.ok)
		backend_free(call.backend);
	return call.ok;
}

static void run_remove_backend(Pool *pool, void *user_data)
{
	BackendCall *call = user_data;

	call->backend = capacity_remove_backend(pool->capacity, call->name, call->error);
}

bool pool_remove_backend(Pool *pool, const char *name, GError **error)
{
	BackendCall call = { .name = name, .error = error };

	pool_call(pool, run_remove_backend, &call);
	if (!call.backend)
		return false;
	backend_free(call.backend);
	return true;
}

static void run_backend_counters(Pool *pool, void *user_data)
{
	BackendCall *call = user_data;
	Backend *backend = capacity_peek_backend(pool->capacity, call->name);

	call->ok = backend;
	if (!backend)
		return;
	backend_counters(backend, call->counters);
	*call->allocated_len = mem_file_allocated_len(backend_peek_file(backend));
}

bool pool_backend_counters(Pool *pool, const char *name, CapacityCounters *ret,
			   uint64_t *ret_allocated_len)
{
	CapacityCounters counters;
	uint64_t allocated_len;
	BackendCall call = {
		.name = name,
		.counters = &counters,
		.allocated_len = &allocated_len,
	};

	pool_call(pool, run_backend_counters, &call);
	if (!call.ok)
		return false;
	*ret = counters;
	*ret_allocated_len = allocated_len;
	return true;
}

/* ---- devices ---- */

typedef struct DeviceCall {
	const PoolDeviceConfig *config;
	const OfferRequest *offer;
	const ReleaseRequest *release;
	PoolDevice *device;
	CapacityCounters *counters;
	int vfu_fd, mem_fd;
	uint64_t id;
	GError **error;
	bool ok;
} DeviceCall;

static void run_new_device(Pool *pool, void *user_data)
{
	DeviceCall *call = user_data;

	call->device = pool_device_new(pool, call->config, call->error);
}

static void run_start_device(Pool *pool, void *user_data)
{
	DeviceCall *call = user_data;

	call->ok = call->ok && pool_device_start(call->device, call->config, call->error);
	if (call->ok)
		g_ptr_array_add(pool->devices, call->device);
	else
		pool_device_remove(call->device, NULL);
}

PoolDevice *pool_add_device(Pool *pool, const PoolDeviceConfig *config, GError **error)
{
	DeviceCall call = { .config = config, .error = error };

	pool_call(pool, run_new_device, &call);
	if (!call.device)
		return NULL;
	call.ok = pool_device_open(call.device, config, error);
	pool_call(pool, run_start_device, &call);
	if (call.ok)
		return call.device;
	pool_device_free(call.device);
	return NULL;
}

static void run_remove_device(Pool *pool, void *user_data)
{
	DeviceCall *call = user_data;

	call->ok = pool_device_remove(call->device, call->error);
	if (call->ok)
		g_ptr_array_remove(pool->devices, call->device);
}

bool pool_remove_device(Pool *pool, PoolDevice *device, GError **error)
{
	DeviceCall call = { .device = device, .error = error };

	pool_call(pool, run_remove_device, &call);
	if (call.ok)
		pool_device_free(device);
	return call.ok;
}

static void run_attach(Pool *pool, void *user_data)
{
	DeviceCall *call = user_data;
	bool with_vfu = call->vfu_fd >= 0;

	call->ok = !with_vfu || vfu_server_attach(call->device->vfu, fd_steal(&call->vfu_fd));
	if (call->ok && call->mem_fd >= 0) {
		call->ok = mem_link_server_attach(call->device->link, fd_steal(&call->mem_fd));
		/* Both or none. */
		if (!call->ok && with_vfu)
			vfu_server_disconnect(call->device->vfu);
	}
	if (!call->ok)
		g_set_error(call->error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY,
			    "device %s has a host already: a device has one at a time",
			    call->device->name);
}

bool pool_attach_host(Pool *pool, PoolDevice *device, int vfu_fd, int mem_fd, GError **error)
{
	DeviceCall call = {
		.device = device,
		.vfu_fd = vfu_fd,
		.mem_fd = mem_fd,
		.error = error,
	};

	pool_call(pool, run_attach, &call);
	fd_close_auto(&call.vfu_fd);
	fd_close_auto(&call.mem_fd);
	return call.ok;
}

static void run_offer(Pool *pool, void *user_data)
{
	DeviceCall *call = user_data;

	call->ok = capacity_offer(pool->capacity, call->device->dc, call->offer, &call->id,
				  call->error);
}

bool pool_offer(Pool *pool, PoolDevice *device, const OfferRequest *request, uint64_t *ret_offer,
		GError **error)
{
	DeviceCall call = { .device = device, .offer = request, .error = error };

	pool_call(pool, run_offer, &call);
	if (call.ok && ret_offer)
		*ret_offer = call.id;
	return call.ok;
}

static void run_release(Pool *pool, void *user_data)
{
	DeviceCall *call = user_data;

	call->ok = capacity_release(pool->capacity, call->device->dc, call->release, &call->id,
				    call->error);
}

bool pool_release(Pool *pool, PoolDevice *device, const ReleaseRequest *request, uint64_t *ret_id,
		  GError **error)
{
	DeviceCall call = { .device = device, .release = request, .error = error };

	pool_call(pool, run_release, &call);
	if (call.ok && ret_id)
		*ret_id = call.id;
	return call.ok;
}

static void run_device_counters(Pool *pool, void *user_data)
{
	DeviceCall *call = user_data;

	dc_device_counters(call->device->dc, call->counters);
}

void pool_device_counters(Pool *pool, PoolDevice *device, CapacityCounters *ret)
{
	DeviceCall call = { .device = device, .counters = ret };

	pool_call(pool, run_device_counters, &call);
}

/* ---- for the daemon ---- */

static void run_listen(Pool *pool, void *user_data)
{
	DeviceCall *call = user_data;

	vfu_server_listen(call->device->vfu, call->vfu_fd);
	mem_link_server_listen(call->device->link, call->mem_fd);
}

void pool_listen(Pool *pool, PoolDevice *device, int vfu_fd, int mem_fd)
{
	DeviceCall call = { .device = device, .vfu_fd = vfu_fd, .mem_fd = mem_fd };

	pool_call(pool, run_listen, &call);
}

static void count_offer(const OfferInfo *info, void *opaque)
{
	++*(uint32_t *)opaque;
}

static void count_release(const ReleaseInfo *info, void *opaque)
{
	if (info->state < RELEASE_DONE)
		++*(uint32_t *)opaque;
}

static void describe_host(const PoolDevice *device, PoolHostInfo *ret)
{
	const PoolHost *host = g_hash_table_lookup(device->pool->hosts, &device->host);

	*ret = (PoolHostInfo){ .serial = device->host, .control_only = !device->had_link };
	if (host) {
		ret->pid = host->pid;
		ret->uid = host->uid;
	}
}

bool pool_host_of(Pool *pool, const DcDevice *dc, PoolHostInfo *ret)
{
	for (guint i = 0; i < pool->devices->len; i++) {
		const PoolDevice *device = g_ptr_array_index(pool->devices, i);

		if (device->dc == dc && device->host) {
			describe_host(device, ret);
			return true;
		}
	}
	return false;
}

typedef struct StateCall {
	PoolDevice *device;
	PoolDeviceState *state;
} StateCall;

static void run_state(Pool *pool, void *user_data)
{
	StateCall *call = user_data;
	PoolDevice *device = call->device;
	PoolDeviceState *state = call->state;
	uint32_t n_tags, n_tags_available;

	*state = (PoolDeviceState){
		.has_host = device->host != 0,
		.missed_reads = device->missed_reads,
		.missed_writes = device->missed_writes,
	};
	describe_host(device, &state->host);
	dc_device_counters(device->dc, &state->bytes);
	dc_device_limits(device->dc, &state->extents_supported, &state->extents_available, &n_tags,
			 &n_tags_available);
	state->generation = dc_device_generation(device->dc);
	state->extents = (uint32_t)dc_device_n_extents(device->dc);
	dc_device_foreach_offer(device->dc, count_offer, &state->offers);
	dc_device_foreach_release(device->dc, count_release, &state->releases);
}

void pool_device_state(Pool *pool, PoolDevice *device, PoolDeviceState *ret)
{
	StateCall call = { device, ret };

	pool_call(pool, run_state, &call);
}
