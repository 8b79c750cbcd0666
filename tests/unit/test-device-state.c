/* SPDX-License-Identifier: BSD-3-Clause */
/* Saved register state: all of it comes back, none of it is trusted, every change is announced. */
#include "device/hdm.h"
#include "endpoint-fixture.h"

#define RAM_LEN   (512 * MIB)
#define HDM_AT    (0x1000 + 0x100)
#define RAS_MASK  (0x1000 + 0x80 + CXL_RAS_UE_MASK)
#define LOCK_AT   0x14 /* in DVSEC 0 */
#define HOST_TIME UINT64_C(1700000000000000000)

static uint64_t mailbox_at(Endpoint *ep)
{
	return device_payload_offset(ep->dev) - CXL_MBOX_PAYLOAD;
}

/* Runs a command; its output is in the payload. */
static enum cxl_rc call(Endpoint *ep, uint16_t opcode, const void *in, uint32_t len)
{
	uint64_t mailbox = mailbox_at(ep);
	uint32_t keep = (uint32_t)bar(ep, 0, mailbox + CXL_MBOX_CTRL, 4);

	if (len > 0)
		g_assert_cmpint(
			device_bar_write(ep->dev, 0, device_payload_offset(ep->dev), in, len), ==,
			0);
	bar_write(ep, 0, mailbox + CXL_MBOX_CMD,
		  opcode | CXL_FIELD_PUT(CXL_MBOX_CMD_LEN, (uint64_t)len), 8);
	bar_write(ep, 0, mailbox + CXL_MBOX_CTRL, keep | CXL_MBOX_CTRL_DOORBELL, 4);
	g_assert_cmphex(bar(ep, 0, mailbox + CXL_MBOX_CTRL, 4), ==, keep);
	return (enum cxl_rc)CXL_FIELD_GET(CXL_MBOX_STATUS_RC,
					  bar(ep, 0, mailbox + CXL_MBOX_STATUS, 8));
}

static uint64_t output(Endpoint *ep, uint32_t at, uint32_t len)
{
	return bar(ep, 0, device_payload_offset(ep->dev) + at, len);
}

static void commit(Endpoint *ep, unsigned index, uint64_t hpa, uint64_t len, uint32_t more)
{
	bar_write(ep, 0, HDM_AT + CXL_HDM_BASE_LO(index), hpa, 8);
	bar_write(ep, 0, HDM_AT + CXL_HDM_SIZE_LO(index), len, 8);
	bar_write(ep, 0, HDM_AT + CXL_HDM_DEC_CTRL(index), CXL_HDM_DEC_COMMIT | more, 4);
}

static uint32_t decoder_ctrl(Endpoint *ep, unsigned index)
{
	return (uint32_t)bar(ep, 0, HDM_AT + CXL_HDM_DEC_CTRL(index), 4);
}

static CxlEventRecord record(uint8_t byte)
{
	CxlEventRecord ret;

	memset(&ret, byte, sizeof(ret));
	return ret;
}

