/* SPDX-License-Identifier: BSD-3-Clause */
/* Taking devices over: checks that nobody else uses them, decoders, and leaving them again. */
#include "agent/agent.h"
#include "agent/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE_LEN        4096
#define MAX_COMMITS     12u
#define COMMIT_PAUSE_US 20000u

static void log_line(void *opaque, const char *line)
{
	complain("%s", line);
}

/* ---- before anything is touched ---- */

/* The only one that could be meant */
static const PlatformDevice *find_only(const Platform *platform, AgentError *error)
{
	const PlatformDevice *found = NULL;
	AgentError why = { "" };

	for (unsigned i = 0; i < platform->n_devices; i++) {
		const PlatformDevice *device = &platform->devices[i];
		AgentError reason = { "" };

		if (!platform_may_take(platform, device, &reason)) {
			if (!why.text[0])
				why = reason;
			continue;
		}
		if (found) {
			agent_fail(error,
				   "there are several devices, %s and %s; say which by --device",
				   found->name, device->name);
			return NULL;
		}
		found = device;
	}
	if (!found && why.text[0])
		agent_fail(error, "%s", why.text);
	else if (!found)
		agent_fail(error, "there is no CXL memory device");
	return found;
}

static bool add_device(Agent *agent, const PlatformDevice *info, AgentError *error)
{
	AgentDevice *device = &agent->devices[agent->n_devices];

	if (!info || !platform_may_take(agent->platform, info, error))
		return false;
	for (unsigned i = 0; i < agent->n_devices; i++) {
		if (agent->devices[i].info == info)
			return agent_fail(error, "device %s is named twice", info->name);
	}
	*device = (AgentDevice){
		.agent = agent,
		.info = info,
		.record_fd = -1,
		.bridge_fd = -1,
		.caching = "unknown",
	};
	device->leaving_end = &device->leaving;
	agent->n_devices++;
	return record_open(device, error) && kernel_keep_off(device, error) &&
	       sys_bus_add(agent->bus, agent->platform, info, error);
}

static bool add_devices(Agent *agent, AgentError *error)
{
	const AgentOptions *options = &agent->options;

	if (options->n_devices == 0)
		return add_device(agent, find_only(agent->platform, error), error);
	for (unsigned i = 0; i < options->n_devices; i++) {
		if (!add_device(agent, platform_find(agent->platform, options->devices[i], error),
				error))
			return false;
	}
	return true;
}

/* ---- the driver ---- */

static bool driver_failed(const Agent *agent, AgentError *error)
{
	return agent_fail(error, "%s", cxl_driver_error(agent->driver));
}

static bool make_driver(Agent *agent, AgentError *error)
{
	CxlWindow windows[CEDT_MAX_WINDOWS];
	CxlHostBridge bridges[AGENT_MAX_DEVICES];
	bool is_known[CEDT_MAX_BRIDGES] = { false };
	CxlPlatform platform = { .windows = windows, .bridges = bridges };

	for (unsigned i = 0; i < agent->n_devices; i++) {
		int index = agent->devices[i].info->bridge;
		const PlatformBridge *bridge = &agent->platform->bridges[index];

		if (is_known[index])
			continue;
		is_known[index] = true;
		bridges[platform.n_bridges++] = (CxlHostBridge){
			.uid = bridge->uid,
			.bus_first = bridge->bus_first,
			.bus_last = bridge->bus_last,
		};
		/* Each leads to one bridge only, so they cannot become more than there are. */
		platform.n_windows += platform_windows(agent->platform, bridge,
						       windows + platform.n_windows);
	}
	agent->driver = cxl_driver_new(&sys_bus_ops, agent->bus, &platform, NULL);
	if (!agent->driver)
		return agent_fail(error, "out of memory");
	return cxl_driver_enumerate(agent->driver) >= 0 || driver_failed(agent, error);
}

