/* SPDX-License-Identifier: BSD-3-Clause */
/* Driver: mailbox commands, time-outs, lengths that lie, and what is read by commands. */
#include "cxl-fake.h"

/* Vendor opcode of the tests: returns what it was given, upside down */
#define OP_ECHO 0xc000

static int echo(FakeEp *ep, uint16_t opcode, const uint8_t *in, uint32_t in_len, uint8_t *out,
		uint32_t *out_len)
{
	if (opcode != OP_ECHO)
		return -1;
	for (uint32_t i = 0; i < in_len; i++)
		out[i] = (uint8_t)~in[i];
	*out_len = in_len;
	return CXL_RC_SUCCESS;
}

static void check_echo(CxlMemdev *memdev, uint32_t len)
{
	g_autofree uint8_t *in = g_malloc(len + 1);
	g_autofree uint8_t *out = g_malloc(len + 1);
	uint32_t out_len = 77;

	for (uint32_t i = 0; i < len; i++)
		in[i] = (uint8_t)(i * 7 + 1);
	out[len] = 0xee;
	g_assert_cmpint(cxl_memdev_command(memdev, OP_ECHO, in, len, out, len, &out_len), ==, 0);
	g_assert_cmpuint(out_len, ==, len);
	for (uint32_t i = 0; i < len; i++)
		g_assert_cmphex(out[i], ==, (uint8_t)~in[i]);
	g_assert_cmphex(out[len], ==, 0xee);
}

/* DATA: 0 mapped, 1 by register access, 2 offered a misaligned mapping */
static void test_echo(gconstpointer data)
{
	static const uint32_t lens[] = { 0, 1, 4, 7, 8, 9, 15, 16, 17, 255, 4090, 4095, 4096 };
	g_autoptr(Fake) fake = fake_new(1, 1);
	FakeEp *ep = fake_plug(fake, 0, 0);
	CxlMemdev *memdev;

	ep->map_payload = GPOINTER_TO_INT(data) != 1;
	ep->shift_map = GPOINTER_TO_INT(data) == 2 ? 4 : 0;
	fake_start(fake, NULL);
	memdev = cxl_driver_memdev(fake->driver, 0);
	g_assert_cmpint(cxl_memdev_info(memdev)->payload_mapped, ==, GPOINTER_TO_INT(data) == 0);
	ep->command = echo;
	for (guint i = 0; i < G_N_ELEMENTS(lens); i++)
		check_echo(memdev, lens[i]);
}

static void test_short_buffer(void)
{
	FakeEp *ep;
	CxlMemdev *memdev;
	g_autoptr(Fake) fake G_GNUC_UNUSED = fake_simple(&ep, &memdev);
	uint8_t out[4] = { 0 };
	uint32_t len;

	ep->command = echo;
	g_assert_cmpint(cxl_memdev_command(memdev, OP_ECHO, "abcdefgh", 8, out, 3, &len), ==, 0);
	g_assert_cmpuint(len, ==, 3);
	g_assert_cmphex(out[2], ==, (uint8_t) ~'c');
	g_assert_cmphex(out[3], ==, 0);
	g_assert_cmpint(cxl_memdev_command(memdev, OP_ECHO, "ab", 2, NULL, 0, NULL), ==, 0);
}

static void test_too_long_in(void)
{
	static const uint8_t in[4097];
	FakeEp *ep;
	CxlMemdev *memdev;
	g_autoptr(Fake) fake G_GNUC_UNUSED = fake_simple(&ep, &memdev);
	guint before = ep->opcodes->len;

	g_assert_cmpint(cxl_memdev_command(memdev, OP_ECHO, in, sizeof(in), NULL, 0, NULL), ==,
			-EMSGSIZE);
	g_assert_cmpuint(ep->opcodes->len, ==, before);
}

static int long_out(FakeEp *ep, uint16_t opcode, const uint8_t *in, uint32_t in_len, uint8_t *out,
		    uint32_t *out_len)
{
	*out_len = 4097;
	return 0;
}

static void test_too_long_out(void)
{
	FakeEp *ep;
	CxlMemdev *memdev;
	g_autoptr(Fake) fake = fake_simple(&ep, &memdev);
	g_autofree uint8_t *out = g_malloc0(1 << 21);
	uint32_t len = 5;

	ep->command = long_out;
	g_assert_cmpint(cxl_memdev_command(memdev, OP_ECHO, NULL, 0, out, 1 << 21, &len), ==,
			-EPROTO);
	g_assert_cmpuint(len, ==, 5);
	g_assert_nonnull(strstr(cxl_driver_error(fake->driver), "c000h"));
	/* The mailbox works on. */
	ep->command = echo;
	check_echo(memdev, 64);
}

