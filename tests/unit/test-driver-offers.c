/* SPDX-License-Identifier: BSD-3-Clause */
/* Driver: offers of dynamic capacity: chains, tags, rules, and responses that fail. */
#include "dcd-fixture.h"

/* ---- accepting ---- */

static void test_policy_bytes(void)
{
	g_autoptr(Host) host = host_new(12, false, NULL);

	for (unsigned i = 0; i < CXL_N_LOGS; i++)
		g_assert_cmphex(host->ep->policy[i], ==, 0x21);
	g_assert_cmpint(host_start(host, NULL), ==, -EBUSY);
}

static int policy_lies(FakeEp *ep, uint16_t opcode, const uint8_t *in, uint32_t in_len,
		       uint8_t *out, uint32_t *out_len)
{
	if (opcode != CXL_OP_SET_EVENT_INT_POLICY)
		return -1;
	g_assert_cmpuint(in_len, ==, 5);
	return 0; /* and forgets it */
}

static void test_policy_not_kept(void)
{
	g_autoptr(Host) host = host_prepare(12, false);

	host->ep->command = policy_lies;
	g_assert_cmpint(host_start(host, NULL), ==, -EIO);
	host->ep->command = NULL;
	g_assert_cmpint(host_start(host, NULL), ==, 0);
}

static void test_accept(void)
{
	g_autoptr(Host) host = host_new(12, false, NULL);
	const CxlHostExtent *first;

	g_assert_cmpint(cxl_dcd_poll(host->dcd, 0), ==, 0);
	offer(host, 0xa1, 4, 3, false);
	g_assert_cmpint(cxl_dcd_poll(host->dcd, 10), ==, 3);
	assert_story(host, "offer:a1*3 mapped:a1*3 ");
	assert_held(host, 1, 3);
	first = &g_array_index(host->mapped, CxlHostExtent, 0);
	g_assert_cmphex(first->hpa, ==, FAKE_WINDOW + 4 * FAKE_BLOCK);
	g_assert_cmpuint(first->ways, ==, 1);
	g_assert_cmpuint(stats_of(host).len, ==, 3 * FAKE_BLOCK);
	g_assert_true(cxl_dcd_has_tag(host->dcd, &(CxlTag){ { 0xa1 } }));
	g_assert_false(cxl_dcd_has_tag(host->dcd, &(CxlTag){ { 0xa2 } }));
	g_assert_false(cxl_dcd_has_tag(host->dcd, &(CxlTag){ { 0 } }));
	g_assert_cmpuint(host->ep->log[CXL_LOG_DC]->len, ==, 0);
}

/* Chains of many lengths; payload of 512 bytes: 3 records a batch, 21 entries a response */
static void test_chain(gconstpointer data)
{
	unsigned n = (unsigned)GPOINTER_TO_INT(data);
	g_autoptr(Host) host = host_new(9, false, NULL);
	int handled = 0;
	int got;

	offer(host, 0xa1, 0, n, false);
	while ((got = cxl_dcd_poll(host->dcd, 0)) > 0)
		handled += got;
	g_assert_cmpint(got, ==, 0);
	g_assert_cmpint(handled, ==, (int)n);
	assert_held(host, 1, n);
	g_assert_cmpuint(host->ep->n_responses, ==, 1);
	g_assert_cmpuint(host->ep->n_parts, ==, (n + 20) / 21);
	for (unsigned i = 0; i < n; i++)
		g_assert_cmphex(g_array_index(host->ep->response, CxlDpaRange, i).dpa, ==,
				DC_BASE + i * FAKE_BLOCK);
}

