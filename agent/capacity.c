/* SPDX-License-Identifier: BSD-3-Clause */
/* What is accepted and given back: policy, and telling what has become of it. */
#include "agent/agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Design. The driver's table is the only truth; nothing is kept beside it but what we agreed to
 * give back. The driver's callbacks note that, and device_settle() tells it when the table says
 * that it has gone.
 */

/* ---- noting ---- */

static bool note(AgentDevice *device, uint64_t group, const CxlTag *tag, const CxlDpaRange *ranges,
		 uint32_t n, const char *why)
{
	Leaving *leaving = malloc(sizeof(*leaving) + n * sizeof(leaving->ranges[0]));

	if (!leaving)
		return false;
	*leaving = (Leaving){ .group = group, .tag = *tag, .why = why, .n_ranges = n };
	memcpy(leaving->ranges, ranges, n * sizeof(leaving->ranges[0]));
	*device->leaving_end = leaving;
	device->leaving_end = &leaving->next;
	return true;
}

/* All that a group has; caller frees. NULL: out of memory. */
static CxlDpaRange *ranges_of(const CxlDcGroup *group)
{
	CxlDpaRange *ranges = calloc(group->n_extents, sizeof(*ranges));

	for (uint32_t i = 0; ranges && i < group->n_extents; i++)
		ranges[i] = (CxlDpaRange){ group->extents[i].dpa, group->extents[i].len };
	return ranges;
}

static bool note_group(AgentDevice *device, const CxlDcGroup *group, const char *why)
{
	CxlDpaRange *ranges = ranges_of(group);
	bool ok;

	if (!ranges)
		return false;
	ok = note(device, group->id, &group->tag, ranges, group->n_extents, why);
	free(ranges);
	return ok;
}

void device_forget_leaving(AgentDevice *device)
{
	while (device->leaving) {
		Leaving *leaving = device->leaving;

		device->leaving = leaving->next;
		free(leaving);
	}
	device->leaving_end = &device->leaving;
}

/* ---- what the driver asks and tells ---- */

static void tell_extents(AgentDevice *device, const char *event, const char *why,
			 const CxlDcGroup *group)
{
	CxlDpaRange *ranges = ranges_of(group);

	tell_ranges(device, event, why, &group->tag, ranges, ranges ? group->n_extents : 0);
	free(ranges);
}

static CxlAccept on_accept(void *opaque, const CxlDcGroup *offer, bool *take)
{
	AgentDevice *device = opaque;
	CxlAccept verdict = cxl_accept_list_judge(&device->agent->options.accept, offer);

	if (verdict == CXL_ACCEPT_NONE)
		tell_extents(device, "declined", "policy", offer);
	return verdict;
}

static void on_mapped(void *opaque, const CxlDcGroup *group)
{
	AgentDevice *device = opaque;
	Json json;

	/* What went before is told before, most of all of the same tag. */
	device_settle(device);
	tell_begin(&json, "accepted", device);
	tell_group(&json, device, group);
	tell_end(device->agent, &json);
}

static void on_refused(void *opaque, const CxlDcGroup *group, int rc)
{
	tell_extents(opaque, "refused", rc < 0 ? strerror(-rc) : cxl_rc_name(rc), group);
}

static CxlRelease on_release(void *opaque, const CxlDcGroup *group, const CxlDpaRange *ranges,
			     uint32_t n)
{
	AgentDevice *device = opaque;

	if (device->agent->holds) {
		tell_ranges(device, "kept", "held", &group->tag, ranges, n);
		return CXL_RELEASE_KEEP;
	}
	/* Without a note it could not be told; the device will ask again. */
	return note(device, group->id, &group->tag, ranges, n, "asked") ? CXL_RELEASE_RANGES
									: CXL_RELEASE_KEEP;
}

static void on_revoked(void *opaque, const CxlDcGroup *group, const CxlDpaRange *ranges, uint32_t n)
{
	AgentDevice *device = opaque;
	const Leaving *leaving = device->leaving;

	/* If it is leaving, we had agreed, and the answer to our command never came. */
	while (leaving && leaving->group != group->id)
		leaving = leaving->next;
	if (!leaving)
		tell_ranges(device, "lost", device->is_away ? "gone" : "forced", &group->tag,
			    ranges, n);
}

static void on_event(void *opaque, unsigned log, const CxlEventRecord *record)
{
	static const char *const names[] = {
		[CXL_LOG_INFO] = "informational",  [CXL_LOG_WARNING] = "warning",
		[CXL_LOG_FAILURE] = "failure",     [CXL_LOG_FATAL] = "fatal",
		[CXL_LOG_DC] = "dynamic-capacity",
	};
	AgentDevice *device = opaque;
	char hex[2 * sizeof(*record) + 1];
	Json json;

	for (size_t i = 0; i < sizeof(*record); i++) {
		static const char digits[] = "0123456789abcdef";

		hex[2 * i] = digits[((const uint8_t *)record)[i] >> 4];
		hex[2 * i + 1] = digits[((const uint8_t *)record)[i] & 15];
	}
	hex[sizeof(hex) - 1] = '\0';
	tell_begin(&json, "record", device);
	json_text(&json, "log", log < sizeof(names) / sizeof(names[0]) ? names[log] : NULL);
	json_text(&json, "bytes", hex);
	tell_end(device->agent, &json);
}

