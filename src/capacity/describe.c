/* SPDX-License-Identifier: BSD-3-Clause */
/* What queries see of a device's offers and release requests. */
#include "capacity/request.h"

static void describe_offer(const Offer *offer, OfferInfo *ret)
{
	*ret = (OfferInfo){
		.id = offer->id,
		.state = offer->state,
		.region = offer->region,
		.tag = offer->tag,
		.n_extents = offer->extents->len,
		.len = offer->len,
		.waits_for = delivery_waits_for(offer),
	};
}

static int compare_offers(gconstpointer a, gconstpointer b)
{
	const Offer *x = *(Offer *const *)a, *y = *(Offer *const *)b;

	return (x->id > y->id) - (x->id < y->id);
}

void dc_device_foreach_offer(DcDevice *dev, void (*func)(const OfferInfo *, void *), void *opaque)
{
	g_autoptr(GPtrArray) offers = hash_table_values(dev->offers);
	g_autoptr(GArray) infos = g_array_new(FALSE, FALSE, sizeof(OfferInfo));

	g_ptr_array_sort(offers, compare_offers);
	for (guint i = 0; i < offers->len; i++) {
		OfferInfo info;

		describe_offer(offers->pdata[i], &info);
		g_array_append_val(infos, info);
	}
	for (guint i = 0; i < infos->len; i++)
		func(&g_array_index(infos, OfferInfo, i), opaque);
}

static void describe_request(const Request *request, ReleaseInfo *ret)
{
	*ret = (ReleaseInfo){
		.id = request->id,
		.state = request->state,
		.n_resent = request->n_resent,
		.tag = request->tag,
		.len = request->len,
		.created_us = request->created_us,
		.changed_us = request->changed_us,
	};
}

bool dc_device_release_info(const DcDevice *dev, uint64_t id, ReleaseInfo *ret)
{
	const Request *request = g_hash_table_lookup(dev->requests, &id);

	if (!request)
		return false;
	describe_request(request, ret);
	return true;
}

static int compare_requests(gconstpointer a, gconstpointer b)
{
	const Request *x = *(Request *const *)a, *y = *(Request *const *)b;

	return (x->id > y->id) - (x->id < y->id);
}

void dc_device_foreach_release(DcDevice *dev, void (*func)(const ReleaseInfo *, void *),
			       void *opaque)
{
	g_autoptr(GPtrArray) requests = hash_table_values(dev->requests);
	g_autoptr(GArray) infos = g_array_new(FALSE, FALSE, sizeof(ReleaseInfo));

	g_ptr_array_sort(requests, compare_requests);
	for (guint i = 0; i < requests->len; i++) {
		ReleaseInfo info;

		describe_request(requests->pdata[i], &info);
		g_array_append_val(infos, info);
	}
	for (guint i = 0; i < infos->len; i++)
		func(&g_array_index(infos, ReleaseInfo, i), opaque);
}
