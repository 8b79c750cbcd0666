/* SPDX-License-Identifier: BSD-3-Clause */
/* Lines of JSON on standard output, one for each change; sentences on standard error. */
#include "agent/agent.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void complain(const char *format, ...)
{
	va_list args;

	fputs("softdcd-agent: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

/* A reader that has gone is nobody to work for. */
static void write_line(Agent *agent, Json *json)
{
	size_t done = 0;

	if (json->is_broken)
		complain("out of memory: a line is not told");
	while (!json->is_broken && done < json->len) {
		ssize_t n = write(STDOUT_FILENO, json->text + done, json->len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			agent->leaves = true;
			break;
		}
		done += (size_t)n;
	}
	json_clear(json);
}

void tell_begin(Json *json, const char *event, const AgentDevice *device)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	memset(json, 0, sizeof(*json));
	json_begin_object(json, NULL);
	json_text(json, "event", event);
	json_number(json, "time", (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u);
	if (device)
		json_text(json, "device", device->info->name);
}

void tell_end(Agent *agent, Json *json)
{
	json_end_object(json);
	json_end_line(json);
	write_line(agent, json);
}

void tell_tag(Json *json, const CxlTag *tag)
{
	static const CxlTag none;
	char text[CXL_TAG_TEXT_LEN];

	cxl_tag_format(tag, text);
	json_text(json, "tag", memcmp(tag, &none, sizeof(none)) == 0 ? NULL : text);
}

void tell_group(Json *json, const AgentDevice *device, const CxlDcGroup *group)
{
	const CxlDcRegionInfo *region = cxl_memdev_dc_region(device->memdev, group->region);

	tell_tag(json, &group->tag);
	json_number(json, "group", group->id);
	json_number(json, "region", group->region);
	json_number(json, "len", group->len);
	json_bool(json, "recovered", group->recovered);
	json_begin_array(json, "maps");
	for (uint32_t i = 0; i < group->n_extents; i++) {
		const CxlHostExtent *extent = &group->extents[i];

		json_begin_object(json, NULL);
		json_number(json, "dpa", extent->dpa);
		json_number(json, "len", extent->len);
		json_number(json, "sequence", extent->shared_seq);
		/* Where another program finds it. */
		if (extent->hpa != CXL_NO_HPA) {
			json_number(json, "hpa", extent->hpa);
			json_text(json, "path", "/dev/mem");
			json_number(json, "offset", extent->hpa);
			json_bool(json, "writable", !region || !region->read_only);
		}
		json_end_object(json);
	}
	json_end_array(json);
}

void tell_attached(AgentDevice *device)
{
	const CxlMemdevInfo *info = cxl_memdev_info(device->memdev);
	char serial[24];
	Json json;

	snprintf(serial, sizeof(serial), "%016llx", (unsigned long long)info->serial);
	tell_begin(&json, "attached", device);
	json_text(&json, "serial", serial);
	json_number(&json, "pid", (uint64_t)getpid());
	json_number(&json, "bridge", info->bridge_uid);
	json_text(&json, "caching", device->caching);
	json_begin_array(&json, "regions");
	for (unsigned i = 0; i < info->n_dc_regions; i++) {
		const CxlDcRegionInfo *region = cxl_memdev_dc_region(device->memdev, i);
		uint64_t hpa;
		uint64_t run;

		json_begin_object(&json, NULL);
		json_number(&json, "region", i);
		json_number(&json, "dpa", region->dpa);
		json_number(&json, "len", region->len);
		json_number(&json, "block", region->block_len);
		json_bool(&json, "sharable", region->sharable);
		if (cxl_memdev_hpa_of_dpa(device->memdev, region->dpa, &hpa, &run) == 0)
			json_number(&json, "hpa", hpa);
		else
			json_text(&json, "hpa", NULL);
		json_end_object(&json);
	}
	json_end_array(&json);
	tell_end(device->agent, &json);
}

void tell_ranges(AgentDevice *device, const char *event, const char *why, const CxlTag *tag,
		 const CxlDpaRange *ranges, uint32_t n)
{
	uint64_t len = 0;
	Json json;

	for (uint32_t i = 0; i < n; i++)
		len += ranges[i].len;
	tell_begin(&json, event, device);
	tell_tag(&json, tag);
	json_text(&json, "why", why);
	json_number(&json, "len", len);
	json_begin_array(&json, "extents");
	for (uint32_t i = 0; i < n; i++) {
		json_begin_object(&json, NULL);
		json_number(&json, "dpa", ranges[i].dpa);
		json_number(&json, "len", ranges[i].len);
		json_end_object(&json);
	}
	json_end_array(&json);
	tell_end(device->agent, &json);
}
