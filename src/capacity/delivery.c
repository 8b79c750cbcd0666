/* SPDX-License-Identifier: BSD-3-Clause */
/* Delivery: which offer's records are in the host's event log, and when the next may follow. */
#include "capacity/capacity_priv.h"

/*
 * Offers wait in order of their ids. One that cannot go although its turn has come steps aside
 * (blocked) so that others do not wait for it, and comes back to its place when what it waits for
 * has happened. Linux 7.3 declines for good what arrives before its first 4801h is done with, and
 * loses chains that come while one is unanswered: hence the gate.
 */

GQueue *delivery_queue_of(const Offer *offer)
{
	if (offer->state != OFFER_QUEUED)
		return &offer->dev->delivered;
	return offer->block == OFFER_BLOCK_NONE ? &offer->dev->queued : &offer->dev->blocked;
}

static void insert_by_id(Offer *offer)
{
	GQueue *queue = delivery_queue_of(offer);
	GList *before = queue->tail;

	while (before && ((Offer *)before->data)->id > offer->id)
		before = before->prev;
	if (!before)
		g_queue_push_head_link(queue, &offer->link);
	else
		g_queue_insert_after_link(queue, before, &offer->link);
}

static void move_to(Offer *offer, OfferState state, OfferBlock block)
{
	g_queue_unlink(delivery_queue_of(offer), &offer->link);
	offer->state = state;
	offer->block = block;
	if (state == OFFER_QUEUED)
		insert_by_id(offer);
	else
		g_queue_push_tail_link(&offer->dev->delivered, &offer->link);
}

/* Static text: why the device's next offer cannot go yet; NULL if it can. */
static const char *gate(const DcDevice *dev)
{
	if (dev->host.serial != 0 && !dev->attached)
		return "the host's memory link to come back";
	if (dev->config.hold_off)
		return NULL;
	if (!dev->events_enabled)
		return "the host to enable dynamic capacity events";
	if (!dev->list_read)
		return "the host to read its extent list (4801h)";
	if (capacity_now_us(dev->cap) < dev->hold_until_us)
		return "a second to pass since the host read its extent list";
	return NULL;
}

const char *delivery_waits_for(const Offer *offer)
{
	static const char *const blocks[] = {
		[OFFER_BLOCK_LIST] = "the host to read its extent list (4801h)",
		[OFFER_BLOCK_MEMORY] = "its memory to be free of a former host",
		[OFFER_BLOCK_ROOM] = "room in the event log",
		[OFFER_BLOCK_JOURNAL] = "the ledger to have it",
	};
	const char *why;

	if (offer->state != OFFER_QUEUED)
		return NULL;
	if (offer->block != OFFER_BLOCK_NONE)
		return blocks[offer->block];
	why = gate(offer->dev);
	return why ? why : "the host to answer an earlier offer";
}

static bool take_room(Offer *offer)
{
	DcDevice *dev = offer->dev;

	if (!offer->has_room)
		offer->has_room = dev->ops.log_reserve(dev->opaque, offer->extents->len);
	return offer->has_room;
}

static GArray *make_events(const Offer *offer)
{
	DcDevice *dev = offer->dev;
	guint n = offer->extents->len;
	GArray *events = g_array_sized_new(FALSE, FALSE, sizeof(DcEvent), n);
	uint32_t extents, extents_available, tags, tags_available;

	dc_device_limits(dev, &extents, &extents_available, &tags, &tags_available);
	for (guint i = 0; i < n; i++) {
		const Extent *extent = offer->extents->pdata[i];
		DcEvent event = {
			.cookie = offer->id,
			.type = DC_EVENT_ADD,
			.region = offer->region,
			.more = i + 1 < n,
			.dpa = extent->dpa,
			.len = extent->len,
			.tag = offer->tag,
			.shared_seq = extent->shared_seq,
			.available_extents = extents_available,
			.available_tags = tags_available,
		};

		g_array_append_val(events, event);
	}
	return events;
}

static void deliver(Offer *offer)
{
	DcDevice *dev = offer->dev;
	g_autoptr(GArray) events = make_events(offer);

	move_to(offer, OFFER_OFFERED, OFFER_BLOCK_NONE);
	for (guint i = 0; i < offer->extents->len; i++)
		extent_set_state(offer->extents->pdata[i], EXTENT_OFFERED);
	offer->has_room = false;
	offer->n_records = events->len;
	offer->n_read = 0;
	capacity_tell(dev->cap, NOTICE_DELIVERED, offer, g_array_index(events, DcEvent, 0).dpa,
		      offer->len);
	/* The host may answer, or an operator withdraw, from inside: OFFER is not touched again. */
	for (guint i = 0; i < events->len; i++)
		dev->ops.log_post(dev->opaque, &g_array_index(events, DcEvent, i));
}

