/* SPDX-License-Identifier: BSD-3-Clause */
/* Driver: giving dynamic capacity back, asked, forced, and of its own accord. */
#include "dcd-fixture.h"

static void test_release_group(void)
{
	g_autoptr(Host) host = host_new(12, false, NULL);

	accept_one(host, 0xa1, 0, 3);
	accept_one(host, 0xa2, 3, 1);
	ask_release(host, CXL_DC_EVENT_RELEASE, 0xa1, 1, 1);
	assert_story(host, "release:a1*1 ");
	assert_held(host, 1, 1);
	g_assert_cmpuint(host->ep->released->len, ==, 3);
	g_assert_false(cxl_dcd_has_tag(host->dcd, &(CxlTag){ { 0xa1 } }));
	/* Records for its siblings find nothing and do nothing. */
	ask_release(host, CXL_DC_EVENT_RELEASE, 0xa1, 2, 1);
	assert_story(host, "");
	g_assert_cmpuint(host->ep->released->len, ==, 3);
}

/* One record per extent, read together: the policy is asked once. */
static void test_release_siblings(void)
{
	g_autoptr(Host) host = host_new(12, false, NULL);

	accept_one(host, 0xa1, 0, 4);
	for (unsigned i = 0; i < 4; i++)
		post(host, CXL_DC_EVENT_RELEASE, extent(0xa1, i, 0), i < 3);
	post(host, CXL_DC_EVENT_RELEASE, extent(0xa1, 2, 0), false); /* and one twice */
	cxl_dcd_poll(host->dcd, 0);
	assert_story(host, "release:a1*4 ");
	assert_held(host, 0, 0);
	g_assert_cmpuint(host->ep->n_releases, ==, 1);
}

static void test_release_ranges(void)
{
	g_autoptr(Host) host = host_new(12, false, NULL);
	CxlDcExtent big = extent(0xa1, 0, 0);

	big.len = le64_put(8 * FAKE_BLOCK);
	post(host, CXL_DC_EVENT_ADD, big, false);
	cxl_dcd_poll(host->dcd, 0);
	g_string_truncate(host->story, 0);
	host->release = CXL_RELEASE_RANGES;
	ask_release(host, CXL_DC_EVENT_RELEASE, 0xa1, 0, 2);
	g_assert_cmpuint(stats_of(host).len, ==, 6 * FAKE_BLOCK);
	ask_release(host, CXL_DC_EVENT_RELEASE, 0xa1, 4, 2);
	g_assert_cmpuint(stats_of(host).len, ==, 4 * FAKE_BLOCK);
	g_assert_cmpuint(stats_of(host).n_extents, ==, 2);
	g_assert_cmpuint(stats_of(host).n_groups, ==, 1);
	/* Both pieces are still known, and still of the tag. */
	ask_release(host, CXL_DC_EVENT_RELEASE, 0xa1, 0, 8);
	assert_story(host, "release:a1*1 release:a1*1 release:a1*2 ");
	g_assert_cmpuint(stats_of(host).n_groups, ==, 0);
}

static void test_release_deferred(void)
{
	g_autoptr(Host) host = host_new(12, false, NULL);

	accept_one(host, 0xa1, 0, 3);
	host->release = CXL_RELEASE_KEEP;
	ask_release(host, CXL_DC_EVENT_RELEASE, 0xa1, 0, 3);
	assert_story(host, "release:a1*3 ");
	assert_held(host, 1, 3);
	g_assert_cmpuint(host->ep->n_releases, ==, 0);
	g_assert_cmpuint(host->ep->log[CXL_LOG_DC]->len, ==, 0);
	g_assert_cmpint(cxl_dcd_release_tag(host->dcd, &(CxlTag){ { 0xa1 } }), ==, 0);
	assert_held(host, 0, 0);
	g_assert_cmpint(cxl_dcd_release_tag(host->dcd, &(CxlTag){ { 0xa1 } }), ==, -ENOENT);
	g_assert_cmpint(cxl_dcd_release_tag(host->dcd, &(CxlTag){ { 0 } }), ==, -ENOENT);
}

static void test_release_by_host(void)
{
	g_autoptr(Host) host = host_new(12, false, NULL);

	accept_one(host, 0, 0, 3);
	accept_one(host, 0xa1, 10, 3);
	g_assert_cmpint(cxl_dcd_release_range(host->dcd, DC_BASE + FAKE_BLOCK, FAKE_BLOCK), ==, 0);
	assert_held(host, 2, 5);
	g_assert_cmpint(cxl_dcd_release_range(host->dcd, DC_BASE + FAKE_BLOCK, FAKE_BLOCK), ==,
			-ENOENT);
	g_assert_cmpint(cxl_dcd_release_range(host->dcd, DC_BASE, UINT64_MAX), ==, -ENOENT);
	g_assert_cmpint(cxl_dcd_release_range(host->dcd, DC_BASE, 11 * FAKE_BLOCK), ==, 0);
	assert_held(host, 1, 2);
	g_assert_cmpint(cxl_dcd_release_group(host->dcd, 2), ==, 0);
	g_assert_cmpint(cxl_dcd_release_group(host->dcd, 2), ==, -ENOENT);
	assert_held(host, 0, 0);
	assert_story(host, ""); /* nobody was asked: the caller knows */
}

