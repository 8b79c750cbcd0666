/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests to the host side of a device, and what becomes of those nobody answers. */
#include "capacity/capacity_priv.h"

/*
 * Prepare and expose belong to the link of the moment: when it goes, so do they. Letting go
 * (revoke, drop) belongs to the host process: it stays open until that process confirms it, over
 * a new link if need be, or has ended.
 */

void effect_free(Effect *effect)
{
	g_clear_pointer(&effect->items, g_array_unref);
	g_clear_pointer(&effect->parts, g_array_unref);
	g_free(effect);
}

static void send(Capacity *cap, const Work *work)
{
	DcDevice *dev = work->object;
	Effect *effect = g_hash_table_lookup(dev->effects, &work->number);
	const DcDeviceOps *ops = &dev->ops;
	uint64_t req = work->number;
	GArray *items;

	if (!effect || !dev->attached)
		return;
	items = g_array_ref(
		effect->items); /* the answer may come from inside and free the effect */
	switch (effect->kind) {
	case EFFECT_PREPARE:
		ops->prepare(dev->opaque, req, (const DcMap *)(void *)items->data, items->len);
		break;
	case EFFECT_EXPOSE:
		ops->expose(dev->opaque, req, (const uint64_t *)(void *)items->data, items->len);
		break;
	case EFFECT_REVOKE:
		ops->revoke(dev->opaque, req, (const DcMapPart *)(void *)items->data, items->len);
		break;
	case EFFECT_DROP:
		ops->drop(dev->opaque, req, (const uint64_t *)(void *)items->data, items->len);
		break;
	}
	g_array_unref(items);
}

static void call_done(Capacity *cap, const Work *work)
{
	work->effect_done(work->object, work->number);
}

static void queue_done(DcDevice *dev, void (*done)(void *, bool), void *context, bool ok)
{
	Work work = { .run = call_done, .object = context, .number = ok, .effect_done = done };

	if (done)
		capacity_queue_work(dev->cap, &work);
}

static Effect *effect_open(DcDevice *dev, EffectKind kind, GArray *items,
			   void (*done)(void *, bool), void *context)
{
	Effect *effect = g_new0(Effect, 1);

	effect->req = dev->cap->next_req++;
	effect->kind = kind;
	effect->dev = dev;
	effect->serial = dev->host.serial;
	effect->items = items;
	effect->done = done;
	effect->context = context;
	g_hash_table_insert(dev->effects, &effect->req, effect);
	if (dev->attached)
		capacity_queue(dev->cap, send, dev, effect->req);
	return effect;
}

uint64_t effect_prepare(DcDevice *dev, GArray *maps, void (*done)(void *, bool), void *context)
{
	return effect_open(dev, EFFECT_PREPARE, maps, done, context)->req;
}

uint64_t effect_expose(DcDevice *dev, GArray *map_ids, void (*done)(void *, bool), void *context)
{
	return effect_open(dev, EFFECT_EXPOSE, map_ids, done, context)->req;
}

static GArray *ids_of(const GArray *parts)
{
	GArray *ids = g_array_sized_new(FALSE, FALSE, sizeof(uint64_t), parts->len);

	for (guint i = 0; i < parts->len; i++)
		g_array_append_val(ids, g_array_index(parts, DcMapPart, i).map_id);
	return ids;
}

void effect_let_go(DcDevice *dev, bool drop, GArray *parts, void (*done)(void *, bool),
		   void *context)
{
	Effect *effect;

	/* Also of a host that has no link now: its process may have had one and map what it got. */
	if (parts->len == 0 || (!drop && dev->cap->ops.faults & CAPACITY_FAULT_REVOKE_SKIPPED)) {
		g_array_unref(parts);
		queue_done(dev, done, context, true);
		return;
	}
	effect = effect_open(dev, drop ? EFFECT_DROP : EFFECT_REVOKE,
			     drop ? ids_of(parts) : g_array_ref(parts), done, context);
	effect->parts = parts;
}

void effect_let_go_of(DcDevice *dev, uint64_t serial, GArray *parts, void (*done)(void *, bool),
		      void *context)
{
	Effect *effect = effect_open(dev, EFFECT_REVOKE, g_array_ref(parts), done, context);

	effect->parts = parts;
	effect->serial = serial;
}

void effect_forget(DcDevice *dev, uint64_t req)
{
	g_hash_table_remove(dev->effects, &req);
}

static bool is_letting_go(const Effect *effect)
{
	return effect->kind == EFFECT_REVOKE || effect->kind == EFFECT_DROP;
}

static void effect_confirm(Effect *effect, bool ok)
{
	DcDevice *dev = effect->dev;
	void (*done)(void *, bool) = effect->done;
	void *context = effect->context;

	g_hash_table_remove(dev->effects, &effect->req);
	if (done)
		done(context, ok);
}

void dc_device_effect_done(DcDevice *dev, uint64_t req, bool ok)
{
	Effect *effect = g_hash_table_lookup(dev->effects, &req);

	if (!effect || (is_letting_go(effect) && !ok))
		return;
	capacity_enter(dev->cap);
	effect_confirm(effect, ok);
	capacity_leave(dev->cap);
}

/* Their numbers: confirming one may end others than letting go. */
static GArray *letting_go(DcDevice *dev, uint64_t serial)
{
	GArray *reqs = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	GHashTableIter iter;
	Effect *effect;

	g_hash_table_iter_init(&iter, dev->effects);
	while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&effect))
		if (is_letting_go(effect) && effect->serial == serial)
			g_array_append_val(reqs, effect->req);
	return reqs;
}

static Effect *effect_of(DcDevice *dev, const GArray *reqs, guint index)
{
	return g_hash_table_lookup(dev->effects, &g_array_index(reqs, uint64_t, index));
}

void effect_confirm_serial(DcDevice *dev, uint64_t serial)
{
	g_autoptr(GArray) open = letting_go(dev, serial);

	for (guint i = 0; i < open->len; i++)
		effect_confirm(effect_of(dev, open, i), true);
}

/* ---- a host comes back and says what it holds ---- */

/* The parts of PARTS that are in HELD, as they are to be revoked. */
static GArray *still_held(const GArray *parts, const GArray *held)
{
	GArray *ret = g_array_new(FALSE, FALSE, sizeof(DcMapPart));

	for (guint i = 0; i < parts->len; i++) {
		const DcMapPart *part = &g_array_index(parts, DcMapPart, i);

		for (guint at = held_search(held, part->map_id, part->dpa); at < held->len; at++) {
			const DcHeldMap *map = &g_array_index(held, DcHeldMap, at);
			uint64_t start = MAX(map->dpa, part->dpa);
			uint64_t end = MIN(map->dpa + map->len, part->dpa + part->len);
			DcMapPart again = { part->map_id, start, end - start };

			if (map->map_id != part->map_id || start >= end)
				break;
			g_array_append_val(ret, again);
		}
	}
	return ret;
}

void effect_resume(DcDevice *dev, const GArray *held, GArray *ret_claimed)
{
	g_autoptr(GArray) open = letting_go(dev, dev->host.serial);

	for (guint i = 0; i < open->len; i++) {
		Effect *effect = effect_of(dev, open, i);
		GArray *parts = still_held(effect->parts, held);

		if (parts->len > 0) {
			g_array_append_vals(ret_claimed, parts->data, parts->len);
			effect_let_go(dev, false, parts, effect->done, effect->context);
			effect->done = NULL;
		} else {
			g_array_unref(parts);
		}
		effect_confirm(effect, true);
	}
}