/* Tags mixed in one chain: groups in order of first appearance, each answered together. */
static void test_mixed_tags(void)
{
	static const uint8_t tags[] = { 0xb2, 0xa1, 0, 0xb2, 0xa1, 0 };
	static const unsigned order[] = { 0, 3, 1, 4, 2, 5 };
	g_autoptr(Host) host = host_new(12, false, NULL);

	for (unsigned i = 0; i < 6; i++)
		post(host, CXL_DC_EVENT_ADD, extent(tags[i], i, 0), i < 5);
	g_assert_cmpint(cxl_dcd_poll(host->dcd, 0), ==, 6);
	assert_story(host, "offer:b2*2 offer:a1*2 offer:00*2 mapped:b2*2 mapped:a1*2 mapped:00*2 ");
	for (unsigned i = 0; i < 6; i++)
		g_assert_cmphex(g_array_index(host->ep->response, CxlDpaRange, i).dpa, ==,
				DC_BASE + order[i] * FAKE_BLOCK);
	assert_held(host, 3, 6);
}

static void test_decline(void)
{
	g_autoptr(Host) host = host_new(12, false, NULL);

	host->verdict = CXL_ACCEPT_NONE;
	offer(host, 0xa1, 0, 2, false);
	cxl_dcd_poll(host->dcd, 0);
	assert_story(host, "offer:a1*2 ");
	g_assert_cmpuint(host->ep->n_responses, ==, 1);
	g_assert_cmpuint(host->ep->response->len, ==, 0);
	assert_held(host, 0, 0);
	g_assert_cmpuint(stats_of(host).n_declined, ==, 2);
	/* Declined once is not declined for good. */
	host->verdict = CXL_ACCEPT_ALL;
	offer(host, 0xa1, 0, 2, false);
	cxl_dcd_poll(host->dcd, 0);
	assert_held(host, 1, 2);
}

static void test_some(gconstpointer data)
{
	bool sharable = data != NULL;
	g_autoptr(Host) host = host_new(12, sharable, NULL);

	host->verdict = CXL_ACCEPT_SOME;
	host->take_every = 2;
	offer(host, 0xa1, 0, 5, sharable);
	cxl_dcd_poll(host->dcd, 0);
	if (sharable) { /* a part would leave a hole in the numbering */
		assert_story(host, "offer:a1*5 ");
		assert_held(host, 0, 0);
	} else {
		assert_story(host, "offer:a1*5 mapped:a1*3 ");
		assert_held(host, 1, 3);
	}
}

/* Shared extents come in any order and are used in that of their numbers. */
static void test_shared_order(void)
{
	static const uint16_t seq[] = { 2, 0, 3, 1 };
	g_autoptr(Host) host = host_new(12, true, NULL);

	for (unsigned i = 0; i < 4; i++)
		post(host, CXL_DC_EVENT_ADD, extent(0xa1, i, seq[i]), i < 3);
	cxl_dcd_poll(host->dcd, 0);
	assert_story(host, "offer:a1*4 mapped:a1*4 ");
	for (unsigned i = 0; i < 4; i++)
		g_assert_cmpuint(g_array_index(host->mapped, CxlHostExtent, i).shared_seq, ==, i);
}

/* ---- offers against the rules ---- */

typedef struct Wrong {
	const char *name;
	bool sharable;
	struct {
		uint64_t dpa, len;
		uint8_t tag;
		uint16_t seq;
	} extents[3];
	unsigned n, n_accepted;
} Wrong;

