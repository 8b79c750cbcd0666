/* SPDX-License-Identifier: BSD-3-Clause */
/* Dynamic capacity end to end below the sockets: mailbox, event log and the real core. */
#include "cxl/device.h"
#include "device/device_regs.h"

#include <string.h>

#define MIB  (UINT64_C(1) << 20)
#define BASE (256 * MIB) /* of DC region 0 */

/* A pool with one device and a host side that does as it is told, at once or when asked to. */
typedef struct World {
	Capacity *cap;
	DcDevice *dc;
	DeviceRegs *regs;
	uint64_t now_us;
	bool hold_prepare;
	uint64_t held_req;
	unsigned n_irqs;
	uint64_t mailbox;
	uint8_t out[0x10000];
	uint32_t out_len;
} World;

static void host_prepare(void *opaque, uint64_t req, const DcMap *maps, size_t n)
{
	World *w = opaque;

	if (w->hold_prepare)
		w->held_req = req;
	else
		dc_device_effect_done(w->dc, req, true);
}

static void host_expose(void *opaque, uint64_t req, const uint64_t *map_ids, size_t n)
{
	dc_device_effect_done(((World *)opaque)->dc, req, true);
}

static void host_revoke(void *opaque, uint64_t req, const DcMapPart *parts, size_t n)
{
	dc_device_effect_done(((World *)opaque)->dc, req, true);
}

static void host_drop(void *opaque, uint64_t req, const uint64_t *map_ids, size_t n)
{
	dc_device_effect_done(((World *)opaque)->dc, req, true);
}

static bool log_reserve(void *opaque, uint32_t n)
{
	return device_regs_dc_log_reserve(((World *)opaque)->regs, n);
}

static void log_unreserve(void *opaque, uint32_t n)
{
	device_regs_dc_log_unreserve(((World *)opaque)->regs, n);
}

static void log_post(void *opaque, const DcEvent *event)
{
	device_regs_dc_log_post(((World *)opaque)->regs, event);
}

static void log_withdraw(void *opaque, uint64_t cookie)
{
	device_regs_dc_log_withdraw(((World *)opaque)->regs, cookie);
}

static void irq(void *opaque, unsigned vector)
{
	((World *)opaque)->n_irqs += vector == DEVICE_VECTOR_DC;
}

static uint64_t now_us(void *opaque)
{
	return ((World *)opaque)->now_us;
}

static World *world_new(void)
{
	static const CapacityOps capacity_ops = { .now_us = now_us };
	static const DcDeviceOps dc_ops = {
		.prepare = host_prepare,
		.expose = host_expose,
		.revoke = host_revoke,
		.drop = host_drop,
		.log_reserve = log_reserve,
		.log_unreserve = log_unreserve,
		.log_post = log_post,
		.log_withdraw = log_withdraw,
	};
	static const DeviceOps device_ops = { .irq = irq, .now_us = now_us };
	const DcRegionConfig regions[] = { { .len = 1024 * MIB, .block_size = 2 * MIB } };
	const DcDeviceConfig dc_config = {
		.name = "dev0",
		.static_len = BASE,
		.regions = regions,
		.n_regions = 1,
		.hold_off = true,
	};
	const DeviceConfig config = { .name = "dev0", .ram_len = BASE };
	const DcHost host = { .serial = 1, .same_uid = true, .max_maps = UINT32_MAX };
	World *w = g_new0(World, 1);
	g_autoptr(GError) error = NULL;

	w->now_us = 1;
	w->cap = capacity_new(&capacity_ops, w);
	w->dc = capacity_add_device(w->cap, &dc_config, &dc_ops, w, &error);
	g_assert_no_error(error);
	w->regs = device_regs_new(&config, w->dc, &device_ops, w, &error);
	g_assert_no_error(error);
	w->mailbox = device_regs_payload_offset(w->regs) - CXL_MBOX_PAYLOAD;
	dc_device_attach_host(w->dc, &host, NULL, 0);
	return w;
}

static void remove_backend(Backend *backend, void *opaque)
{
	*(const char **)opaque = backend_name(backend);
}