static void run(Capacity *cap, const Work *work)
{
	DcDevice *dev = work->object;

	dev->delivery_queued = false;
	while (dev->queued.head && dev->delivered.length < dev->config.chains_in_flight &&
	       !gate(dev)) {
		Offer *offer = dev->queued.head->data;

		if (offer->accept) {
			move_to(offer, OFFER_QUEUED, OFFER_BLOCK_MEMORY);
		} else if (!memory_is_ready_for_offer(offer->mem, &dev->host)) {
			move_to(offer, OFFER_QUEUED, OFFER_BLOCK_MEMORY);
			memory_make_ready_for_offer(offer->mem);
		} else if (!take_room(offer)) {
			move_to(offer, OFFER_QUEUED, OFFER_BLOCK_ROOM);
		} else {
			deliver(offer);
		}
	}
}

void delivery_later(DcDevice *dev)
{
	if (dev->delivery_queued || !dev->queued.head)
		return;
	dev->delivery_queued = true;
	capacity_queue(dev->cap, run, dev, 0);
}

void delivery_enqueue(Offer *offer, OfferBlock block)
{
	offer->state = OFFER_QUEUED;
	offer->block = block;
	insert_by_id(offer);
	delivery_later(offer->dev);
}

static void withdraw_records(Capacity *cap, const Work *work)
{
	DcDevice *dev = work->object;

	dev->ops.log_withdraw(dev->opaque, work->number);
	delivery_unblock(dev, OFFER_BLOCK_ROOM);
}

void delivery_withdraw_records(DcDevice *dev, uint64_t cookie)
{
	capacity_queue(dev->cap, withdraw_records, dev, cookie);
}

void delivery_drop_records(Offer *offer)
{
	DcDevice *dev = offer->dev;

	if (offer->has_room) {
		dev->ops.log_unreserve(dev->opaque, offer->extents->len);
		delivery_unblock(dev, OFFER_BLOCK_ROOM);
	} else if (offer->state != OFFER_QUEUED && offer->n_read < offer->n_records) {
		delivery_withdraw_records(dev, offer->id);
	}
	offer->has_room = false;
}

void delivery_requeue_all(DcDevice *dev)
{
	Offer *offer;

	dev->list_read = false;
	while ((offer = g_queue_peek_tail(&dev->delivered))) {
		delivery_drop_records(offer);
		for (guint i = 0; i < offer->extents->len; i++)
			extent_set_state(offer->extents->pdata[i], EXTENT_QUEUED);
		move_to(offer, OFFER_QUEUED, OFFER_BLOCK_LIST);
		/* The log has just been emptied: what an offer was promised it gets back. */
		take_room(offer);
	}
	while ((offer = g_queue_peek_head(&dev->queued)))
		move_to(offer, OFFER_QUEUED, OFFER_BLOCK_LIST);
}

void delivery_unblock(DcDevice *dev, OfferBlock block)
{
	for (GList *link = dev->blocked.head; link;) {
		Offer *offer = link->data;

		link = link->next;
		if (offer->block == block)
			move_to(offer, OFFER_QUEUED, OFFER_BLOCK_NONE);
	}
	delivery_later(dev);
}

void delivery_unblock_offer(Offer *offer, OfferBlock block)
{
	if (!offer->pending || offer->state != OFFER_QUEUED || offer->block != block)
		return;
	move_to(offer, OFFER_QUEUED, OFFER_BLOCK_NONE);
	delivery_later(offer->dev);
}

Offer *delivery_first(const DcDevice *dev)
{
	return dev->delivered.head ? dev->delivered.head->data : NULL;
}

uint64_t delivery_deadline_us(const DcDevice *dev)
{
	if (!dev->queued.head || dev->config.hold_off || !dev->events_enabled || !dev->list_read ||
	    dev->delivered.length >= dev->config.chains_in_flight ||
	    capacity_now_us(dev->cap) >= dev->hold_until_us)
		return NEVER;
	return dev->hold_until_us;
}

void dc_device_set_events_enabled(DcDevice *dev, bool enabled)
{
	capacity_enter(dev->cap);
	dev->events_enabled = enabled;
	delivery_later(dev);
	capacity_leave(dev->cap);
}

void dc_device_list_was_read(DcDevice *dev)
{
	capacity_enter(dev->cap);
	if (!dev->list_read) {
		dev->list_read = true;
		dev->hold_until_us = capacity_now_us(dev->cap) + HOLD_US;
	}
	delivery_unblock(dev, OFFER_BLOCK_LIST);
	capacity_leave(dev->cap);
}

void dc_device_record_read(DcDevice *dev, uint64_t cookie)
{
	Offer *offer = g_hash_table_lookup(dev->offers, &cookie);

	if (offer && offer->n_read < offer->n_records)
		offer->n_read++;
}

void dc_device_record_cleared(DcDevice *dev, uint64_t cookie)
{
	capacity_enter(dev->cap);
	requests_record_cleared(dev, cookie);
	delivery_unblock(dev, OFFER_BLOCK_ROOM);
	capacity_leave(dev->cap);
}
