/* SPDX-License-Identifier: BSD-3-Clause */
/* What a pool says of itself, taken on its own thread, to be compared with what a host sees. */
#include "pool_fixture.h"

#include <sys/stat.h>

typedef struct StateCall {
	TestHost *host;
	PoolState *state;
} StateCall;

static void add_offer(const OfferInfo *info, void *opaque)
{
	PoolState *state = opaque;

	g_assert_cmpuint(state->n_offers, <, STATE_MAX);
	state->offers[state->n_offers++] = *info;
}

static void add_release(const ReleaseInfo *info, void *opaque)
{
	PoolState *state = opaque;

	g_assert_cmpuint(state->n_releases, <, STATE_MAX);
	state->releases[state->n_releases++] = *info;
}

static void assert_adds_up(const CapacityCounters *bytes)
{
	g_assert_cmpuint(bytes->total, ==,
			 bytes->free + bytes->reserved + bytes->accepted + bytes->draining +
				 bytes->quarantined);
}

static void take_state(Pool *pool, void *user_data)
{
	StateCall *call = user_data;
	PoolState *state = call->state;
	DcDevice *dc = pool_device_peek_dc(call->host->device);

	dc_device_counters(dc, &state->device);
	capacity_counters(pool_peek_capacity(pool), &state->pool);
	state->generation = dc_device_generation(dc);
	state->n_extents = dc_device_n_extents(dc);
	g_assert_cmpuint(state->n_extents, <=, STATE_MAX);
	dc_device_extents(dc, 0, state->extents, STATE_MAX);
	dc_device_foreach_offer(dc, add_offer, state);
	dc_device_foreach_release(dc, add_release, state);
	device_bar_read(pool_device_peek_endpoint(call->host->device), DEVICE_BAR_REGS,
			call->host->status, &state->event_status, sizeof(state->event_status));
}

void pool_state(TestHost *host, PoolState *ret)
{
	StateCall call = { host, ret };

	memset(ret, 0, sizeof(*ret));
	pool_call(host->pool, take_state, &call);
	assert_adds_up(&ret->device);
	assert_adds_up(&ret->pool);
}

static void assert_same_counters(const CapacityCounters *a, const CapacityCounters *b)
{
	g_assert_cmpuint(a->total, ==, b->total);
	g_assert_cmpuint(a->free, ==, b->free);
	g_assert_cmpuint(a->reserved, ==, b->reserved);
	g_assert_cmpuint(a->accepted, ==, b->accepted);
	g_assert_cmpuint(a->draining, ==, b->draining);
	g_assert_cmpuint(a->quarantined, ==, b->quarantined);
}

/* An answer that is being rolled back leaves its offer as it was, only not to be answered yet. */
static OfferState outward_state(const OfferInfo *offer)
{
	return offer->state == OFFER_ACCEPTING ? OFFER_OFFERED : offer->state;
}

void assert_same_state(const PoolState *a, const PoolState *b)
{
	assert_same_counters(&a->device, &b->device);
	assert_same_counters(&a->pool, &b->pool);
	g_assert_cmpuint(a->generation, ==, b->generation);
	g_assert_cmphex(a->event_status, ==, b->event_status);
	g_assert_cmpuint(a->n_extents, ==, b->n_extents);
	for (size_t i = 0; i < a->n_extents; i++) {
		g_assert_cmphex(a->extents[i].dpa, ==, b->extents[i].dpa);
		g_assert_cmphex(a->extents[i].len, ==, b->extents[i].len);
		g_assert_true(uuid_equal(&a->extents[i].tag, &b->extents[i].tag));
		g_assert_cmpuint(a->extents[i].order, ==, b->extents[i].order);
		g_assert_cmphex(a->extents[i].backend_offset, ==, b->extents[i].backend_offset);
	}
	g_assert_cmpuint(a->n_offers, ==, b->n_offers);
	for (unsigned i = 0; i < a->n_offers; i++) {
		g_assert_cmpuint(a->offers[i].id, ==, b->offers[i].id);
		g_assert_cmpint(outward_state(&a->offers[i]), ==, outward_state(&b->offers[i]));
		g_assert_cmpuint(a->offers[i].n_extents, ==, b->offers[i].n_extents);
	}
	g_assert_cmpuint(a->n_releases, ==, b->n_releases);
	for (unsigned i = 0; i < a->n_releases; i++)
		g_assert_cmpint(a->releases[i].state, ==, b->releases[i].state);
}

void assert_counters(TestHost *host, uint64_t reserved, uint64_t accepted, uint64_t draining,
		     uint64_t quarantined)
{
	PoolState state;

	pool_state(host, &state);
	g_assert_cmpuint(state.device.reserved, ==, reserved);
	g_assert_cmpuint(state.device.accepted, ==, accepted);
	g_assert_cmpuint(state.device.draining, ==, draining);
	g_assert_cmpuint(state.device.quarantined, ==, quarantined);
}

/* ---- a backend's file ---- */

typedef struct FileCall {
	const char *name;
	uint64_t offset;
	void *buf;
	size_t len;
	struct stat st;
	uint64_t incarnation;
} FileCall;

static void read_file(Pool *pool, void *user_data)
{
	FileCall *call = user_data;
	Backend *backend = capacity_peek_backend(pool_peek_capacity(pool), call->name);

	g_assert_nonnull(backend);
	g_assert_cmpint(
		mem_file_read(backend_peek_file(backend), call->offset, call->buf, call->len), ==,
		0);
}

void backend_read(Pool *pool, const char *name, uint64_t offset, void *buf, size_t len)
{
	FileCall call = { .name = name, .offset = offset, .buf = buf, .len = len };

	pool_call(pool, read_file, &call);
}

static void identify_file(Pool *pool, void *user_data)
{
	FileCall *call = user_data;
	Backend *backend = capacity_peek_backend(pool_peek_capacity(pool), call->name);

	g_assert_nonnull(backend);
	g_assert_cmpint(fstat(mem_file_peek_fd(backend_peek_file(backend)), &call->st), ==, 0);
	call->incarnation = backend_incarnation(backend);
}

void backend_identity(Pool *pool, const char *name, uint64_t *ret_ino, uint64_t *ret_incarnation)
{
	FileCall call = { .name = name };

	pool_call(pool, identify_file, &call);
	*ret_ino = call.st.st_ino;
	*ret_incarnation = call.incarnation;
}

bool is_filled(const void *buf, uint8_t byte, size_t len)
{
	const uint8_t *bytes = buf;

	return len == 0 || (bytes[0] == byte && memcmp(bytes, bytes + 1, len - 1) == 0);
}