/* Everything that is saved is made something else than after reset. */
static void scribble(Endpoint *ep)
{
	const uint8_t clear[] = { CXL_LOG_INFO, 0, 1, 0, 0, 0, 1, 0 };
	uint8_t now[8], log = CXL_LOG_INFO;
	CxlEventRecord records[3] = { record(0x11), record(0x22), record(0x33) };

	cfg_write(ep, PCI_CFG_COMMAND, PCI_CMD_MEM | PCI_CMD_MASTER, 2);
	cfg_write(ep, PCI_CFG_BAR(0), 0xfe000000, 4);
	cfg_write(ep, PCI_CFG_BAR(1), 0x12, 4);
	cfg_write(ep, find_cap(ep, PCI_CAP_MSIX) + PCI_MSIX_CTRL, PCI_MSIX_CTRL_ENABLE, 2);
	cfg_write(ep, find_ext_cap(ep, PCI_EXTCAP_AER, -1) + PCI_AER_UE_MASK, 0, 4);
	cfg_write(ep, find_dvsec(ep, CXL_DVSEC_ID_DEVICE, 3, 0x3c) + 0x0c,
		  CXL_DVSEC_DEVICE_CTRL_MEM, 2);
	cfg_write(ep, find_dvsec(ep, CXL_DVSEC_ID_DEVICE, 3, 0x3c) + LOCK_AT,
		  CXL_DVSEC_DEVICE_LOCK_CONFIG, 2);
	bar_write(ep, DEVICE_BAR_MSIX, 0x10, 0xfee01000, 8);
	bar_write(ep, DEVICE_BAR_MSIX, 0x18, 0x21, 8);
	bar_write(ep, 0, RAS_MASK, 0x5, 4);
	bar_write(ep, 0, HDM_AT + CXL_HDM_CTRL, CXL_HDM_CTRL_ENABLE, 4);
	commit(ep, 0, HPA, 256 * MIB, CXL_HDM_DEC_LOCK);
	commit(ep, 1, HPA + GIB, 512 * MIB, 0);
	commit(ep, 2, HPA + 2 * GIB, 512 * MIB, CXL_FIELD_PUT(CXL_HDM_DEC_IW, 1u));
	/* The one in the middle goes again; where the third one lies no register says now. */
	bar_write(ep, 0, HDM_AT + CXL_HDM_DEC_CTRL(1), 0, 4);
	bar_write(ep, 0, HDM_AT + CXL_HDM_BASE_LO(1), 0, 8);

	bar_write(ep, 0, mailbox_at(ep) + CXL_MBOX_CTRL, CXL_MBOX_CTRL_DOORBELL_INT_EN, 4);
	assert_rc(call(ep, CXL_OP_SET_EVENT_INT_POLICY, "\1\0\1\0\1", 5), CXL_RC_SUCCESS);
	le64_store(now, HOST_TIME);
	assert_rc(call(ep, CXL_OP_SET_TIMESTAMP, now, sizeof(now)), CXL_RC_SUCCESS);
	assert_rc(call(ep, CXL_OP_SET_ALERT_CONFIG, "\x01\x01\x32\0\0\0\0\0\0\0\0\0", 12),
		  CXL_RC_SUCCESS);
	assert_rc(call(ep, CXL_OP_SET_SHUTDOWN_STATE, "\1", 1), CXL_RC_SUCCESS);
	assert_rc(call(ep, CXL_OP_GET_DC_EXTENT_LIST, "\xff\xff\0\0\0\0\0\0", 8), CXL_RC_SUCCESS);
	for (unsigned i = 0; i < G_N_ELEMENTS(records); i++)
		g_assert_true(device_inject_event(ep->dev, CXL_LOG_INFO, &records[i]));
	assert_rc(call(ep, CXL_OP_GET_EVENT_RECORDS, &log, 1), CXL_RC_SUCCESS);
	assert_rc(call(ep, CXL_OP_CLEAR_EVENT_RECORDS, clear, sizeof(clear)), CXL_RC_SUCCESS);
	for (unsigned i = 0; i < 70; i++)
		device_inject_event(ep->dev, CXL_LOG_FATAL, &records[0]);
}

static void restore(Endpoint *ep, GBytes *state)
{
	g_autoptr(GError) error = NULL;

	device_restore_state(ep->dev, state, &error);
	g_assert_no_error(error);
}

static void assert_refused(Endpoint *ep, GBytes *state, const char *words)
{
	g_autoptr(GError) error = NULL;

	g_assert_false(device_restore_state(ep->dev, state, &error));
	g_assert_nonnull(error);
	if (words)
		g_assert_nonnull(strstr(error->message, words));
}

static void assert_same_space(Endpoint *a, Endpoint *b, unsigned bar_index, uint64_t offset,
			      uint32_t len)
{
	g_autofree uint8_t *of_a = g_malloc(len), *of_b = g_malloc(len);

	g_assert_cmpint(device_bar_read(a->dev, bar_index, offset, of_a, len), ==, 0);
	g_assert_cmpint(device_bar_read(b->dev, bar_index, offset, of_b, len), ==, 0);
	g_assert_cmpmem(of_a, len, of_b, len);
}

