/* SPDX-License-Identifier: BSD-3-Clause */
/* Driver: recovering accepted extents, event logs that lie, and the usual policy. */
#include "dcd-fixture.h"

/* ---- recovery ---- */

static void test_recover(void)
{
	g_autoptr(Host) host = host_prepare(9, false);
	CxlDcExtent e;

	for (unsigned i = 0; i < 40; i++) { /* 12 a page */
		e = extent(i % 2 ? 0xa1 : 0xb2, 39 - i, 0);
		g_array_append_val(host->ep->accepted, e);
	}
	g_assert_cmpint(host_start(host, NULL), ==, 0);
	assert_story(host, "found:b2*20 found:a1*20 mapped:b2*20 mapped:a1*20 ");
	assert_held(host, 2, 40);
	g_assert_cmpuint(host->ep->n_responses, ==, 0);
	/* In list order, not by address */
	g_assert_cmphex(g_array_index(host->mapped, CxlHostExtent, 0).dpa, ==,
			DC_BASE + 39 * FAKE_BLOCK);
	ask_release(host, CXL_DC_EVENT_RELEASE, 0xa1, 0, 1);
	assert_held(host, 1, 20);
}

static void test_recover_unwanted(void)
{
	g_autoptr(Host) host = host_prepare(12, false);
	CxlDcExtent e = extent(0xa1, 0, 0);

	g_array_append_val(host->ep->accepted, e);
	host->verdict = CXL_ACCEPT_NONE;
	g_assert_cmpint(host_start(host, NULL), ==, 0);
	assert_story(host, "found:a1*1 ");
	assert_held(host, 0, 0);
	g_assert_cmpuint(host->ep->released->len, ==, 1);
}

/* What is wrong with how 4801h answers, and how many pages a start may ask for */
typedef struct List {
	const char *name;
	unsigned kind;
	int err;
} List;

static unsigned list_kind;
static unsigned list_calls;

static int list_lies(FakeEp *ep, uint16_t opcode, const uint8_t *in, uint32_t in_len, uint8_t *out,
		     uint32_t *out_len)
{
	uint32_t start = le32_load(in + 4);

	if (opcode != CXL_OP_GET_DC_EXTENT_LIST)
		return -1;
	list_calls++;
	fake_default(ep, opcode, in, in_len, out, out_len);
	switch (list_kind) {
	case 0: /* generation differs on the second page, once */
		if (list_calls == 2)
			put32(out + 8, 99);
		break;
	case 1: /* always */
		put32(out + 8, list_calls);
		break;
	case 2: /* total grows with every page */
		put32(out + 4, 40 + list_calls);
		break;
	case 3: /* nothing more, too early */
		if (start)
			put32(out, 0);
		break;
	case 4: /* more than there is room for */
		put32(out, 0x10000);
		break;
	case 5: /* count runs past the output */
		*out_len = 16 + 40;
		break;
	case 6: /* absurd total */
		put32(out + 4, UINT32_MAX);
		break;
	case 7: /* more than the total */
		put32(out + 4, 5);
		break;
	case 8: /* the same extent again and again */
		for (uint32_t i = 1; i < le32_load(out); i++)
			memcpy(out + 16 + 40 * i, out + 16, 40);
		break;
	case 9: /* short header */
		*out_len = 15;
		break;
	case 10: /* wraps around */
		le64_store(out + 16 + 8, UINT64_MAX);
		break;
	}
	return 0;
}

static const List lists[] = {
	{ "generation-once", 0, 0 },       { "generation-always", 1, -EIO },
	{ "total-changes", 2, -EIO },      { "ends-early", 3, -EIO },
	{ "count-too-large", 4, -EPROTO }, { "count-past-output", 5, -EPROTO },
	{ "total-absurd", 6, -EOVERFLOW }, { "count-past-total", 7, -EIO },
	{ "repeats", 8, -EPROTO },         { "short", 9, -EPROTO },
	{ "wraps", 10, -EPROTO },
};

static void test_list(gconstpointer data)
{
	const List *list = data;
	g_autoptr(Host) host = host_prepare(9, false);

	for (unsigned i = 0; i < 40; i++) {
		CxlDcExtent e = extent(0xa1, i, 0);

		g_array_append_val(host->ep->accepted, e);
	}
	list_kind = list->kind;
	list_calls = 0;
	host->ep->command = list_lies;
	g_assert_cmpint(host_start(host, NULL), ==, list->err);
	g_assert_cmpuint(list_calls, <=, 40);
	if (list->err) {
		assert_story(host, "");
		g_assert_cmpuint(strlen(cxl_driver_error(host->fake->driver)), >, 0);
	} else {
		assert_story(host, "found:a1*40 mapped:a1*40 ");
	}
}

