/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd host: what is accepted of each device, by what the driver says and where it is mapped. */
#include "cli/host.h"

#include <errno.h>
#include <sys/file.h>

/*
 * Design. The driver's callbacks only note; what they led to is told by host_device_settle() when
 * the driver has returned and its table says what is held. A group is told as accepted when every
 * byte of it is mapped, which for one found accepted at the start is later than the callback.
 */

/* ---- groups ---- */

static void group_free(gpointer data)
{
	HostGroup *group = data;

	g_array_unref(group->extents);
	g_array_unref(group->maps);
	g_free(group);
}

static void leaving_free(gpointer data)
{
	HostLeaving *leaving = data;

	g_array_unref(leaving->ranges);
	g_free(leaving);
}

void host_device_init(HostDevice *device, HostCmd *cmd, const char *name, unsigned port)
{
	*device = (HostDevice){
		.cmd = cmd,
		.name = g_strdup(name),
		.port = port,
		.groups = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, group_free),
		.leaving = g_ptr_array_new_with_free_func(leaving_free),
	};
}

void host_device_clear(HostDevice *device)
{
	g_clear_pointer(&device->groups, g_hash_table_unref);
	g_clear_pointer(&device->leaving, g_ptr_array_unref);
	g_clear_pointer(&device->name, g_free);
}

uint64_t host_group_len(const HostGroup *group)
{
	uint64_t len = 0;

	for (guint i = 0; i < group->extents->len; i++)
		len += g_array_index(group->extents, CxlHostExtent, i).len;
	return len;
}

static void take_extents(HostGroup *group, const CxlDcGroup *view)
{
	g_array_set_size(group->extents, 0);
	g_array_append_vals(group->extents, view->extents, view->n_extents);
}

/* Where an extent is, run by run; false if not all of it is anywhere. */
static bool find_maps(const HostDevice *device, const CxlHostExtent *extent, GArray *maps)
{
	for (uint64_t at = 0; at < extent->len;) {
		HostMap map = { .dpa = extent->dpa + at, .hpa = extent->hpa + at };

		if (extent->hpa == CXL_NO_HPA ||
		    !process_host_find(device->cmd->host, device->port, map.dpa, &map.place))
			return false;
		map.len = MIN(map.place.run, extent->len - at);
		g_array_append_val(maps, map);
		at += map.len;
	}
	return true;
}

/* NULL: not all of the group is mapped. */
static GArray *find_group(const HostGroup *group)
{
	GArray *maps = g_array_new(FALSE, FALSE, sizeof(HostMap));

	for (guint i = 0; i < group->extents->len; i++) {
		if (!find_maps(group->device, &g_array_index(group->extents, CxlHostExtent, i),
			       maps)) {
			g_array_unref(maps);
			return NULL;
		}
	}
	return maps;
}

static void try_to_tell(HostGroup *group)
{
	GArray *maps = group->is_going ? NULL : find_group(group);

	if (!maps)
		return;
	g_array_unref(group->maps);
	group->maps = maps;
	group->is_told = true;
	group->device->n_untold--;
	/* Also after a mismatch: what is told of a group follows its acceptance. */
	host_check_accepted(group);
	host_tell_accepted(group, "accepted");
}

/* ---- what the driver asks and tells ---- */

static CxlAccept on_accept(void *opaque, const CxlDcGroup *offer, bool *take)
{
	const HostDevice *device = opaque;

	return cxl_accept_list_judge(&device->cmd->accept, offer);
}

static void on_mapped(void *opaque, const CxlDcGroup *view)
{
	HostDevice *device = opaque;
	HostGroup *group = g_new0(HostGroup, 1);

	/* What went before is told before, most of all of the same tag. */
	host_device_settle(device);
	*group = (HostGroup){
		.device = device,
		.id = view->id,
		.tag = view->tag,
		.tagged = view->tagged,
		.recovered = view->recovered,
		.region = view->region,
		.extents = g_array_new(FALSE, FALSE, sizeof(CxlHostExtent)),
		.maps = g_array_new(FALSE, FALSE, sizeof(HostMap)),
		.needs_filling = true,
	};
	take_extents(group, view);
	g_hash_table_insert(device->groups, &group->id, group);
	device->n_untold++;
	try_to_tell(group);
}

/*
 * A program that uses the memory through its own mapping says so with a shared flock() on the file:
 * nobody else locks it. Of memory that hosts share, a pin at any of them holds it at all.
 */
static bool is_pinned(const HostGroup *group)
{
	for (guint i = 0; i < group->maps->len; i++) {
		int fd = g_array_index(group->maps, HostMap, i).place.fd;

		/* What cannot be locked at all cannot be pinned. */
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			flock(fd, LOCK_UN);
		else if (errno == EWOULDBLOCK)
			return true;
	}
	return false;
}