static bool find_memdev(AgentDevice *device, AgentError *error)
{
	Agent *agent = device->agent;

	device->memdev = cxl_driver_find_bdf(agent->driver, device->info->bdf);
	if (!device->memdev)
		return agent_fail(error, "%s: nothing answers there", device->info->name);
	if (*cxl_memdev_error(device->memdev))
		return agent_fail(error, "%s", cxl_memdev_error(device->memdev));
	if (!cxl_memdev_info(device->memdev)->has_dc)
		return agent_fail(error, "%s has no dynamic capacity", device->info->name);
	return true;
}

/* ---- decoders ---- */

/* Those of an agent that died, and any if told so, are taken back; others are not ours to touch. */
static bool clear_path(AgentDevice *device, AgentError *error)
{
	Agent *agent = device->agent;
	CxlForeignDecoder foreign;
	Record record;
	int err = 0;

	if (agent->options.reset_decoders)
		err = cxl_memdev_reset_foreign(device->memdev, 0, UINT64_MAX);
	else if (record_read(device, &record) &&
		 record.serial == cxl_memdev_info(device->memdev)->serial)
		err = cxl_memdev_reset_foreign(device->memdev, record.hpa, record.len);
	if (err < 0)
		return driver_failed(agent, error);
	if (!cxl_memdev_find_foreign(device->memdev, &foreign))
		return true;
	return agent_fail(error,
			  "%s: somebody else has committed decoder %u of %s, for %#" PRIx64
			  " bytes at %#" PRIx64 "%s",
			  device->info->name, foreign.index, foreign.owner, foreign.len,
			  foreign.hpa,
			  foreign.locked ? ", and locked it"
					 : "; if nobody uses it any more: --reset-decoders");
}

static bool write_record(AgentDevice *device, AgentError *error)
{
	Agent *agent = device->agent;
	CxlWindow windows[CEDT_MAX_WINDOWS];
	unsigned n = platform_windows(agent->platform,
				      &agent->platform->bridges[device->info->bridge], windows);
	Record record = { .serial = cxl_memdev_info(device->memdev)->serial, .hpa = UINT64_MAX };
	uint64_t end = 0;

	/* They lead to our bridge alone, and so does all that is decoded between them. */
	for (unsigned i = 0; i < n; i++) {
		if (windows[i].hpa < record.hpa)
			record.hpa = windows[i].hpa;
		if (windows[i].hpa + windows[i].len > end)
			end = windows[i].hpa + windows[i].len;
	}
	record.len = end - record.hpa;
	device->has_begun = record_write(device, &record, error);
	return device->has_begun;
}

/* Regions that find no place are left out: what is offered of them will be declined. */
static bool program(AgentDevice *device, AgentError *error)
{
	Agent *agent = device->agent;
	const CxlMemdevInfo *info = cxl_memdev_info(device->memdev);
	unsigned n = 0;

	for (unsigned i = 0; i < info->n_dc_regions; i++) {
		const CxlDcRegionInfo *region = cxl_memdev_dc_region(device->memdev, i);
		CxlRegionSpec spec = {
			.memdevs = &device->memdev,
			.n_memdevs = 1,
			.dpa = region->dpa,
			.len = region->decode_len,
		};
		int err = -EIO;

		/* A device has 15 ms to commit a decoder, which a busy machine may miss. */
		for (unsigned k = 0; (err == -EIO || err == -ETIMEDOUT) && k < MAX_COMMITS; k++) {
			sys_bus_ops.sleep_us(agent->bus, k * COMMIT_PAUSE_US);
			err = cxl_driver_program(agent->driver, &spec, &device->regions[i]);
		}
		if (err == -ENOSPC)
			complain("%s: region %u cannot be used: %s", device->info->name, i,
				 cxl_driver_error(agent->driver));
		else if (err < 0)
			return driver_failed(agent, error);
		n += err >= 0;
	}
	return n > 0 || driver_failed(agent, error);
}