/* What came and went behind our back, in one look */
static void test_resync(void)
{
	g_autoptr(Host) host = host_new(12, false, NULL);
	CxlDcExtent e = extent(0xa3, 20, 0);
	CxlDcExtent *held;

	accept_one(host, 0xa1, 0, 3);
	accept_one(host, 0xa2, 10, 1);
	g_array_append_val(host->ep->accepted, e);
	held = &g_array_index(host->ep->accepted, CxlDcExtent, 3);
	held->tag[0] = 0xa4; /* now somebody else's */
	g_array_remove_index(host->ep->accepted, 1);
	g_assert_cmpint(cxl_dcd_resync(host->dcd), ==, 0);
	assert_story(host,
		     "revoked:a1*1 revoked:a2*1 found:a4*1 found:a3*1 mapped:a4*1 mapped:a3*1 ");
	assert_held(host, 3, 4);
	g_assert_cmpint(cxl_dcd_resync(host->dcd), ==, 0);
	assert_story(host, "");
}

/* ---- event logs ---- */

static void test_general_events(void)
{
	g_autoptr(Host) host = host_new(9, false, NULL);
	CxlEventRecord record = { .header = { .uuid = CXL_UUID_EVENT_GENERAL_MEDIA } };

	for (unsigned i = 0; i < 4; i++) {
		record.header.handle = le16_put((uint16_t)(i + 1));
		g_array_append_val(host->ep->log[CXL_LOG_INFO], record);
		g_array_append_val(host->ep->log[CXL_LOG_FATAL], record);
	}
	offer(host, 0xa1, 0, 1, false);
	g_array_append_val(host->ep->log[CXL_LOG_DC], record); /* one that does not belong there */
	g_assert_cmpint(cxl_dcd_poll(host->dcd, 0), ==, 10);
	assert_story(host, "offer:a1*1 mapped:a1*1 event:4 event:3 event:3 event:3 event:3 "
			   "event:0 event:0 event:0 event:0 ");
	g_assert_cmpuint(fake_event_status(host->ep), ==, 0);
}

static int count_lies(FakeEp *ep, uint16_t opcode, const uint8_t *in, uint32_t in_len, uint8_t *out,
		      uint32_t *out_len)
{
	int rc;

	if (opcode != CXL_OP_GET_EVENT_RECORDS)
		return -1;
	rc = fake_default(ep, opcode, in, in_len, out, out_len);
	put16(out + 0x14, 0xffff);
	return rc;
}

static void test_record_count(void)
{
	g_autoptr(Host) host = host_new(12, false, NULL);

	host->ep->command = count_lies;
	offer(host, 0xa1, 0, 1, false);
	g_assert_cmpint(cxl_dcd_poll(host->dcd, 0), ==, -EPROTO);
	assert_story(host, "");
	host->ep->command = NULL;
	g_assert_cmpint(cxl_dcd_poll(host->dcd, 0), ==, 1);
	assert_story(host, "offer:a1*1 mapped:a1*1 ");
}

/* A status bit with nothing behind it must not keep us busy. */
static int no_records(FakeEp *ep, uint16_t opcode, const uint8_t *in, uint32_t in_len, uint8_t *out,
		      uint32_t *out_len)
{
	if (opcode != CXL_OP_GET_EVENT_RECORDS)
		return -1;
	memset(out, 0, 0x20);
	*out_len = 0x20;
	return 0;
}

static void test_empty_log(void)
{
	g_autoptr(Host) host = host_new(12, false, NULL);
	guint before = host->ep->opcodes->len;

	host->ep->command = no_records;
	offer(host, 0xa1, 0, 1, false);
	g_assert_cmpint(cxl_dcd_poll(host->dcd, 1000), ==, 0);
	g_assert_cmpuint(host->ep->opcodes->len - before, <, 600);
}

/* The log never runs dry: the caller gets a turn all the same. */
static int endless(FakeEp *ep, uint16_t opcode, const uint8_t *in, uint32_t in_len, uint8_t *out,
		   uint32_t *out_len)
{
	if (opcode == CXL_OP_CLEAR_EVENT_RECORDS)
		return 0;
	if (opcode != CXL_OP_GET_EVENT_RECORDS)
		return -1;
	memset(out, 0, 0x20 + 15 * CXL_EVENT_RECORD_LEN);
	put16(out + 0x14, 15);
	*out_len = 0x20 + 15 * CXL_EVENT_RECORD_LEN;
	return 0;
}

static void test_endless_log(void)
{
	g_autoptr(Host) host = host_new(11, false, NULL);

	host->ep->command = endless;
	offer(host, 0xa1, 0, 1, false);
	g_assert_cmpint(cxl_dcd_poll(host->dcd, 0), <, 70000);
}

static int clear_fails(FakeEp *ep, uint16_t opcode, const uint8_t *in, uint32_t in_len,
		       uint8_t *out, uint32_t *out_len)
{
	return opcode == CXL_OP_CLEAR_EVENT_RECORDS ? CXL_RC_INTERNAL_ERROR : -1;
}