static const Wrong wrongs[] = {
	{ "below-region", false, { { 0, FAKE_BLOCK, 0xa1, 0 } }, 1, 0 },
	{ "above-region", false, { { DC_BASE + 16 * GIB, FAKE_BLOCK, 0xa1, 0 } }, 1, 0 },
	{ "across-end",
	  false,
	  { { DC_BASE + 16 * GIB - FAKE_BLOCK, 2 * FAKE_BLOCK, 0xa1, 0 } },
	  1,
	  0 },
	{ "wrap", false, { { DC_BASE, UINT64_MAX, 0xa1, 0 } }, 1, 0 },
	{ "wrap-aligned", false, { { DC_BASE, UINT64_MAX - FAKE_BLOCK + 1, 0xa1, 0 } }, 1, 0 },
	{ "zero-length", false, { { DC_BASE, UINT64_C(0), 0xa1, 0 } }, 1, 0 },
	{ "misaligned", false, { { DC_BASE + 4096, FAKE_BLOCK, 0xa1, 0 } }, 1, 0 },
	{ "odd-length", false, { { DC_BASE, FAKE_BLOCK + 4096, 0xa1, 0 } }, 1, 0 },
	{ "seq-not-sharable", false, { { DC_BASE, FAKE_BLOCK, 0xa1, 1 } }, 1, 0 },
	{ "seq-hole",
	  true,
	  { { DC_BASE, FAKE_BLOCK, 0xa1, 0 }, { DC_BASE + FAKE_BLOCK, FAKE_BLOCK, 0xa1, 2 } },
	  2,
	  0 },
	{ "seq-twice",
	  true,
	  { { DC_BASE, FAKE_BLOCK, 0xa1, 0 }, { DC_BASE + FAKE_BLOCK, FAKE_BLOCK, 0xa1, 0 } },
	  2,
	  0 },
	{ "seq-from-one", true, { { DC_BASE, FAKE_BLOCK, 0xa1, 1 } }, 1, 0 },
	{ "untagged-sharable", true, { { DC_BASE, FAKE_BLOCK, 0, 0 } }, 1, 0 },
	{ "tagged-overlap",
	  false,
	  { { DC_BASE, 2 * FAKE_BLOCK, 0xa1, 0 }, { DC_BASE + FAKE_BLOCK, FAKE_BLOCK, 0xa1, 0 } },
	  2,
	  0 },
	{ "tags-overlap",
	  false,
	  { { DC_BASE, 2 * FAKE_BLOCK, 0xa1, 0 }, { DC_BASE + FAKE_BLOCK, FAKE_BLOCK, 0xa2, 0 } },
	  2,
	  1 },
	{ "untagged-overlap",
	  false,
	  { { DC_BASE, 2 * FAKE_BLOCK, 0, 0 },
	    { DC_BASE + FAKE_BLOCK, FAKE_BLOCK, 0, 0 },
	    { DC_BASE + 2 * FAKE_BLOCK, FAKE_BLOCK, 0, 0 } },
	  3,
	  2 },
	{ "untagged-outside",
	  false,
	  { { UINT64_C(0), FAKE_BLOCK, 0, 0 }, { DC_BASE, FAKE_BLOCK, 0, 0 } },
	  2,
	  1 },
	{ "tag-one-outside",
	  false,
	  { { UINT64_C(0), FAKE_BLOCK, 0xa1, 0 }, { DC_BASE, FAKE_BLOCK, 0xa1, 0 } },
	  2,
	  0 },
};

static void test_wrong(gconstpointer data)
{
	const Wrong *wrong = data;
	g_autoptr(Host) host = host_new(12, wrong->sharable, NULL);

	for (unsigned i = 0; i < wrong->n; i++) {
		CxlDcExtent e = {
			.dpa = le64_put(wrong->extents[i].dpa),
			.len = le64_put(wrong->extents[i].len),
			.tag = { wrong->extents[i].tag },
			.shared_seq = le16_put(wrong->extents[i].seq),
		};

		post(host, CXL_DC_EVENT_ADD, e, i + 1 < wrong->n);
	}
	g_assert_cmpint(cxl_dcd_poll(host->dcd, 0), ==, (int)wrong->n);
	g_assert_cmpuint(host->ep->n_responses, ==, 1);
	g_assert_cmpuint(host->ep->response->len, ==, wrong->n_accepted);
	g_assert_cmpuint(stats_of(host).n_extents, ==, wrong->n_accepted);
	g_assert_cmpuint(stats_of(host).n_declined, ==, wrong->n - wrong->n_accepted);
	/* And the tag is as free as it was. */
	if (!wrong->n_accepted) {
		offer(host, 0xa1, 100, 1, wrong->sharable);
		cxl_dcd_poll(host->dcd, 0);
		assert_held(host, 1, 1);
	}
}