const CxlDcdOps agent_dcd_ops = {
	.accept = on_accept,
	.mapped = on_mapped,
	.refused = on_refused,
	.release = on_release,
	.revoked = on_revoked,
	.event = on_event,
};

/* ---- settling ---- */

typedef struct Search {
	const Leaving *leaving;
	bool is_held;
} Search;

static bool overlaps(const CxlHostExtent *extent, const CxlDpaRange *range)
{
	return extent->dpa < range->dpa + range->len && range->dpa < extent->dpa + extent->len;
}

static bool search_group(void *opaque, const CxlDcGroup *group)
{
	Search *search = opaque;
	const Leaving *leaving = search->leaving;

	if (group->id != leaving->group)
		return true;
	for (uint32_t i = 0; i < group->n_extents && !search->is_held; i++) {
		for (uint32_t k = 0; k < leaving->n_ranges && !search->is_held; k++)
			search->is_held = overlaps(&group->extents[i], &leaving->ranges[k]);
	}
	return false;
}

void device_settle(AgentDevice *device)
{
	/* While it is away nobody knows; its list will tell. */
	if (device->is_away)
		return;
	for (const Leaving *leaving = device->leaving; leaving; leaving = leaving->next) {
		Search search = { .leaving = leaving };

		/* What the device has refused to take it will ask for again. */
		if (device->dcd && cxl_dcd_foreach(device->dcd, search_group, &search) == 0 &&
		    !search.is_held)
			tell_ranges(device, "released", leaving->why, &leaving->tag,
				    leaving->ranges, leaving->n_ranges);
	}
	device_forget_leaving(device);
}

/* ---- giving back of our own accord ---- */

typedef struct Pick {
	AgentDevice *device;
	const char *why;
	uint64_t group; /* 0 = all */
	bool is_broken;
} Pick;

static bool pick_group(void *opaque, const CxlDcGroup *group)
{
	Pick *pick = opaque;

	if (pick->group && group->id != pick->group)
		return true;
	pick->is_broken = !note_group(pick->device, group, pick->why);
	return !pick->is_broken && !pick->group;
}

static bool release_noted(AgentDevice *device)
{
	bool ok = true;

	for (const Leaving *leaving = device->leaving; leaving; leaving = leaving->next) {
		if (cxl_dcd_release_group(device->dcd, leaving->group) >= 0)
			continue;
		complain("%s", cxl_driver_error(device->agent->driver));
		ok = false;
	}
	device_settle(device);
	return ok;
}

bool device_release(AgentDevice *device, uint64_t group, const char *why, AgentError *error)
{
	Pick pick = { .device = device, .why = why, .group = group };

	if (cxl_dcd_foreach(device->dcd, pick_group, &pick) < 0 || pick.is_broken)
		return agent_fail(error, "out of memory");
	return release_noted(device) ||
	       agent_fail(error, "%s", cxl_driver_error(device->agent->driver));
}

typedef struct Cut {
	AgentDevice *device;
	CxlDpaRange range;
	bool is_broken;
} Cut;

/* Notes the parts of a group that lie in the range. */
static bool cut_group(void *opaque, const CxlDcGroup *group)
{
	Cut *cut = opaque;
	CxlDpaRange *parts = calloc(group->n_extents, sizeof(*parts));
	uint32_t n = 0;

	for (uint32_t i = 0; parts && i < group->n_extents; i++) {
		const CxlHostExtent *extent = &group->extents[i];
		uint64_t from = extent->dpa > cut->range.dpa ? extent->dpa : cut->range.dpa;
		uint64_t end = extent->dpa + extent->len;

		if (!overlaps(extent, &cut->range))
			continue;
		if (end > cut->range.dpa + cut->range.len)
			end = cut->range.dpa + cut->range.len;
		parts[n++] = (CxlDpaRange){ from, end - from };
	}
	cut->is_broken = !parts ||
			 (n > 0 && !note(cut->device, group->id, &group->tag, parts, n, "command"));
	free(parts);
	return !cut->is_broken;
}

int device_release_range(AgentDevice *device, uint64_t dpa, uint64_t len)
{
	Cut cut = { .device = device, .range = { dpa, len } };
	int err = -EINVAL;

	if (len && dpa + len >= dpa)
		err = cxl_dcd_foreach(device->dcd, cut_group, &cut);
	if (err >= 0 && cut.is_broken)
		err = -ENOMEM;
	if (err >= 0)
		err = cxl_dcd_release_range(device->dcd, dpa, len);
	device_settle(device);
	return err;
}

bool device_release_all(AgentDevice *device, const char *why)
{
	Pick pick = { .device = device, .why = why };

	if (!device->dcd)
		return true;
	if (device->is_away) {
		complain("%s is away: what was accepted of it stays accepted", device->info->name);
		return false;
	}
	if (cxl_dcd_foreach(device->dcd, pick_group, &pick) < 0 || pick.is_broken) {
		complain("out of memory");
		return false;
	}
	return release_noted(device);
}