/* May we map it, and how: found out where nothing needs to be accepted yet. */
static bool try_window(AgentDevice *device, AgentError *error)
{
	const char *root = device->agent->options.root;

	for (unsigned i = 0; i < CXL_DC_MAX_REGIONS; i++) {
		uint64_t hpa;
		void *at;

		if (!device->regions[i])
			continue;
		hpa = cxl_region_info(device->regions[i])->hpa;
		at = memory_map(root, MEMORY_WINDOW, hpa, PAGE_LEN, NULL, "memory window", error);
		if (!at)
			return false;
		device->caching = memory_caching(root, hpa, PAGE_LEN);
		munmap(at, PAGE_LEN);
		if (strcmp(device->caching, "write-back") != 0 &&
		    strcmp(device->caching, "unknown") != 0)
			complain("%s: the kernel maps the window %s instead of write-back; do the "
				 "MTRRs say so?",
				 device->info->name, device->caching);
		break;
	}
	return true;
}

static bool unprogram(AgentDevice *device)
{
	CxlDriver *driver = device->agent->driver;

	/* The last that was committed first */
	for (unsigned i = CXL_DC_MAX_REGIONS; i > 0; i--) {
		if (!device->regions[i - 1])
			continue;
		if (cxl_driver_unprogram(driver, device->regions[i - 1]) < 0) {
			complain("%s", cxl_driver_error(driver));
			return false;
		}
		device->regions[i - 1] = NULL;
	}
	return true;
}

static bool start_device(AgentDevice *device, AgentError *error)
{
	if (!find_memdev(device, error) || !clear_path(device, error) ||
	    !write_record(device, error) || !program(device, error) || !try_window(device, error))
		return false;
	tell_attached(device);
	if (cxl_dcd_start(device->memdev, &agent_dcd_ops, device, NULL, &device->dcd) < 0)
		return driver_failed(device->agent, error);
	device_settle(device);
	return true;
}

static bool start_all(Agent *agent, AgentError *error)
{
	if (!platform_read(agent->platform, agent->options.root, error) ||
	    !add_devices(agent, error) || !make_driver(agent, error))
		return false;
	for (unsigned i = 0; i < agent->n_devices; i++) {
		if (!start_device(&agent->devices[i], error))
			return false;
	}
	return true;
}

bool agent_start(Agent *agent, const AgentOptions *options, AgentError *error)
{
	memset(agent, 0, sizeof(*agent));
	agent->options = *options; /* the list of tags is shared with the caller */
	agent->platform = calloc(1, sizeof(*agent->platform));
	agent->bus = sys_bus_new(options->root, log_line, NULL);
	if (!agent->platform || !agent->bus)
		return agent_fail(error, "out of memory");
	if (start_all(agent, error))
		return true;
	/* Nothing is left behind but what was accepted. */
	for (unsigned i = 0; i < agent->n_devices; i++) {
		AgentDevice *device = &agent->devices[i];

		device->is_left = unprogram(device);
		/* One of an agent that died holds good until we have begun in its place. */
		if (device->is_left && device->has_begun)
			record_drop(device);
	}
	return false;
}

void agent_clear(Agent *agent)
{
	cxl_driver_free(agent->driver);
	for (unsigned i = 0; i < agent->n_devices; i++) {
		device_forget_leaving(&agent->devices[i]);
		record_close(&agent->devices[i]);
	}
	/* When the kernel takes registers they are taken from us. */
	sys_bus_free(agent->bus);
	for (unsigned i = 0; i < agent->n_devices; i++) {
		if (agent->devices[i].is_left)
			kernel_let_in(&agent->devices[i]);
	}
	free(agent->platform);
}

/* ---- leaving ---- */

bool agent_leave(Agent *agent)
{
	bool ok = true;

	for (unsigned i = 0; i < agent->n_devices; i++) {
		AgentDevice *device = &agent->devices[i];

		if (!device_release_all(device, "leaving") || !unprogram(device)) {
			ok = false;
			continue;
		}
		record_drop(device);
		device->is_left = true;
	}
	return ok;
}