static void test_duplicate_tag(void)
{
	g_autoptr(Host) host = host_new(12, false, NULL);

	offer(host, 0xa1, 0, 1, false);
	cxl_dcd_poll(host->dcd, 0);
	g_string_truncate(host->story, 0);
	offer(host, 0xa1, 5, 1, false);
	cxl_dcd_poll(host->dcd, 0);
	assert_story(host, "");
	assert_held(host, 1, 1);
	/* The same extent again: overlaps what is held */
	offer(host, 0xa2, 0, 1, false);
	cxl_dcd_poll(host->dcd, 0);
	assert_held(host, 1, 1);
	g_assert_cmpuint(host->ep->n_responses, ==, 3);
}

/* A tag is one allocation of the host, not of the device. */
static void test_tag_on_another_device(void)
{
	g_autoptr(Host) host = host_prepare(12, false);
	CxlDcdOptions unmapped = { .allow_unmapped = true };
	CxlDcd *other;
	FakeEp *ep;

	cxl_driver_free(host->fake->driver);
	ep = fake_plug(host->fake, 0, 1);
	fake_hdm_preset(host->ep->bar, 0, 0, 0, 0, 0);
	memset(host->ep->bar + CXL_COMPONENT_CACHEMEM + FAKE_HDM + 0x10, 0, 0x80);
	memset(host->fake->bridge[0].chbcr + CXL_COMPONENT_CACHEMEM + FAKE_HDM + 0x10, 0, 0x80);
	g_assert_cmpint(fake_start(host->fake, NULL), ==, 2);
	host->memdev = cxl_driver_memdev(host->fake->driver, 0);
	g_assert_cmpint(host_start(host, &unmapped), ==, 0);
	g_assert_cmpint(cxl_dcd_start(cxl_driver_memdev(host->fake->driver, 1), &ops, host,
				      &unmapped, &other),
			==, 0);
	offer(host, 0xa1, 0, 1, false);
	cxl_dcd_poll(host->dcd, 0);
	assert_held(host, 1, 1);
	host->ep = ep;
	offer(host, 0xa1, 0, 1, false);
	cxl_dcd_poll(other, 0);
	g_assert_cmpuint(ep->n_responses, ==, 1);
	g_assert_cmpuint(ep->response->len, ==, 0);
}

static void test_unmapped(gconstpointer data)
{
	bool allow = data != NULL;
	g_autoptr(Host) host = host_prepare(12, false);
	CxlDcdOptions options = { .allow_unmapped = allow };

	g_assert_cmpint(cxl_driver_unprogram(host->fake->driver, host->region), ==, 0);
	g_assert_cmpint(host_start(host, &options), ==, 0);
	offer(host, 0xa1, 0, 2, false);
	cxl_dcd_poll(host->dcd, 0);
	assert_held(host, allow, allow ? 2 : 0);
	if (allow)
		g_assert_cmphex(g_array_index(host->mapped, CxlHostExtent, 0).hpa, ==, CXL_NO_HPA);
}

static void test_limits(void)
{
	CxlDcdOptions options = { .max_chain = 4, .max_extents = 6 };
	g_autoptr(Host) host = host_new(12, false, &options);

	offer(host, 0xa1, 0, 5, false);
	cxl_dcd_poll(host->dcd, 0);
	assert_story(host, ""); /* too long: declined unseen */
	g_assert_cmpuint(host->ep->n_responses, ==, 1);
	offer(host, 0xa1, 0, 4, false);
	offer(host, 0xa2, 4, 3, false);
	offer(host, 0xa3, 4, 2, false);
	cxl_dcd_poll(host->dcd, 0);
	assert_story(host, "offer:a1*4 mapped:a1*4 offer:a3*2 mapped:a3*2 ");
	assert_held(host, 2, 6);
	g_assert_cmpuint(host->ep->n_responses, ==, 4);
}