/* A record that cannot be cleared is not handled twice. */
static void test_clear_fails(void)
{
	g_autoptr(Host) host = host_new(12, false, NULL);

	host->ep->command = clear_fails;
	offer(host, 0xa1, 0, 1, false);
	g_assert_cmpint(cxl_dcd_poll(host->dcd, 0), ==, -EIO);
	assert_story(host, "offer:a1*1 mapped:a1*1 ");
	host->ep->command = NULL;
	g_assert_cmpint(cxl_dcd_poll(host->dcd, 0), ==, 0);
	assert_story(host, "");
	assert_held(host, 1, 1);
	g_assert_cmpuint(host->ep->n_responses, ==, 1);
}

/* Records are lost: what has come of a chain is declined, and the list read again. */
static void test_overflow(void)
{
	g_autoptr(Host) host = host_new(12, false, NULL);

	post(host, CXL_DC_EVENT_ADD, extent(0xa1, 0, 0), true);
	cxl_dcd_poll(host->dcd, 0);
	host->ep->overflow = true;
	offer(host, 0xa2, 1, 1, false);
	g_assert_cmpint(cxl_dcd_poll(host->dcd, 0), ==, 1);
	assert_story(host, "offer:a2*1 mapped:a2*1 ");
	g_assert_cmpuint(host->ep->n_responses, ==, 2);
	g_assert_cmpint(cxl_dcd_poll(host->dcd, 0), ==, 0);
	g_assert_cmpuint(stats_of(host).n_resyncs, ==, 1);
	assert_held(host, 1, 1);
}

static void test_dead(void)
{
	g_autoptr(Host) host = host_new(12, false, NULL);

	host->ep->dead = true;
	g_assert_cmpint(cxl_dcd_poll(host->dcd, 100), ==, -ENODEV);
}

/* ---- the usual policy ---- */

static void test_accept_list(void)
{
	static const char *const bad[] = { "",
					   "some",
					   "a1000000-0000-0000-0000-00000000000",
					   "a1000000-0000-0000-0000-000000000000,",
					   "a1000000-0000-0000-0000-000000000000 ",
					   "a1000000x0000-0000-0000-000000000000",
					   "g1000000-0000-0000-0000-000000000000" };
	CxlDcGroup group = { .tagged = true, .tag = { { 0xa1 } } };
	CxlAcceptList list;
	char text[CXL_TAG_TEXT_LEN];

	g_assert_cmpint(cxl_accept_list_parse("all", &list), ==, 0);
	g_assert_cmpint(cxl_accept_list_judge(&list, &group), ==, CXL_ACCEPT_ALL);
	cxl_accept_list_clear(&list);
	g_assert_cmpint(cxl_accept_list_parse("none", &list), ==, 0);
	g_assert_cmpint(cxl_accept_list_judge(&list, &group), ==, CXL_ACCEPT_NONE);
	cxl_accept_list_clear(&list);
	g_assert_cmpint(cxl_accept_list_parse("b2000000-0000-0000-0000-000000000000,"
					      "A1000000-0000-0000-0000-000000000000",
					      &list),
			==, 0);
	g_assert_cmpuint(list.n_tags, ==, 2);
	g_assert_cmpint(cxl_accept_list_judge(&list, &group), ==, CXL_ACCEPT_ALL);
	group.tag.b[15] = 1;
	g_assert_cmpint(cxl_accept_list_judge(&list, &group), ==, CXL_ACCEPT_NONE);
	group.tagged = false;
	g_assert_cmpint(cxl_accept_list_judge(&list, &group), ==, CXL_ACCEPT_NONE);
	cxl_tag_format(&list.tags[1], text);
	g_assert_cmpstr(text, ==, "a1000000-0000-0000-0000-000000000000");
	cxl_accept_list_clear(&list);
	for (guint i = 0; i < G_N_ELEMENTS(bad); i++)
		g_assert_cmpint(cxl_accept_list_parse(bad[i], &list), ==, -EINVAL);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/driver/dcd/recover", test_recover);
	g_test_add_func("/unit/driver/dcd/recover-unwanted", test_recover_unwanted);
	g_test_add_func("/unit/driver/dcd/resync", test_resync);
	for (guint i = 0; i < G_N_ELEMENTS(lists); i++) {
		g_autofree char *path = g_strdup_printf("/unit/driver/dcd/list/%s", lists[i].name);

		g_test_add_data_func(path, &lists[i], test_list);
	}
	g_test_add_func("/unit/driver/dcd/general-events", test_general_events);
	g_test_add_func("/unit/driver/dcd/record-count", test_record_count);
	g_test_add_func("/unit/driver/dcd/empty-log", test_empty_log);
	g_test_add_func("/unit/driver/dcd/endless-log", test_endless_log);
	g_test_add_func("/unit/driver/dcd/clear-fails", test_clear_fails);
	g_test_add_func("/unit/driver/dcd/overflow", test_overflow);
	g_test_add_func("/unit/driver/dcd/dead", test_dead);
	g_test_add_func("/unit/driver/dcd/accept-list", test_accept_list);
	return g_test_run();
}