static void test_round_trip(void)
{
	g_autoptr(Endpoint) old = ep_new(RAM_LEN, 0, 2);
	g_autoptr(Endpoint) new = ep_new(RAM_LEN, 0, 2);
	uint8_t config[2][DEVICE_CONFIG_LEN], log = CXL_LOG_INFO;
	g_autoptr(GBytes) state = NULL, again = NULL;
	unsigned dvsec;

	scribble(old);
	state = device_save_state(old->dev);
	new->f.now_us = old->f.now_us + 5000;
	restore(new, state);

	device_config_read(old->dev, 0, config[0], DEVICE_CONFIG_LEN);
	device_config_read(new->dev, 0, config[1], DEVICE_CONFIG_LEN);
	g_assert_cmpmem(config[0], DEVICE_CONFIG_LEN, config[1], DEVICE_CONFIG_LEN);
	assert_same_space(old, new, 0, 0, CXL_COMPONENT_LEN);
	assert_same_space(old, new, DEVICE_BAR_MSIX, 0, 0x1000);
	g_assert_cmphex(decoder_ctrl(new, 0) & CXL_HDM_DEC_COMMITTED, !=, 0);
	g_assert_cmphex(decoder_ctrl(new, 1) & CXL_HDM_DEC_COMMITTED, ==, 0);
	g_assert_cmphex(decoder_ctrl(new, 2) & CXL_HDM_DEC_COMMITTED, !=, 0);
	/* The host side has them already. */
	g_assert_cmpuint(new->n_committed + new->n_taken_back, ==, 0);

	/* A lock holds, and a committed decoder is frozen. */
	dvsec = find_dvsec(new, CXL_DVSEC_ID_DEVICE, 3, 0x3c);
	cfg_write(new, dvsec + 0x0c, 0, 2);
	g_assert_cmphex(cfg(new, dvsec + 0x0c, 2) & CXL_DVSEC_DEVICE_CTRL_MEM, !=, 0);
	bar_write(new, 0, HDM_AT + CXL_HDM_DEC_CTRL(0), 0, 4);
	g_assert_cmphex(decoder_ctrl(new, 0) & CXL_HDM_DEC_COMMITTED, !=, 0);

	/* What was in flight is unknown; the mailbox works. */
	g_assert_cmphex(CXL_FIELD_GET(CXL_MBOX_STATUS_RC,
				      bar(new, 0, mailbox_at(new) + CXL_MBOX_STATUS, 8)),
			==, CXL_RC_ABORTED);
	g_assert_cmphex(bar(new, 0, mailbox_at(new) + CXL_MBOX_CTRL, 4), ==,
			CXL_MBOX_CTRL_DOORBELL_INT_EN);
	assert_rc(call(new, CXL_OP_GET_EVENT_INT_POLICY, NULL, 0), CXL_RC_SUCCESS);
	g_assert_cmphex(output(new, 0, 4), ==, 0x10111011);
	g_assert_cmphex(output(new, 4, 1), ==, 0x21);
	g_assert_true(new->f.dc.events_enabled);
	g_assert_cmpuint(new->f.dc.n_list_reads, ==, 1);
	assert_rc(call(new, CXL_OP_GET_TIMESTAMP, NULL, 0), CXL_RC_SUCCESS);
	g_assert_cmpuint(output(new, 0, 8), ==, HOST_TIME + 5000 * UINT64_C(1000));
	assert_rc(call(new, CXL_OP_GET_ALERT_CONFIG, NULL, 0), CXL_RC_SUCCESS);
	g_assert_cmphex(output(new, 3, 1), ==, 0x32);
	assert_rc(call(new, CXL_OP_GET_SHUTDOWN_STATE, NULL, 0), CXL_RC_SUCCESS);
	g_assert_cmphex(output(new, 0, 1), ==, CXL_SHUTDOWN_DIRTY);

	/* Records keep their handles: one that was read before can be cleared now. */
	assert_rc(call(new, CXL_OP_GET_EVENT_RECORDS, &log, 1), CXL_RC_SUCCESS);
	g_assert_cmpuint(output(new, 0x14, 2), ==, 2);
	g_assert_cmpuint(output(new, 0x20 + 0x14, 2), ==, 2);
	g_assert_cmphex(output(new, 0x20 + 0x30, 8), ==, 0x2222222222222222);
	log = CXL_LOG_FATAL;
	assert_rc(call(new, CXL_OP_GET_EVENT_RECORDS, &log, 1), CXL_RC_SUCCESS);
	g_assert_cmpuint(output(new, 0x14, 2), ==, 64);
	g_assert_cmpuint(output(new, 2, 2), ==, 6); /* lost */

	new->f.now_us = old->f.now_us;
	again = device_save_state(new->dev);
	g_assert_true(g_bytes_equal(state, again));
}