/* Everything ends free, whatever the test did: that is part of each test. */
static void world_free(World *w)
{
	g_autoptr(GError) error = NULL;

	device_regs_reset(w->regs, DEVICE_RESET_FORGET);
	dc_device_reset(w->dc, DC_RESET_FORGET);
	capacity_tick(w->cap);
	g_assert_true(capacity_remove_device(w->cap, w->dc, &error));
	g_assert_no_error(error);
	for (;;) {
		const char *name = NULL;

		capacity_foreach_backend(w->cap, remove_backend, &name);
		if (!name)
			break;
		backend_free(capacity_remove_backend(w->cap, name, &error));
		g_assert_no_error(error);
	}
	capacity_free(w->cap);
	device_regs_free(w->regs);
	g_free(w);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(World, world_free)

static uint64_t get(World *w, uint64_t offset)
{
	uint8_t bytes[8];

	g_assert_cmpint(device_regs_read(w->regs, w->mailbox + offset, bytes, 8), ==, 0);
	return le64_load(bytes);
}

static bool is_busy(World *w)
{
	return get(w, CXL_MBOX_CAPS) >> 32 & CXL_MBOX_CTRL_DOORBELL;
}

static void ring(World *w, uint16_t opcode, const void *in, uint32_t len)
{
	uint8_t bytes[8];

	device_regs_write(w->regs, w->mailbox + CXL_MBOX_PAYLOAD, in, len);
	le64_store(bytes, opcode | CXL_FIELD_PUT(CXL_MBOX_CMD_LEN, (uint64_t)len));
	device_regs_write(w->regs, w->mailbox + CXL_MBOX_CMD, bytes, 8);
	le32_store(bytes, CXL_MBOX_CTRL_DOORBELL);
	device_regs_write(w->regs, w->mailbox + CXL_MBOX_CTRL, bytes, 4);
}

static enum cxl_rc collect(World *w)
{
	g_assert_false(is_busy(w));
	w->out_len = (uint32_t)CXL_FIELD_GET(CXL_MBOX_CMD_LEN, get(w, CXL_MBOX_CMD));
	device_regs_read(w->regs, w->mailbox + CXL_MBOX_PAYLOAD, w->out, w->out_len);
	return (enum cxl_rc)CXL_FIELD_GET(CXL_MBOX_STATUS_RC, get(w, CXL_MBOX_STATUS));
}

static enum cxl_rc run(World *w, uint16_t opcode, const void *in, uint32_t len)
{
	ring(w, opcode, in, len);
	return collect(w);
}

#define assert_rc(got, want) g_assert_cmphex((got), ==, (want))

/* One 4802h or 4803h with N ranges of (dpa, len). */
static void ring_response(World *w, uint16_t opcode, const uint64_t (*ranges)[2], uint32_t n)
{
	uint8_t in[8 + 24 * 4] = { 0 };

	le32_store(in, n);
	for (uint32_t i = 0; i < n; i++) {
		le64_store(in + 8 + 24 * i, ranges[i][0]);
		le64_store(in + 16 + 24 * i, ranges[i][1]);
	}
	ring(w, opcode, in, 8 + 24 * n);
}

static enum cxl_rc respond(World *w, uint16_t opcode, uint64_t dpa, uint64_t len)
{
	ring_response(w, opcode, (const uint64_t[][2]){ { dpa, len } }, 1);
	return collect(w);
}

static const Uuid tag = { { 0x5b, 0xe1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 } };

static void offer(World *w, const OfferExtent *extents, size_t n)
{
	OfferRequest request = {
		.tag = tag,
		.policy = OFFER_PRESCRIPTIVE,
		.extents = extents,
		.n_extents = n,
	};
	BackendConfig config = { .name = "kv", .type = BACKEND_MEMFD, .tag = tag };
	g_autoptr(GError) error = NULL;
	uint64_t id;

	if (!capacity_peek_backend(w->cap, "kv")) {
		for (size_t i = 0; i < n; i++)
			config.size += extents[i].len;
		g_assert_true(capacity_add_backend(w->cap, backend_new(&config, &error), &error));
		g_assert_no_error(error);
	}
	g_assert_true(capacity_offer(w->cap, w->dc, &request, &id, &error));
	g_assert_no_error(error);
}

static void offer_two(World *w)
{
	offer(w, (const OfferExtent[]){ { 4 * MIB, 4 * MIB }, { 16 * MIB, 2 * MIB } }, 2);
}

/* Reads the whole DC log and clears it; returns how many records. */
static unsigned drain(World *w)
{
	uint8_t in[6 + 2 * 16] = { CXL_LOG_DC };
	unsigned n;

	assert_rc(run(w, 0x0100, in, 1), CXL_RC_SUCCESS);
	n = le16_load(w->out + 0x14);
	g_assert_cmpuint(n, <=, 16);
	in[2] = (uint8_t)n;
	for (unsigned i = 0; i < n; i++)
		memcpy(in + 6 + 2 * i, w->out + 0x20 + 0x80 * i + 0x14, 2);
	assert_rc(run(w, 0x0101, in, 6 + 2 * n), CXL_RC_SUCCESS);
	return n;
}

static uint32_t n_listed(World *w)
{
	const uint8_t in[8] = { 0xff };

	assert_rc(run(w, 0x4801, in, 8), CXL_RC_SUCCESS);
	return le32_load(w->out);
}

static void test_life(void)
{
	g_autoptr(World) w = world_new();
	const ReleaseRequest release = { .tag = tag };
	const uint64_t answer[][2] = { { BASE + 16 * MIB, 2 * MIB }, { BASE + 4 * MIB, 4 * MIB } };
	uint64_t id;

	assert_rc(run(w, 0x0103, "\1\1\1\1\1", 5), CXL_RC_SUCCESS);
	g_assert_cmpuint(n_listed(w), ==, 0);
	offer_two(w);
	g_assert_cmpuint(w->n_irqs, ==, 1);
	g_assert_cmpuint(n_listed(w), ==, 0); /* pending is not accepted */
	assert_rc(run(w, 0x0100, "\4", 1), CXL_RC_SUCCESS);
	g_assert_cmpuint(le16_load(w->out + 0x14), ==, 2);
	g_assert_cmphex(w->out[0x20 + 0x35], ==, CXL_EVENT_DC_MORE);
	g_assert_cmphex(w->out[0xa0 + 0x35], ==, 0);
	g_assert_cmphex(le64_load(w->out + 0x20 + 0x38), ==, BASE + 4 * MIB);
	g_assert_cmpmem(w->out + 0x20 + 0x48, 16, tag.b, 16);

	/* Linux answers before it clears, in an order of its own */
	ring_response(w, 0x4802, answer, 2);
	assert_rc(collect(w), CXL_RC_SUCCESS);
	g_assert_cmpuint(drain(w), ==, 2);
	g_assert_cmpuint(n_listed(w), ==, 2);
	g_assert_cmpmem(w->out + 16 + 16, 16, tag.b, 16);

	g_assert_true(capacity_release(w->cap, w->dc, &release, &id, NULL));
	g_assert_cmpuint(drain(w), >=, 1);
	assert_rc(respond(w, 0x4803, BASE + 4 * MIB, 4 * MIB), CXL_RC_SUCCESS);
	assert_rc(respond(w, 0x4803, BASE + 16 * MIB, 2 * MIB), CXL_RC_SUCCESS);
	g_assert_cmpuint(n_listed(w), ==, 0);
	g_assert_cmpuint(drain(w), ==, 0);
}

/* QEMU 11.1 died of this one. */
static void test_decline_nothing(void)
{
	g_autoptr(World) w = world_new();

	ring_response(w, 0x4802, NULL, 0);
	assert_rc(collect(w), CXL_RC_SUCCESS);
	offer_two(w);
	ring_response(w, 0x4802, NULL, 0);
	assert_rc(collect(w), CXL_RC_SUCCESS);
	g_assert_cmpuint(n_listed(w), ==, 0);
}

static void test_refusals(void)
{
	g_autoptr(World) w = world_new();
	static const struct {
		uint64_t dpa, len;
		enum cxl_rc add_rc, release_rc;
	} cases[] = {
		{ BASE + 4 * MIB, 0, 0x1e, 0x1e },
		{ BASE + 4 * MIB, 3 * MIB, 0x1e, 0x1e },
		{ BASE + 5 * MIB, 2 * MIB, 0x1e, 0x1e },
		{ BASE + 8 * MIB, 2 * MIB, 0x0f, 0x0f },
		{ BASE + 4 * MIB, 6 * MIB, 0x0f, 0x0f },
		{ 0, 2 * MIB, 0x0f, 0x0f },
		{ BASE + 1024 * MIB, 2 * MIB, 0x0f, 0x0f },
		{ BASE + 1022 * MIB, 4 * MIB, 0x0f, 0x0f },
		/* dpa + len wraps */
		{ BASE + 4 * MIB, -(2 * MIB), 0x1e, 0x1e },
		{ -(2 * MIB), 2 * MIB, 0x1e, 0x1e },
		{ -(2 * MIB), BASE + 6 * MIB, 0x1e, 0x1e },
		{ -(2 * MIB), 4 * MIB, 0x1e, 0x1e },
		{ UINT64_MAX, UINT64_MAX, 0x1e, 0x1e },
	};
	const uint64_t twice[][2] = { { BASE + 4 * MIB, 2 * MIB }, { BASE + 4 * MIB, 2 * MIB } };

	offer_two(w);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		enum cxl_rc rc = respond(w, 0x4802, cases[i].dpa, cases[i].len);

		assert_rc(rc, cases[i].add_rc);
	}
	ring_response(w, 0x4802, twice, 2);
	assert_rc(collect(w), CXL_RC_INVALID_EXTENT_LIST);
	g_assert_cmpuint(n_listed(w), ==, 0);

	/* after all that the offer still stands */
	assert_rc(respond(w, 0x4802, BASE + 4 * MIB, 4 * MIB), CXL_RC_SUCCESS);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
		assert_rc(respond(w, 0x4803, cases[i].dpa, cases[i].len), cases[i].release_rc);
	ring_response(w, 0x4803, twice, 2);
	assert_rc(collect(w), CXL_RC_INVALID_EXTENT_LIST);
	g_assert_cmpuint(n_listed(w), ==, 1);
}

