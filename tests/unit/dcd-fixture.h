/* SPDX-License-Identifier: BSD-3-Clause */
/* A host with one device whose DC region is mapped, for tests of its life with capacity. */
#ifndef TESTS_DCD_FIXTURE_H
#define TESTS_DCD_FIXTURE_H

#include "cxl-fake.h"

#define DC_BASE (256 * MIB)

/* A device with its DC region mapped, and what the policy saw */
typedef struct Host {
	Fake *fake;
	FakeEp *ep;
	CxlMemdev *memdev;
	CxlRegion *region;
	CxlDcd *dcd;
	CxlAccept verdict;
	unsigned take_every; /* with CXL_ACCEPT_SOME */
	CxlRelease release;
	GString *story; /* one word per callback */
	GArray *mapped; /* CxlHostExtent */
	unsigned n_events;
} Host;

static inline CxlAccept on_accept(void *opaque, const CxlDcGroup *offer, bool *take)
{
	Host *host = opaque;

	g_assert_cmpuint(offer->id, ==, 0);
	g_string_append_printf(host->story, "%s:%02x*%u ", offer->recovered ? "found" : "offer",
			       offer->tag.b[0], offer->n_extents);
	for (uint32_t i = 0; i < offer->n_extents; i++) {
		g_assert_false(take[i]);
		take[i] = host->take_every && i % host->take_every == 0;
	}
	return host->verdict;
}

static inline void on_mapped(void *opaque, const CxlDcGroup *group)
{
	Host *host = opaque;

	g_assert_cmpuint(group->id, !=, 0);
	g_string_append_printf(host->story, "mapped:%02x*%u ", group->tag.b[0], group->n_extents);
	g_array_append_vals(host->mapped, group->extents, group->n_extents);
}

static inline void on_refused(void *opaque, const CxlDcGroup *group, int rc)
{
	Host *host = opaque;

	g_string_append_printf(host->story, "refused:%02x=%d ", group->tag.b[0], rc);
}

static inline CxlRelease on_release(void *opaque, const CxlDcGroup *group,
				    const CxlDpaRange *ranges, uint32_t n_ranges)
{
	Host *host = opaque;

	g_string_append_printf(host->story, "release:%02x*%u ", group->tag.b[0], n_ranges);
	return host->release;
}

static inline void on_revoked(void *opaque, const CxlDcGroup *group, const CxlDpaRange *ranges,
			      uint32_t n_ranges)
{
	Host *host = opaque;

	g_string_append_printf(host->story, "revoked:%02x*%u ", group->tag.b[0], n_ranges);
}

static inline void on_event(void *opaque, unsigned log, const CxlEventRecord *record)
{
	Host *host = opaque;

	g_string_append_printf(host->story, "event:%u ", log);
}

static const CxlDcdOps ops = {
	.accept = on_accept,
	.mapped = on_mapped,
	.refused = on_refused,
	.release = on_release,
	.revoked = on_revoked,
	.event = on_event,
};

static inline Host *host_prepare(unsigned payload_log2, bool sharable)
{
	Host *host = g_new0(Host, 1);
	CxlRegionSpec spec = { .n_memdevs = 1, .dpa = DC_BASE, .len = 16 * GIB };

	host->story = g_string_new(NULL);
	host->mapped = g_array_new(FALSE, FALSE, sizeof(CxlHostExtent));
	host->verdict = CXL_ACCEPT_ALL;
	host->release = CXL_RELEASE_GROUP;
	host->fake = fake_new(1, 2);
	host->ep = fake_plug(host->fake, 0, 0);
	fake_set_payload(host->ep, payload_log2);
	if (sharable)
		fake_set_sharable(host->ep);
	g_assert_cmpint(fake_start(host->fake, NULL), ==, 1);
	host->memdev = cxl_driver_memdev(host->fake->driver, 0);
	spec.memdevs = &host->memdev;
	g_assert_cmpint(cxl_driver_program(host->fake->driver, &spec, &host->region), ==, 0);
	return host;
}

static inline int host_start(Host *host, const CxlDcdOptions *options)
{
	return cxl_dcd_start(host->memdev, &ops, host, options, &host->dcd);
}

static inline Host *host_new(unsigned payload_log2, bool sharable, const CxlDcdOptions *options)
{
	Host *host = host_prepare(payload_log2, sharable);

	g_assert_cmpint(host_start(host, options), ==, 0);
	return host;
}

static inline void host_free(Host *host)
{
	fake_free(host->fake);
	g_string_free(host->story, TRUE);
	g_array_unref(host->mapped);
	g_free(host);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Host, host_free)

/* Extent number N of the region, whose tag begins with TAG (0 = untagged) */
static inline CxlDcExtent extent(uint8_t tag, unsigned n, uint16_t seq)
{
	CxlDcExtent e = {
		.dpa = le64_put(DC_BASE + n * FAKE_BLOCK),
		.len = le64_put(FAKE_BLOCK),
		.tag = { tag },
		.shared_seq = le16_put(seq),
	};

	return e;
}

static inline void post(Host *host, uint8_t type, CxlDcExtent e, bool more)
{
	CxlEventDc record = {
		.header = { .uuid = CXL_UUID_EVENT_DYNAMIC_CAPACITY,
			    .len = CXL_EVENT_RECORD_LEN,
			    .handle = le16_put(host->ep->next_handle) },
		.type = type,
		.flags = more ? CXL_EVENT_DC_MORE : 0,
		.extent = e,
	};

	host->ep->next_handle = (uint16_t)(host->ep->next_handle % UINT16_MAX + 1);
	g_array_append_val(host->ep->log[CXL_LOG_DC], record);
	if (type == CXL_DC_EVENT_ADD)
		g_array_append_val(host->ep->offered, e);
}

static inline void offer(Host *host, uint8_t tag, unsigned first, unsigned n, bool shared)
{
	for (unsigned i = 0; i < n; i++)
		post(host, CXL_DC_EVENT_ADD, extent(tag, first + i, shared ? (uint16_t)i : 0),
		     i + 1 < n);
}

static inline void assert_story(Host *host, const char *story)
{
	g_assert_cmpstr(host->story->str, ==, story);
	g_string_truncate(host->story, 0);
}

static inline CxlDcdStats stats_of(Host *host)
{
	CxlDcdStats stats;

	cxl_dcd_stats(host->dcd, &stats);
	return stats;
}

static inline void assert_held(Host *host, uint32_t n_groups, uint32_t n_extents)
{
	CxlDcdStats stats = stats_of(host);

	g_assert_cmpuint(stats.n_groups, ==, n_groups);
	g_assert_cmpuint(stats.n_extents, ==, n_extents);
	g_assert_cmpuint(host->ep->accepted->len, ==, n_extents);
}

static inline void ask_release(Host *host, uint8_t type, uint8_t tag, unsigned first, unsigned n)
{
	CxlDcExtent e = extent(tag, first, 0);

	e.len = le64_put(n * FAKE_BLOCK);
	post(host, type, e, false);
	cxl_dcd_poll(host->dcd, 0);
}

static inline void accept_one(Host *host, uint8_t tag, unsigned first, unsigned n)
{
	offer(host, tag, first, n, false);
	cxl_dcd_poll(host->dcd, 0);
	g_string_truncate(host->story, 0);
}

#endif