/* A decoder that the host side was still being asked about. */
static void test_decoder_in_flight(void)
{
	g_autoptr(Endpoint) old = ep_new(RAM_LEN, 0, 1);
	g_autoptr(Endpoint) new = ep_new(RAM_LEN, 0, 1);
	g_autoptr(GBytes) committing = NULL, going = NULL;

	old->silent = true;
	commit(old, 0, HPA, 512 * MIB, 0);
	committing = device_save_state(old->dev);
	device_decoder_done(old->dev, old->last_req, true);
	bar_write(old, 0, HDM_AT + CXL_HDM_DEC_CTRL(0), 0, 4);
	g_assert_cmphex(decoder_ctrl(old, 0) & CXL_HDM_DEC_COMMITTED, !=, 0);
	going = device_save_state(old->dev);

	restore(new, committing);
	g_assert_cmphex(decoder_ctrl(new, 0) & (CXL_HDM_DEC_COMMITTED | CXL_HDM_DEC_ERROR), ==,
			CXL_HDM_DEC_ERROR);
	restore(new, going);
	g_assert_cmphex(decoder_ctrl(new, 0) & (CXL_HDM_DEC_COMMITTED | CXL_HDM_DEC_ERROR), ==, 0);
	g_assert_cmpuint(new->n_committed, ==, 0);
	commit(new, 0, HPA, 512 * MIB, 0);
	g_assert_cmphex(decoder_ctrl(new, 0) & CXL_HDM_DEC_COMMITTED, !=, 0);
	g_assert_cmpuint(new->n_committed, ==, 1);
}

/* After any attempt a device is either as the state says or as it was. */
static void try_state(const uint8_t *bytes, size_t len, GBytes *fresh, bool must_fail)
{
	g_autoptr(Endpoint) ep = ep_new(RAM_LEN, 0, 2);
	g_autoptr(GBytes) state = g_bytes_new(bytes, len);
	g_autoptr(GBytes) now = NULL;
	bool ok = device_restore_state(ep->dev, state, NULL);

	g_assert_false(ok && must_fail);
	now = device_save_state(ep->dev);
	if (!ok)
		g_assert_true(g_bytes_equal(now, fresh));
	g_assert_cmpuint(ep->n_committed + ep->n_taken_back, ==, 0);
	/* Whatever came back works. */
	assert_rc(call(ep, CXL_OP_GET_TIMESTAMP, NULL, 0), CXL_RC_SUCCESS);
	device_reset(ep->dev, DEVICE_RESET_NEW_SESSION);
}

static void test_hostile(void)
{
	g_autoptr(Endpoint) old = ep_new(RAM_LEN, 0, 2);
	g_autoptr(Endpoint) other = ep_new(RAM_LEN, 0, 2);
	g_autoptr(GBytes) state = NULL, fresh = NULL;
	g_autofree uint8_t *bytes = NULL;
	gsize len;

	fresh = device_save_state(other->dev);
	scribble(old);
	/* So many records would only repeat themselves. */
	device_reset(old->dev, DEVICE_RESET_FLR);
	assert_rc(call(old, CXL_OP_CLEAR_EVENT_RECORDS, "\3\1\0\0\0\0", 6), CXL_RC_SUCCESS);
	state = device_save_state(old->dev);
	bytes = g_memdup2(g_bytes_get_data(state, &len), g_bytes_get_size(state));
	g_assert_cmpuint(len, <, 4096);

	for (size_t cut = 0; cut < len; cut++)
		try_state(bytes, cut, fresh, true);
	for (size_t i = 0; i < len; i++) {
		static const uint8_t flips[] = { 0x01, 0x80, 0xff };

		for (size_t k = 0; k < G_N_ELEMENTS(flips); k++) {
			bytes[i] ^= flips[k];
			try_state(bytes, len, fresh, i < 64);
			bytes[i] ^= flips[k];
		}
	}
	try_state(bytes, len, fresh, false);
}