static void note_leaving(HostGroup *group, const CxlDpaRange *ranges, uint32_t n, const char *why)
{
	HostLeaving *leaving = g_new(HostLeaving, 1);

	*leaving = (HostLeaving){
		.group = group->id,
		.tag = group->tag,
		.tagged = group->tagged,
		.ranges = g_array_new(FALSE, FALSE, sizeof(CxlDpaRange)),
		.why = why,
	};
	g_array_append_vals(leaving->ranges, ranges, n);
	g_ptr_array_add(group->device->leaving, leaving);
}

static CxlRelease on_release(void *opaque, const CxlDcGroup *view, const CxlDpaRange *ranges,
			     uint32_t n)
{
	HostDevice *device = opaque;
	HostGroup *group = g_hash_table_lookup(device->groups, &view->id);

	device->is_stale = true;
	if (!group)
		return CXL_RELEASE_RANGES;
	/* Never told, as its memory has not come (yet): nobody uses it, and nobody shall begin to.
	 */
	if (!group->is_told) {
		group->is_going = true;
		return CXL_RELEASE_RANGES;
	}
	if (is_pinned(group)) {
		host_tell_kept(group, ranges, n);
		return CXL_RELEASE_KEEP;
	}
	/* Evidence is not given away. */
	if (!host_check_held(group))
		return CXL_RELEASE_KEEP;
	note_leaving(group, ranges, n, "asked");
	return CXL_RELEASE_RANGES;
}

static bool is_leaving(const HostDevice *device, uint64_t group)
{
	for (guint i = 0; i < device->leaving->len; i++) {
		const HostLeaving *leaving = device->leaving->pdata[i];

		if (leaving->group == group)
			return true;
	}
	return false;
}

static void on_revoked(void *opaque, const CxlDcGroup *view, const CxlDpaRange *ranges, uint32_t n)
{
	HostDevice *device = opaque;
	const HostGroup *group = g_hash_table_lookup(device->groups, &view->id);

	device->is_stale = true;
	/* If it is leaving, we had agreed, and the answer to our command never came. */
	if (group && group->is_told && !is_leaving(device, view->id))
		host_tell_gone(device, "lost", device->is_back ? "gone" : "forced", &view->tag,
			       ranges, n);
}

const CxlDcdOps host_dcd_ops = {
	.accept = on_accept,
	.mapped = on_mapped,
	.release = on_release,
	.revoked = on_revoked,
};

/* ---- settling ---- */

typedef struct Held {
	HostDevice *device;
	GHashTable *seen; /* ids */
} Held;

static bool refresh_group(void *opaque, const CxlDcGroup *view)
{
	Held *held = opaque;
	HostGroup *group = g_hash_table_lookup(held->device->groups, &view->id);

	if (!group)
		return true;
	g_hash_table_add(held->seen, group);
	take_extents(group, view);
	/* Still here, and the device knows it: what it has not taken it will ask for again. */
	if (group->is_going && !process_host_is_away(held->device->cmd->host, held->device->port)) {
		group->is_going = false;
		try_to_tell(group);
	}
	if (group->is_told) {
		GArray *maps = find_group(group);

		/* NULL: on its way out, or in. What has left it is no longer looked at. */
		if (maps) {
			g_array_unref(group->maps);
			group->maps = maps;
		}
	}
	return true;
}

/* Makes the groups say what the driver holds. */
static void refresh(HostDevice *device)
{
	CxlDcd *dcd = process_host_dcd(device->cmd->host, device->port);
	Held held = { .device = device, .seen = g_hash_table_new(NULL, NULL) };
	GHashTableIter iter;
	gpointer value;

	if (dcd)
		cxl_dcd_foreach(dcd, refresh_group, &held);
	g_hash_table_iter_init(&iter, device->groups);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		HostGroup *group = value;

		if (g_hash_table_contains(held.seen, group))
			continue;
		device->n_untold -= !group->is_told;
		g_hash_table_iter_remove(&iter);
	}
	g_hash_table_unref(held.seen);
	device->is_stale = false;
}

static bool holds_any(HostDevice *device, const HostLeaving *leaving)
{
	const HostGroup *group = g_hash_table_lookup(device->groups, &leaving->group);

	for (guint i = 0; group && i < group->extents->len; i++) {
		const CxlHostExtent *extent = &g_array_index(group->extents, CxlHostExtent, i);

		for (guint j = 0; j < leaving->ranges->len; j++) {
			const CxlDpaRange *range = &g_array_index(leaving->ranges, CxlDpaRange, j);

			if (extent->dpa < range->dpa + range->len &&
			    range->dpa < extent->dpa + extent->len)
				return true;
		}
	}
	return false;
}