static void test_chain_timeout(void)
{
	g_autoptr(Host) host = host_new(12, false, NULL);
	uint64_t begun;

	post(host, CXL_DC_EVENT_ADD, extent(0xa1, 0, 0), true);
	post(host, CXL_DC_EVENT_ADD, extent(0xa1, 1, 0), true);
	begun = host->fake->now;
	g_assert_cmpint(cxl_dcd_poll(host->dcd, 0), ==, 2);
	g_assert_cmpuint(host->ep->n_responses, ==, 0);
	g_assert_cmpint(cxl_dcd_poll(host->dcd, 19000), ==, 0);
	g_assert_cmpuint(host->ep->n_responses, ==, 0);
	g_assert_cmpint(cxl_dcd_poll(host->dcd, 5000), ==, 0);
	g_assert_cmpuint(host->fake->now - begun, <, 24100000);
	g_assert_cmpuint(host->ep->n_responses, ==, 1);
	g_assert_cmpuint(host->ep->response->len, ==, 0);
	g_assert_cmpuint(stats_of(host).n_chain_timeouts, ==, 1);
	assert_story(host, "");
	/* The next chain is its own. */
	offer(host, 0xa1, 0, 2, false);
	cxl_dcd_poll(host->dcd, 0);
	assert_held(host, 1, 2);
}

/* ---- responses that fail ---- */

static void test_refused(gconstpointer data)
{
	g_autoptr(Host) host = host_new(12, false, NULL);
	g_autofree char *story = NULL;
	int rc = GPOINTER_TO_INT(data);

	host->ep->respond_rc = rc;
	offer(host, 0xa1, 0, 2, false);
	g_assert_cmpint(cxl_dcd_poll(host->dcd, 0), ==, 2);
	story = g_strdup_printf("offer:a1*2 refused:a1=%d ", rc);
	assert_story(host, story);
	assert_held(host, 0, 0);
	/* A withdrawn offer is left alone, one that still stands is declined. */
	g_assert_cmpuint(host->ep->n_responses, ==, rc == CXL_RC_INVALID_PA ? 1 : 2);
	host->ep->respond_rc = 0;
	offer(host, 0xa1, 0, 2, false);
	cxl_dcd_poll(host->dcd, 0);
	assert_held(host, 1, 2);
}

/* The device asks to try again, as while it undoes a response: no offer is left hanging. */
static void test_retried(void)
{
	static const int slow[] = { CXL_RC_RETRY_REQUIRED, CXL_RC_RETRY_REQUIRED };
	static const int failed[] = { CXL_RC_INTERNAL_ERROR, CXL_RC_RETRY_REQUIRED,
				      CXL_RC_RETRY_REQUIRED, CXL_RC_RETRY_REQUIRED };
	g_autoptr(Host) host = host_new(12, false, NULL);

	host->ep->script = slow;
	host->ep->n_script = G_N_ELEMENTS(slow);
	offer(host, 0xa1, 0, 2, false);
	g_assert_cmpint(cxl_dcd_poll(host->dcd, 0), ==, 2);
	g_assert_cmpuint(host->ep->n_responses, ==, 3);
	g_assert_cmpuint(host->ep->response->len, ==, 2);
	assert_story(host, "offer:a1*2 mapped:a1*2 ");
	assert_held(host, 1, 2);

	host->ep->n_responses = 0;
	host->ep->script = failed;
	host->ep->n_script = G_N_ELEMENTS(failed);
	offer(host, 0xa2, 2, 2, false);
	g_assert_cmpint(cxl_dcd_poll(host->dcd, 0), ==, 2);
	assert_story(host, "offer:a2*2 refused:a2=4 ");
	g_assert_cmpuint(host->ep->n_responses, ==, 5);
	g_assert_cmpuint(host->ep->response->len, ==, 0);
	assert_held(host, 1, 2);
}

/* It asks for ever: there is an end to it. */
static void test_retried_in_vain(void)
{
	g_autoptr(Host) host = host_new(12, false, NULL);

	host->ep->respond_rc = CXL_RC_RETRY_REQUIRED;
	offer(host, 0xa1, 0, 2, false);
	g_assert_cmpint(cxl_dcd_poll(host->dcd, 0), ==, 2);
	assert_story(host, "offer:a1*2 refused:a1=5 ");
	assert_held(host, 0, 0);
	g_assert_cmpuint(host->ep->n_responses, >, 50);
	g_assert_cmpuint(host->ep->n_responses, <, 500);
}