static void test_other_device(void)
{
	g_autoptr(Endpoint) old = ep_new(RAM_LEN, 0, 2);
	g_autoptr(Endpoint) smaller = ep_new(RAM_LEN, 0, 1);
	g_autoptr(Endpoint) split = ep_new(256 * MIB, 256 * MIB, 2);
	g_autoptr(GBytes) state = NULL, newer = NULL, longer = NULL;
	uint8_t bytes[4096 + 1] = { 0 };
	gsize len;

	commit(old, 0, HPA, RAM_LEN, 0);
	state = device_save_state(old->dev);
	assert_refused(smaller, state, "other capacity");
	assert_refused(split, state, "other capacity");
	memcpy(bytes, g_bytes_get_data(state, &len), MIN(g_bytes_get_size(state), 4096));
	bytes[8]++;
	newer = g_bytes_new(bytes, len);
	assert_refused(old, newer, "version 2");
	bytes[8]--;
	longer = g_bytes_new(bytes, len + 1);
	assert_refused(old, longer, "cut");
}

/* Committed decoders that no device can have: they overlap, reach too far, or are not allowed. */
static void test_impossible_decoders(void)
{
	static const struct {
		unsigned decoder;
		uint32_t offset; /* in its 40 bytes */
		uint64_t value;
	} rows[] = {
		{ 1, 0, HPA },                       /* base: that of decoder 0 */
		{ 1, 24, 0 },                        /* DPA: that of decoder 0 */
		{ 1, 24, GIB },                      /* its end is beyond the device's */
		{ 1, 24, 4096 },                     /* not aligned */
		{ 0, 8, 0 },                         /* no size */
		{ 0, 8, 512 * MIB },                 /* into the next one's DPA */
		{ 1, 8, 3 * GIB },                   /* more than there is */
		{ 1, 0, UINT64_MAX << 28 },          /* wraps */
		{ 0, 0, HPA + 1 },                   /* a bit that does not exist */
		{ 0, 32, UINT64_C(7) << 32 | 0xf0 }, /* interleave ways of 15 */
		{ 0, 32, UINT64_C(2) << 32 },        /* COMMITTED without COMMIT */
		{ 0, 32, UINT64_C(16) << 32 },       /* a flag of a later version */
	};
	g_autoptr(Endpoint) old = ep_new(RAM_LEN, 0, 1);
	g_autoptr(GBytes) state = NULL;
	g_autofree uint8_t *bytes = NULL;
	const uint8_t *first = NULL;
	gsize len;

	commit(old, 0, HPA, 256 * MIB, 0);
	commit(old, 1, HPA + GIB, GIB, 0);
	g_assert_cmphex(decoder_ctrl(old, 1) & CXL_HDM_DEC_COMMITTED, !=, 0);
	state = device_save_state(old->dev);
	bytes = g_memdup2(g_bytes_get_data(state, &len), g_bytes_get_size(state));
	for (gsize at = 0; at + 8 <= len && !first; at++) {
		if (le64_load(bytes + at) == HPA)
			first = bytes + at;
	}
	g_assert_nonnull(first);
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		uint8_t *at = bytes + (first - bytes) + 40 * (size_t)rows[i].decoder +
			      rows[i].offset;
		uint64_t before = le64_load(at);
		g_autoptr(GBytes) bad = NULL;
		g_autoptr(Endpoint) ep = ep_new(RAM_LEN, 0, 1);

		le64_store(at, rows[i].value);
		bad = g_bytes_new(bytes, len);
		assert_refused(ep, bad, "component registers");
		le64_store(at, before);
	}
	restore(old, state);
}