static int any_rc;

static int answer_rc(FakeEp *ep, uint16_t opcode, const uint8_t *in, uint32_t in_len, uint8_t *out,
		     uint32_t *out_len)
{
	return any_rc;
}

static void test_return_codes(void)
{
	FakeEp *ep;
	CxlMemdev *memdev;
	g_autoptr(Fake) fake G_GNUC_UNUSED = fake_simple(&ep, &memdev);

	ep->command = answer_rc;
	for (any_rc = 0; any_rc < 0x10000; any_rc += any_rc < 0x30 ? 1 : 0x1111) {
		g_assert_cmpint(cxl_memdev_command(memdev, OP_ECHO, NULL, 0, NULL, 0, NULL), ==,
				any_rc);
		g_assert_cmpuint(strlen(cxl_rc_name(any_rc)), >, 0);
	}
	g_assert_cmpstr(cxl_rc_name(CXL_RC_INVALID_EXTENT_LIST), ==, "Invalid Extent List");
	g_assert_cmpstr(cxl_rc_name(0x21), ==, "unknown return code");
}

static void test_timeout(void)
{
	FakeEp *ep;
	CxlMemdev *memdev;
	g_autoptr(Fake) fake = fake_simple(&ep, &memdev);
	uint64_t begun = fake->now;

	ep->hang = OP_ECHO;
	g_assert_cmpint(cxl_memdev_command(memdev, OP_ECHO, NULL, 0, NULL, 0, NULL), ==,
			-ETIMEDOUT);
	g_assert_cmpuint(fake->now - begun, >=, 2000000);
	g_assert_cmpuint(fake->now - begun, <, 2010000);
	/* Until it is done, nothing else may be started. */
	begun = ep->opcodes->len;
	g_assert_cmpint(cxl_memdev_command(memdev, 0x0100, "", 1, NULL, 0, NULL), ==, -EBUSY);
	g_assert_cmpuint(ep->opcodes->len, ==, begun);
	ep->hang = 0;
	ep->done_at = 1; /* it has completed after all */
	g_assert_cmpint(cxl_memdev_command(memdev, 0x0100, "", 1, NULL, 0, NULL), ==, 0);
}

static uint64_t traced_us;
static int traced_rc;

static void trace(void *opaque, const CxlMemdev *memdev, uint16_t opcode, int rc, uint64_t took_us)
{
	g_assert_cmphex(opcode, ==, OP_ECHO);
	traced_us = took_us;
	traced_rc = rc;
	++*(unsigned *)opaque;
}

static void test_late(void)
{
	FakeEp *ep;
	CxlMemdev *memdev;
	g_autoptr(Fake) fake G_GNUC_UNUSED = fake_simple(&ep, &memdev);
	unsigned n = 0;

	ep->command = echo;
	ep->late_us = 30000;
	cxl_memdev_set_trace(memdev, trace, &n);
	check_echo(memdev, 8);
	g_assert_cmpuint(n, ==, 1);
	g_assert_cmpint(traced_rc, ==, 0);
	g_assert_cmpuint(traced_us, >=, 30000);
	g_assert_cmpuint(traced_us, <=, 31100); /* one longest nap more */
	g_assert_cmpuint(cxl_memdev_last_command_us(memdev), ==, traced_us);
	cxl_memdev_set_trace(memdev, NULL, NULL);
	check_echo(memdev, 8);
	g_assert_cmpuint(n, ==, 1);
}

static void test_dead(void)
{
	FakeEp *ep;
	CxlMemdev *memdev;
	g_autoptr(Fake) fake G_GNUC_UNUSED = fake_simple(&ep, &memdev);

	ep->dead = true;
	g_assert_cmpint(cxl_memdev_command(memdev, OP_ECHO, NULL, 0, NULL, 0, NULL), ==, -ENODEV);
}

/* ---- what is read by commands ---- */

#define LONG_CEL 900 /* entries: several pages of a 512-byte payload */