/* A tag in the record that is not that of the extent asks for nothing; none asks for the range. */
static void test_release_tags(void)
{
	g_autoptr(Host) host = host_new(12, false, NULL);

	accept_one(host, 0xa1, 0, 1);
	ask_release(host, CXL_DC_EVENT_RELEASE, 0xa2, 0, 1);
	assert_story(host, "");
	assert_held(host, 1, 1);
	ask_release(host, CXL_DC_EVENT_RELEASE, 0, 0, 1);
	assert_story(host, "release:a1*1 ");
	assert_held(host, 0, 0);
}

static void test_release_wraps(void)
{
	g_autoptr(Host) host = host_new(12, false, NULL);
	CxlDcExtent e = extent(0xa1, 0, 0);

	accept_one(host, 0xa1, 0, 1);
	e.len = le64_put(UINT64_MAX);
	post(host, CXL_DC_EVENT_RELEASE, e, false);
	e.len = le64_put(0);
	post(host, CXL_DC_EVENT_RELEASE, e, false);
	cxl_dcd_poll(host->dcd, 0);
	assert_story(host, "");
	assert_held(host, 1, 1);
}

/* The device does not take it back: the list decides. */
static void test_release_refused(void)
{
	g_autoptr(Host) host = host_new(12, false, NULL);

	accept_one(host, 0xa1, 0, 2);
	host->ep->release_rc = CXL_RC_INVALID_PA;
	g_assert_cmpint(cxl_dcd_release_tag(host->dcd, &(CxlTag){ { 0xa1 } }), ==, -EIO);
	assert_held(host, 1, 2);
	g_array_remove_index(host->ep->accepted, 1);
	g_assert_cmpint(cxl_dcd_poll(host->dcd, 0), ==, 0);
	assert_story(host, "revoked:a1*1 ");
	assert_held(host, 1, 1);
	g_assert_cmpuint(stats_of(host).n_resyncs, ==, 1);
}

static void test_release_many(void)
{
	g_autoptr(Host) host = host_new(9, false, NULL);

	offer(host, 0xa1, 0, 100, false);
	while (cxl_dcd_poll(host->dcd, 0) > 0)
		;
	g_assert_cmpint(cxl_dcd_release_tag(host->dcd, &(CxlTag){ { 0xa1 } }), ==, 0);
	g_assert_cmpuint(host->ep->n_releases, ==, 5); /* 21 a command */
	assert_held(host, 0, 0);
}

static void test_forced(void)
{
	g_autoptr(Host) host = host_new(12, false, NULL);

	accept_one(host, 0xa1, 0, 3);
	g_array_set_size(host->ep->accepted, 0);
	ask_release(host, CXL_DC_EVENT_FORCED_RELEASE, 0xa1, 0, 2);
	assert_story(host, "revoked:a1*2 ");
	g_assert_cmpuint(stats_of(host).n_extents, ==, 1);
	/* One 4803h for the range as it was named ends the quarantine. */
	g_assert_cmpuint(host->ep->released->len, ==, 1);
	g_assert_cmpuint(g_array_index(host->ep->released, CxlDpaRange, 0).len, ==, 2 * FAKE_BLOCK);
	/* Also for what we know nothing of. */
	ask_release(host, CXL_DC_EVENT_FORCED_RELEASE, 0xa7, 50, 1);
	assert_story(host, "");
	g_assert_cmpuint(host->ep->released->len, ==, 2);
	/* A refusal of it changes nothing for us. */
	host->ep->release_rc = CXL_RC_INVALID_PA;
	ask_release(host, CXL_DC_EVENT_FORCED_RELEASE, 0xa1, 2, 1);
	assert_story(host, "revoked:a1*1 ");
	g_assert_cmpuint(stats_of(host).n_groups, ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/driver/dcd/release-group", test_release_group);
	g_test_add_func("/unit/driver/dcd/release-siblings", test_release_siblings);
	g_test_add_func("/unit/driver/dcd/release-ranges", test_release_ranges);
	g_test_add_func("/unit/driver/dcd/release-deferred", test_release_deferred);
	g_test_add_func("/unit/driver/dcd/release-by-host", test_release_by_host);
	g_test_add_func("/unit/driver/dcd/release-tags", test_release_tags);
	g_test_add_func("/unit/driver/dcd/release-wraps", test_release_wraps);
	g_test_add_func("/unit/driver/dcd/release-refused", test_release_refused);
	g_test_add_func("/unit/driver/dcd/release-many", test_release_many);
	g_test_add_func("/unit/driver/dcd/forced", test_forced);
	return g_test_run();
}