/* A session is saved when this is called: nothing that is saved may change without it. */
static void test_changes_are_told(void)
{
	static const struct {
		unsigned bar;
		uint64_t offset, value;
		uint32_t len;
		bool changes;
	} writes[] = {
		{ 99, PCI_CFG_COMMAND, PCI_CMD_MEM, 2, true },
		{ 99, PCI_CFG_COMMAND, PCI_CMD_MEM, 2, false },
		{ 99, PCI_CFG_VENDOR_ID, 0, 2, false },
		{ 0, HDM_AT + CXL_HDM_BASE_LO(0), HPA, 8, true },
		{ 0, HDM_AT + CXL_HDM_SIZE_LO(0), RAM_LEN, 8, true },
		{ 0, HDM_AT + CXL_HDM_DEC_CTRL(0), CXL_HDM_DEC_COMMIT, 4, true },
		{ 0, RAS_MASK, 1, 4, true },
		{ DEVICE_BAR_MSIX, 0, 0xfee00000, 8, true },
		{ 0, 0x11000 - 0x20 + CXL_MBOX_CTRL, CXL_MBOX_CTRL_DOORBELL_INT_EN, 4, true },
		{ 0, 0x11000 - 0x20 + CXL_MBOX_CMD, 1, 8, false },
		{ 0, 0x11000, 1, 8, false },
	};
	static const struct {
		uint16_t opcode;
		const char *in;
		uint32_t len;
		bool changes;
	} calls[] = {
		{ CXL_OP_SET_EVENT_INT_POLICY, "\1\1\1\1\1", 5, true },
		{ CXL_OP_SET_TIMESTAMP, "\1\2\3\4\5\6\7\0", 8, true },
		{ CXL_OP_SET_SHUTDOWN_STATE, "\1", 1, true },
		{ CXL_OP_SET_ALERT_CONFIG, "\1\1\x32\0\0\0\0\0\0\0\0\0", 12, true },
		{ CXL_OP_GET_DC_EXTENT_LIST, "\1\0\0\0\0\0\0\0", 8, true },
		{ CXL_OP_GET_DC_EXTENT_LIST, "\1\0\0\0\0\0\0\0", 8, false },
		{ CXL_OP_CLEAR_EVENT_RECORDS, "\0\1\0\0\0\0", 6, true },
		{ CXL_OP_CLEAR_EVENT_RECORDS, "\4\1\0\0\0\0", 6, false },
		{ CXL_OP_IDENTIFY, "", 0, false },
		{ CXL_OP_GET_EVENT_INT_POLICY, "", 0, false },
	};
	g_autoptr(Endpoint) ep = ep_new(RAM_LEN, 0, 1);
	g_autoptr(GBytes) saved = device_save_state(ep->dev);

	for (size_t i = 0; i < G_N_ELEMENTS(writes) + G_N_ELEMENTS(calls); i++) {
		size_t k = i - G_N_ELEMENTS(writes);
		bool changes = i < G_N_ELEMENTS(writes) ? writes[i].changes : calls[k].changes;
		unsigned before = ep->n_state_changes;
		g_autoptr(GBytes) now = NULL;

		if (i >= G_N_ELEMENTS(writes))
			assert_rc(call(ep, calls[k].opcode, calls[k].in, calls[k].len),
				  CXL_RC_SUCCESS);
		else if (writes[i].bar == 99)
			cfg_write(ep, (unsigned)writes[i].offset, (uint32_t)writes[i].value,
				  writes[i].len);
		else
			bar_write(ep, writes[i].bar, writes[i].offset, writes[i].value,
				  writes[i].len);
		now = device_save_state(ep->dev);
		if (changes)
			g_assert_cmpuint(ep->n_state_changes, >, before);
		else
			g_assert_cmpuint(ep->n_state_changes, ==, before);
		if (!changes)
			g_assert_true(g_bytes_equal(now, saved));
		g_clear_pointer(&saved, g_bytes_unref);
		saved = g_steal_pointer(&now);
	}
	/* An answer of the host side, a reset, time that runs out. */
	ep->n_state_changes = 0;
	ep->silent = true;
	bar_write(ep, 0, HDM_AT + CXL_HDM_DEC_CTRL(0), 0, 4);
	ep->n_state_changes = 0;
	device_decoder_done(ep->dev, ep->last_req, true);
	g_assert_cmpuint(ep->n_state_changes, ==, 1);
	commit(ep, 0, HPA, RAM_LEN, 0);
	ep->n_state_changes = 0;
	ep->f.now_us += HDM_ANSWER_US + 1;
	device_tick(ep->dev);
	g_assert_cmpuint(ep->n_state_changes, ==, 1);
	g_assert_cmphex(decoder_ctrl(ep, 0) & CXL_HDM_DEC_ERROR, !=, 0);
	device_reset(ep->dev, DEVICE_RESET_CONVENTIONAL);
	g_assert_cmpuint(ep->n_state_changes, >, 1);
}

#define P "/unit/device/state/"

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func(P "round-trip", test_round_trip);
	g_test_add_func(P "decoder-in-flight", test_decoder_in_flight);
	g_test_add_func(P "hostile", test_hostile);
	g_test_add_func(P "other-device", test_other_device);
	g_test_add_func(P "impossible-decoders", test_impossible_decoders);
	g_test_add_func(P "changes-are-told", test_changes_are_told);
	return g_test_run();
}