static int long_cel(FakeEp *ep, uint16_t opcode, const uint8_t *in, uint32_t in_len, uint8_t *out,
		    uint32_t *out_len)
{
	uint32_t start = le32_load(in + 16);
	uint32_t len = le32_load(in + 20);

	if (opcode == CXL_OP_GET_SUPPORTED_LOGS) {
		int rc = fake_default(ep, opcode, in, in_len, out, out_len);

		put32(out + 24, LONG_CEL * 4);
		return rc;
	}
	if (opcode != CXL_OP_GET_LOG)
		return -1;
	g_assert_cmpuint(len, <=, 512);
	g_assert_cmpuint(start + len, <=, LONG_CEL * 4);
	for (uint32_t i = 0; i < len; i += 4) {
		put16(out + i, (uint16_t)(0xd000 + (start + i) / 4));
		put16(out + i + 2, (uint16_t)((start + i) / 4));
	}
	*out_len = len;
	return 0;
}

static void test_cel_paging(void)
{
	g_autoptr(Fake) fake = fake_new(1, 1);
	FakeEp *ep = fake_plug(fake, 0, 0);
	CxlMemdev *memdev;

	fake_set_payload(ep, 9);
	ep->command = long_cel;
	fake_start(fake, NULL);
	memdev = cxl_driver_memdev(fake->driver, 0);
	g_assert_cmpstr(cxl_memdev_error(memdev), ==, "");
	g_assert_cmpint(cxl_memdev_effects(memdev, 0xd000), ==, 0);
	g_assert_cmpint(cxl_memdev_effects(memdev, 0xd000 + LONG_CEL - 1), ==, LONG_CEL - 1);
	g_assert_cmpint(cxl_memdev_effects(memdev, 0xd000 + LONG_CEL), ==, -1);
	g_assert_false(cxl_memdev_info(memdev)->has_dc);
}

/* A device whose answer to one opcode is bent */
typedef struct Bend {
	const char *name;
	uint16_t opcode;
	void (*bend)(uint8_t *out, uint32_t *out_len);
	const char *error; /* of the device, or of dynamic capacity if it says "DC:" */
} Bend;

static void bend_short(uint8_t *out, uint32_t *out_len)
{
	*out_len = 1;
}

static void bend_logs_count(uint8_t *out, uint32_t *out_len)
{
	put16(out, 0xffff);
}

static void bend_logs_none(uint8_t *out, uint32_t *out_len)
{
	put16(out, 0);
}

static void bend_cel_len(uint8_t *out, uint32_t *out_len)
{
	put32(out + 24, UINT32_MAX);
}

static void bend_cel_odd(uint8_t *out, uint32_t *out_len)
{
	put32(out + 24, 6);
}

static void bend_log_short(uint8_t *out, uint32_t *out_len)
{
	*out_len -= 4;
}

static void bend_capacity(uint8_t *out, uint32_t *out_len)
{
	le64_store(out + 0x10, UINT64_MAX);
}

static void bend_volatile(uint8_t *out, uint32_t *out_len)
{
	le64_store(out + 0x18, 2);
}

static void bend_regions(uint8_t *out, uint32_t *out_len)
{
	out[0] = 9;
}

static void bend_region_none(uint8_t *out, uint32_t *out_len)
{
	out[1] = 0;
}

static void bend_region_more(uint8_t *out, uint32_t *out_len)
{
	out[1] = 8;
}

static void bend_base(uint8_t *out, uint32_t *out_len)
{
	le64_store(out + 8, 0); /* on top of the static capacity */
}

static void bend_block(uint8_t *out, uint32_t *out_len)
{
	le64_store(out + 8 + 0x18, 3 * MIB);
}

static void bend_len(uint8_t *out, uint32_t *out_len)
{
	le64_store(out + 8 + 0x10, 17 * GIB);
}

static void bend_decode_len(uint8_t *out, uint32_t *out_len)
{
	le64_store(out + 8 + 8, UINT64_C(1) << 40);
}

static void bend_handle(uint8_t *out, uint32_t *out_len)
{
	put32(out + 8 + 0x20, 0x101);
}

