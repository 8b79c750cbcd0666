/* SPDX-License-Identifier: BSD-3-Clause */
/* The memory of an accepted group: found by name, mapped, measured. */
#include "agent/agent.h"
#include "agent/memory.h"
#include "host/mem_speed.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE_LEN 4096
#define ROUNDS   5
#define MAX_LEN  (UINT64_C(1) << 30) /* of what is measured */

/* ---- finding ---- */

typedef struct Find {
	AgentDevice *device;
	bool by_tag;
	CxlTag tag;
	uint64_t id;
	GroupFunc func;
	void *opaque;
	AgentError *error;
	bool is_found, result;
} Find;

static bool find_group(void *opaque, const CxlDcGroup *group)
{
	Find *find = opaque;
	bool matches = find->by_tag ? group->tagged &&
					      memcmp(&group->tag, &find->tag, sizeof(CxlTag)) == 0
				    : group->id == find->id;

	if (!matches)
		return true;
	find->is_found = true;
	find->result = find->func(find->device, group, find->opaque, find->error);
	return false;
}

bool group_with(Agent *agent, const char *name, GroupFunc func, void *opaque, AgentError *error)
{
	Find find = { .func = func, .opaque = opaque, .error = error };

	find.by_tag = cxl_tag_parse(name, &find.tag) == 0;
	if (!find.by_tag && !parse_number(name, &find.id))
		return agent_fail(error, "'%.64s' is neither a tag nor the number of a group",
				  name);
	for (unsigned i = 0; i < agent->n_devices && !find.is_found; i++) {
		find.device = &agent->devices[i];
		if (find.device->dcd && cxl_dcd_foreach(find.device->dcd, find_group, &find) < 0)
			return agent_fail(error, "out of memory");
	}
	if (!find.is_found)
		return agent_fail(error, "nothing accepted is called %.64s", name);
	return find.result;
}

/* ---- mapping ---- */

/* One extent over the address space reserved for it */
static bool place(const Agent *agent, const CxlHostExtent *extent, uint8_t *at, AgentError *error)
{
	if (extent->hpa == CXL_NO_HPA || extent->ways != 1)
		return agent_fail(error, "no decoder leads to the extent at DPA %#llx",
				  (unsigned long long)extent->dpa);
	return memory_map(agent->options.root, MEMORY_WINDOW, extent->hpa, extent->len, at,
			  "memory window", error);
}

uint8_t *group_map(const Agent *agent, const CxlDcGroup *group, AgentError *error)
{
	uint64_t offset = 0;
	uint8_t *base;
	void *at = mmap(NULL, group->len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			-1, 0);

	if (at == MAP_FAILED) {
		agent_fail(error, "no address space for %llu bytes: %s",
			   (unsigned long long)group->len, strerror(errno));
		return NULL;
	}
	base = at;
	for (uint32_t i = 0; i < group->n_extents; i++) {
		if (!place(agent, &group->extents[i], base + offset, error)) {
			munmap(base, group->len);
			return NULL;
		}
		offset += group->extents[i].len;
	}
	return base;
}

/* ---- measuring ---- */

static void tell_speed(Json *json, const char *name, const MemSpeed *speed)
{
	json_begin_object(json, name);
	json_decimal(json, "write-gbps", speed->write_gbps);
	json_decimal(json, "read-gbps", speed->read_gbps);
	json_decimal(json, "latency-ns", speed->latency_ns);
	json_end_object(json);
}

static void tell_spread(Json *json, const char *name, const MemSpeedSpread *spread)
{
	json_begin_object(json, name);
	json_decimal(json, "low", spread->low);
	json_decimal(json, "high", spread->high);
	json_end_object(json);
}

static void tell_result(AgentDevice *device, const CxlDcGroup *group, uint64_t len,
			const MemSpeedResult *result)
{
	Json json;

	tell_begin(&json, "measured", device);
	tell_tag(&json, &group->tag);
	json_number(&json, "group", group->id);
	json_number(&json, "len", len);
	json_number(&json, "rounds", result->rounds);
	/* Of the mappings on both sides: /dev/mem has no larger ones. */
	json_number(&json, "page-len", PAGE_LEN);
	json_text(&json, "caching", device->caching);
	tell_speed(&json, "extent", &result->extent);
	tell_speed(&json, "ordinary", &result->ordinary);
	json_begin_object(&json, "ratio");
	json_decimal(&json, "read", result->read_ratio);
	json_decimal(&json, "write", result->write_ratio);
	json_decimal(&json, "latency", result->latency_ratio);
	json_end_object(&json);
	json_begin_object(&json, "spread");
	tell_spread(&json, "read", &result->read_spread);
	tell_spread(&json, "write", &result->write_spread);
	tell_spread(&json, "latency", &result->latency_spread);
	json_end_object(&json);
	tell_end(device->agent, &json);
}

/* The machine's own memory, with pages of the size that /dev/mem maps, and touched. */
static void *map_ordinary(uint64_t len, AgentError *error)
{
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED) {
		agent_fail(error, "no memory to compare with: %s", strerror(errno));
		return NULL;
	}
	/* It may not know huge pages at all. */
	(void)!madvise(at, len, MADV_NOHUGEPAGE);
	memset(at, 0x5a, len);
	return at;
}

bool group_measure(AgentDevice *device, const CxlDcGroup *group, void *opaque, AgentError *error)
{
	uint64_t len = group->len < MAX_LEN ? group->len : MAX_LEN;
	MemSpeedResult result;
	uint8_t *extent;
	void *ordinary;

	if (len < MEM_SPEED_MIN_LEN)
		return agent_fail(error, "%llu bytes are too little to measure: at least %llu",
				  (unsigned long long)group->len,
				  (unsigned long long)MEM_SPEED_MIN_LEN);
	ordinary = map_ordinary(len, error);
	extent = ordinary ? group_map(device->agent, group, error) : NULL;
	if (extent) {
		mem_speed_compare(extent, ordinary, len, ROUNDS, &result);
		tell_result(device, group, len, &result);
		munmap(extent, group->len);
	}
	if (ordinary)
		munmap(ordinary, len);
	return extent != NULL;
}