/* A command that waits for the host side, and a reset while it does. */
static void test_reset_while_preparing(void)
{
	g_autoptr(World) w = world_new();

	offer_two(w);
	w->hold_prepare = true;
	ring_response(w, 0x4802, (const uint64_t[][2]){ { BASE + 4 * MIB, 4 * MIB } }, 1);
	g_assert_true(is_busy(w));
	device_regs_reset(w->regs, DEVICE_RESET_FLR);
	dc_device_reset(w->dc, DC_RESET_FLR);
	g_assert_false(is_busy(w));
	dc_device_effect_done(w->dc, w->held_req, true);
	w->hold_prepare = false;
	g_assert_false(is_busy(w));
	g_assert_cmpuint(n_listed(w), ==, 0);
	/* the offer is kept over an FLR */
	assert_rc(respond(w, 0x4802, BASE + 4 * MIB, 4 * MIB), CXL_RC_SUCCESS);
	g_assert_cmpuint(n_listed(w), ==, 1);
}

/* The host side never answers: the command still ends within its second. */
static void test_deadline(void)
{
	g_autoptr(World) w = world_new();

	offer_two(w);
	w->hold_prepare = true;
	ring_response(w, 0x4802, (const uint64_t[][2]){ { BASE + 4 * MIB, 4 * MIB } }, 1);
	g_assert_true(is_busy(w));
	g_assert_cmpuint(capacity_next_deadline_us(w->cap), <=, w->now_us + 1000000);
	w->now_us = capacity_next_deadline_us(w->cap);
	capacity_tick(w->cap);
	assert_rc(collect(w), CXL_RC_INTERNAL_ERROR);
	w->hold_prepare = false;
	g_assert_cmpuint(n_listed(w), ==, 0);
	dc_device_effect_done(w->dc, w->held_req, true);
}