void host_device_settle(HostDevice *device)
{
	bool is_away = process_host_is_away(device->cmd->host, device->port);

	if (device->is_stale || device->leaving->len > 0)
		refresh(device);
	/* While it is away nobody knows; its list will tell. */
	for (guint i = 0; !is_away && i < device->leaving->len; i++) {
		const HostLeaving *leaving = device->leaving->pdata[i];

		/* What the device has refused to take it will ask for again. */
		if (!holds_any(device, leaving))
			host_tell_gone(device, "released", leaving->why, &leaving->tag,
				       (const CxlDpaRange *)(void *)leaving->ranges->data,
				       leaving->ranges->len);
	}
	if (!is_away)
		g_ptr_array_set_size(device->leaving, 0);
}

/* ---- maps that change by themselves ---- */

static bool is_same_memory(const GArray *a, const GArray *b)
{
	if (a->len != b->len)
		return false;
	for (guint i = 0; i < a->len; i++) {
		const HostMap *x = &g_array_index(a, HostMap, i);
		const HostMap *y = &g_array_index(b, HostMap, i);

		if (x->dpa != y->dpa || x->len != y->len ||
		    x->place.incarnation != y->place.incarnation)
			return false;
	}
	return true;
}

static bool is_same_place(const GArray *a, const GArray *b)
{
	for (guint i = 0; i < a->len; i++) {
		const ProcessHostPlace *x = &g_array_index(a, HostMap, i).place;
		const ProcessHostPlace *y = &g_array_index(b, HostMap, i).place;

		if (x->fd != y->fd || x->offset != y->offset || x->writable != y->writable)
			return false;
	}
	return true;
}

/* The extents are ours still, and the contents are not those from before. */
static void tell_new_contents(HostGroup *group)
{
	GArray *ranges = g_array_new(FALSE, FALSE, sizeof(CxlDpaRange));

	for (guint i = 0; i < group->extents->len; i++) {
		const CxlHostExtent *extent = &g_array_index(group->extents, CxlHostExtent, i);
		CxlDpaRange range = { extent->dpa, extent->len };

		g_array_append_val(ranges, range);
	}
	host_tell_gone(group->device, "lost", "contents", &group->tag,
		       (const CxlDpaRange *)(void *)ranges->data, ranges->len);
	g_array_unref(ranges);
	group->needs_filling = true;
	group->recovered = true;
	host_check_accepted(group);
	host_tell_accepted(group, "accepted");
}

static void recheck_group(HostGroup *group)
{
	GArray *before = group->maps;
	GArray *maps = find_group(group);

	if (!maps)
		return;
	group->maps = maps;
	if (!is_same_memory(before, maps))
		tell_new_contents(group);
	else if (!is_same_place(before, maps))
		host_tell_accepted(group, "remapped");
	g_array_unref(before);
}

void host_device_remapped(HostDevice *device)
{
	bool rechecks = g_get_monotonic_time() < device->recheck_until_us;
	GHashTableIter iter;
	gpointer value;

	if (device->n_untold == 0 && !rechecks)
		return;
	g_hash_table_iter_init(&iter, device->groups);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		HostGroup *group = value;

		if (!group->is_told)
			try_to_tell(group);
		else if (rechecks)
			recheck_group(group);
	}
}

/* ---- leaving ---- */

bool host_device_verify(HostDevice *device)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, device->groups);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		if (!host_check_held(value))
			return false;
	}
	return true;
}

static void note_group_leaving(HostGroup *group)
{
	g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(CxlDpaRange));

	for (guint i = 0; i < group->extents->len; i++) {
		const CxlHostExtent *extent = &g_array_index(group->extents, CxlHostExtent, i);
		CxlDpaRange range = { extent->dpa, extent->len };

		g_array_append_val(ranges, range);
	}
	note_leaving(group, (const CxlDpaRange *)(void *)ranges->data, ranges->len, "leaving");
}

bool host_device_leave(HostDevice *device)
{
	ProcessHost *host = device->cmd->host;
	CxlDcd *dcd = process_host_dcd(host, device->port);
	g_autoptr(GPtrArray) groups = NULL;
	GHashTableIter iter;
	gpointer value;
	bool ok = true;

	if (g_hash_table_size(device->groups) == 0)
		return true;
	if (process_host_is_away(host, device->port)) {
		cli_complain(device->cmd->args,
			     "%s is away: what was accepted of it stays accepted, and can be "
			     "taken back with: softdcd release %s --force",
			     device->name, device->name);
		return false;
	}
	groups = g_ptr_array_new();
	g_hash_table_iter_init(&iter, device->groups);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		g_ptr_array_add(groups, value);
	for (guint i = 0; i < groups->len; i++) {
		HostGroup *group = groups->pdata[i];

		if (is_pinned(group))
			cli_complain(device->cmd->args,
				     "%s: group %" G_GUINT64_FORMAT
				     " is pinned by another program, and given back all the same",
				     device->name, group->id);
		note_group_leaving(group);
		if (cxl_dcd_release_group(dcd, group->id) < 0) {
			cli_complain(device->cmd->args, "%s",
				     cxl_driver_error(process_host_peek_driver(host)));
			ok = false;
		}
	}
	host_device_settle(device);
	return ok;
}