static const Bend bends[] = {
	{ "logs-short", 0x0400, bend_short, "1 bytes of at least 8" },
	{ "logs-count", 0x0400, bend_logs_count, "65535 logs" },
	{ "logs-none", 0x0400, bend_logs_none, "no command effects log" },
	{ "cel-len", 0x0400, bend_cel_len, "log of 4294967295 bytes" },
	{ "cel-odd", 0x0400, bend_cel_odd, "log of 6 bytes" },
	{ "log-short", 0x0401, bend_log_short, "0401h" },
	{ "identify-short", 0x4000, bend_short, "4000h" },
	{ "capacity", 0x4000, bend_capacity, "capacities" },
	{ "volatile", 0x4000, bend_volatile, "capacities" },
	{ "dc-short", 0x4800, bend_short, "DC:4800h" },
	{ "dc-regions", 0x4800, bend_regions, "DC:of 9 DC regions" },
	{ "dc-region-none", 0x4800, bend_region_none, "DC:0 of 1" },
	{ "dc-region-more", 0x4800, bend_region_more, "DC:8 of 1" },
	{ "dc-base", 0x4800, bend_base, "DC:rules" },
	{ "dc-block", 0x4800, bend_block, "DC:rules" },
	{ "dc-len", 0x4800, bend_len, "DC:rules" },
	{ "dc-decode-len", 0x4800, bend_decode_len, "DC:rules" },
	{ "dc-handle", 0x4800, bend_handle, "DC:rules" },
};

static const Bend *bent;

static int answer_bent(FakeEp *ep, uint16_t opcode, const uint8_t *in, uint32_t in_len,
		       uint8_t *out, uint32_t *out_len)
{
	int rc;

	if (opcode != bent->opcode)
		return -1;
	rc = fake_default(ep, opcode, in, in_len, out, out_len);
	bent->bend(out, out_len);
	return rc;
}

static void test_bent(gconstpointer data)
{
	g_autoptr(Fake) fake = fake_new(1, 1);
	CxlMemdev *memdev;

	bent = data;
	fake_plug(fake, 0, 0)->command = answer_bent;
	g_assert_cmpint(fake_start(fake, NULL), ==, 1);
	memdev = cxl_driver_memdev(fake->driver, 0);
	if (g_str_has_prefix(bent->error, "DC:")) {
		g_assert_cmpstr(cxl_memdev_error(memdev), ==, "");
		g_assert_nonnull(strstr(fake->log->str, bent->error + 3));
	} else {
		g_assert_nonnull(strstr(cxl_memdev_error(memdev), bent->error));
	}
	g_assert_false(cxl_memdev_info(memdev)->has_dc);
	g_assert_cmpuint(cxl_memdev_info(memdev)->n_dc_regions, ==, 0);
}

static void test_dc_paging(void)
{
	g_autoptr(Fake) fake = fake_new(1, 1);
	CxlMemdev *memdev;

	fake_plug(fake, 0, 0)->n_dc_regions = 8;
	fake_start(fake, NULL);
	memdev = cxl_driver_memdev(fake->driver, 0);
	g_assert_cmpuint(cxl_memdev_info(memdev)->n_dc_regions, ==, 8);
	g_assert_cmpuint(cxl_memdev_dc_region(memdev, 7)->dpa, ==, 256 * MIB + 7 * 16 * GIB);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_data_func("/unit/driver/mailbox/echo-mapped", GINT_TO_POINTER(0), test_echo);
	g_test_add_data_func("/unit/driver/mailbox/echo-trapped", GINT_TO_POINTER(1), test_echo);
	g_test_add_data_func("/unit/driver/mailbox/echo-misaligned", GINT_TO_POINTER(2), test_echo);
	g_test_add_func("/unit/driver/mailbox/short-buffer", test_short_buffer);
	g_test_add_func("/unit/driver/mailbox/too-long-in", test_too_long_in);
	g_test_add_func("/unit/driver/mailbox/too-long-out", test_too_long_out);
	g_test_add_func("/unit/driver/mailbox/return-codes", test_return_codes);
	g_test_add_func("/unit/driver/mailbox/timeout", test_timeout);
	g_test_add_func("/unit/driver/mailbox/late", test_late);
	g_test_add_func("/unit/driver/mailbox/dead", test_dead);
	g_test_add_func("/unit/driver/identify/cel-paging", test_cel_paging);
	g_test_add_func("/unit/driver/identify/dc-paging", test_dc_paging);
	for (guint i = 0; i < G_N_ELEMENTS(bends); i++) {
		g_autofree char *path = g_strdup_printf("/unit/driver/identify/bent/%s",
							bends[i].name);

		g_test_add_data_func(path, &bends[i], test_bent);
	}
	return g_test_run();
}