/* The outcome is unknown: the list tells, whichever way it went. */
static void test_response_lost(gconstpointer data)
{
	bool done = data != NULL;
	g_autoptr(Host) host = host_new(12, false, NULL);
	CxlDcExtent e = extent(0xa1, 0, 0);

	host->ep->hang = CXL_OP_ADD_DC_RESPONSE;
	offer(host, 0xa1, 0, 1, false);
	g_assert_cmpint(cxl_dcd_poll(host->dcd, 0), ==, -ETIMEDOUT);
	assert_story(host, "offer:a1*1 refused:a1=-110 ");
	g_assert_cmpuint(stats_of(host).n_extents, ==, 0);
	/* Still stuck: nothing can be done, and nothing is made up. */
	g_assert_cmpint(cxl_dcd_poll(host->dcd, 0), ==, -EBUSY);
	host->ep->hang = 0;
	host->ep->done_at = 1;
	if (done) {
		g_array_append_val(host->ep->accepted, e);
		host->ep->generation++;
	}
	g_assert_cmpint(cxl_dcd_poll(host->dcd, 0), ==, 0);
	assert_story(host, done ? "found:a1*1 mapped:a1*1 " : "");
	assert_held(host, done, done);
	/* The record was handled; it is cleared and not handled again. */
	g_assert_cmpuint(host->ep->log[CXL_LOG_DC]->len, ==, 0);
}

int main(int argc, char **argv)
{
	static const int chains[] = { 1, 8, 100, 2000 };

	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/driver/dcd/policy-bytes", test_policy_bytes);
	g_test_add_func("/unit/driver/dcd/policy-not-kept", test_policy_not_kept);
	g_test_add_func("/unit/driver/dcd/accept", test_accept);
	for (guint i = 0; i < G_N_ELEMENTS(chains); i++) {
		g_autofree char *path = g_strdup_printf("/unit/driver/dcd/chain/%d", chains[i]);

		g_test_add_data_func(path, GINT_TO_POINTER(chains[i]), test_chain);
	}
	g_test_add_func("/unit/driver/dcd/mixed-tags", test_mixed_tags);
	g_test_add_func("/unit/driver/dcd/decline", test_decline);
	g_test_add_data_func("/unit/driver/dcd/some", NULL, test_some);
	g_test_add_data_func("/unit/driver/dcd/some-shared", "", test_some);
	g_test_add_func("/unit/driver/dcd/shared-order", test_shared_order);
	for (guint i = 0; i < G_N_ELEMENTS(wrongs); i++) {
		g_autofree char *path = g_strdup_printf("/unit/driver/dcd/wrong/%s",
							wrongs[i].name);

		g_test_add_data_func(path, &wrongs[i], test_wrong);
	}
	g_test_add_func("/unit/driver/dcd/duplicate-tag", test_duplicate_tag);
	g_test_add_func("/unit/driver/dcd/tag-on-another-device", test_tag_on_another_device);
	g_test_add_data_func("/unit/driver/dcd/unmapped", NULL, test_unmapped);
	g_test_add_data_func("/unit/driver/dcd/unmapped-allowed", "", test_unmapped);
	g_test_add_func("/unit/driver/dcd/limits", test_limits);
	g_test_add_func("/unit/driver/dcd/chain-timeout", test_chain_timeout);
	g_test_add_data_func("/unit/driver/dcd/refused-internal",
			     GINT_TO_POINTER(CXL_RC_INTERNAL_ERROR), test_refused);
	g_test_add_func("/unit/driver/dcd/retried", test_retried);
	g_test_add_func("/unit/driver/dcd/retried-in-vain", test_retried_in_vain);
	g_test_add_data_func("/unit/driver/dcd/refused-withdrawn",
			     GINT_TO_POINTER(CXL_RC_INVALID_PA), test_refused);
	g_test_add_data_func("/unit/driver/dcd/response-lost", NULL, test_response_lost);
	g_test_add_data_func("/unit/driver/dcd/response-lost-done", "", test_response_lost);
	return g_test_run();
}