/* After a conventional reset the log is empty, and the offer comes again once 4801h was read. */
static void test_offer_again_after_reset(void)
{
	g_autoptr(World) w = world_new();

	offer_two(w);
	assert_rc(run(w, 0x0100, "\4", 1), CXL_RC_SUCCESS);
	g_assert_cmpuint(le16_load(w->out + 0x14), ==, 2);
	device_regs_reset(w->regs, DEVICE_RESET_CONVENTIONAL);
	dc_device_reset(w->dc, DC_RESET_CONVENTIONAL);
	assert_rc(run(w, 0x0103, "\1\1\1\1\1", 5), CXL_RC_SUCCESS);
	g_assert_cmpuint(n_listed(w), ==, 0);
	w->now_us += 5000000;
	capacity_tick(w->cap);
	g_assert_cmpuint(drain(w), ==, 2);
	assert_rc(respond(w, 0x4802, BASE + 4 * MIB, 4 * MIB), CXL_RC_SUCCESS);
}

/* What was never read can be withdrawn; its room in the log is free again. */
static void test_withdraw(void)
{
	g_autoptr(World) w = world_new();

	for (unsigned i = 0; i < 5000; i++) {
		offer_two(w);
		g_assert_true(capacity_withdraw(w->cap, w->dc, 0, &tag, NULL));
	}
	g_assert_cmpuint(drain(w), ==, 0);
	assert_rc(respond(w, 0x4802, BASE + 4 * MIB, 4 * MIB), CXL_RC_INVALID_PA);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/device/dcd/life", test_life);
	g_test_add_func("/unit/device/dcd/decline-nothing", test_decline_nothing);
	g_test_add_func("/unit/device/dcd/refusals", test_refusals);
	g_test_add_func("/unit/device/dcd/reset-while-preparing", test_reset_while_preparing);
	g_test_add_func("/unit/device/dcd/deadline", test_deadline);
	g_test_add_func("/unit/device/dcd/offer-again-after-reset", test_offer_again_after_reset);
	g_test_add_func("/unit/device/dcd/withdraw", test_withdraw);
	return g_test_run();
}
