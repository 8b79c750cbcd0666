/* SPDX-License-Identifier: BSD-3-Clause */
/* Resets row by row, sessions that end, resume and change hands between processes. */
#include "pool_child.h"

#include "cxl/pci.h"
#include "mem_link_raw.h"

#define RAM_LEN   (256 * MIB)
#define DC_BASE   RAM_LEN /* of region 0 */
#define HELD      1       /* tag of what is accepted */
#define PENDING   2       /* tag of what is offered */
#define N         4u
#define SIZE      (N * BLOCK)
#define PCI_SPACE 7

static const OfferExtent offered[N] = {
	{ 0, BLOCK }, { 2 * BLOCK, BLOCK }, { 4 * BLOCK, BLOCK }, { 6 * BLOCK, BLOCK }
};
static const DcRange accepted[N] = {
	{ DC_BASE, BLOCK },
	{ DC_BASE + 2 * BLOCK, BLOCK },
	{ DC_BASE + 4 * BLOCK, BLOCK },
	{ DC_BASE + 6 * BLOCK, BLOCK },
};
static const DcRange pending = { DC_BASE + 32 * BLOCK, BLOCK };

static PoolDevice *make_device(Pool *pool, const char *name)
{
	DcRegionConfig region = { .len = REGION_LEN, .block_size = BLOCK };
	PoolDeviceConfig config = {
		.name = name,
		.ram_len = RAM_LEN,
		.regions = &region,
		.n_regions = 1,
		.hold_off = true,
	};
	PoolDevice *device = test_device_with(pool, &config);

	test_backend(pool, "held", HELD, SIZE);
	test_backend(pool, "pending", PENDING, BLOCK);
	return device;
}

static void offer_pending(TestHost *view)
{
	test_offer_one(view, PENDING, pending.dpa - DC_BASE, BLOCK);
}

/* Decoders over ram and region, four extents accepted, one offer delivered, ram in use. */
static void fill_session(TestHost *host)
{
	host_settle(host);
	host_commit_decoder(host, 0, WINDOW_HPA, RAM_LEN);
	host_commit_decoder(host, 1, WINDOW_HPA + RAM_LEN, REGION_LEN);
	g_assert_true(host_decoder_is_committed(host, 0) && host_decoder_is_committed(host, 1));
	test_offer(host, HELD, offered, N);
	g_assert_cmphex(host_accept(host, accepted, N), ==, CXL_RC_SUCCESS);
	offer_pending(host);
	g_assert_cmpuint(link_n_exposed(host->link), ==, N + 1);
}

static void scribble(TestHost *host, uint64_t dpa, uint8_t byte)
{
	LinkMap *map = link_map_at(host->link, dpa);
	uint8_t *memory = link_map_memory(map, PROT_READ | PROT_WRITE);

	g_assert_true(memory != MAP_FAILED);
	memset(memory, byte, 4096);
	munmap(memory, map->len);
}

static uint8_t first_byte(TestHost *host, uint64_t dpa)
{
	LinkMap *map = link_map_at(host->link, dpa);
	uint8_t *memory, byte;

	g_assert_nonnull(map);
	memory = link_map_memory(map, PROT_READ);
	g_assert_true(memory != MAP_FAILED);
	byte = memory[0];
	munmap(memory, map->len);
	return byte;
}

static void function_level_reset(TestHost *host)
{
	uint8_t at = 0, id = 0, buf[2];

	vfu_client_read(host->vfu, PCI_SPACE, PCI_CFG_CAP_PTR, &at, 1);
	while (at != 0) {
		vfu_client_read(host->vfu, PCI_SPACE, at, &id, 1);
		if (id == PCI_CAP_PCIE)
			break;
		vfu_client_read(host->vfu, PCI_SPACE, at + 1u, &at, 1);
	}
	g_assert_cmpuint(at, !=, 0);
	le16_store(buf, (uint16_t)PCI_PCIE_DEVCTL_FLR);
	g_assert_cmpint(vfu_client_write(host->vfu, PCI_SPACE, at + PCI_PCIE_DEVCTL, buf, 2, false),
			==, 0);
}

/* 4802h with More: collected, to be forgotten by every kind of reset. */
static void collect_part(TestHost *host)
{
	extents_start(host, CXL_OP_ADD_DC_RESPONSE, &pending, 1, CXL_DC_RESPONSE_MORE);
	g_assert_cmphex(mbox_wait(host), ==, CXL_RC_SUCCESS);
}

/* ---- resets ---- */

static void test_flr(void)
{
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(TestHost) host = test_host(pool, make_device(pool, "dev0"), LINK_RAW);
	PoolState before, after;
	unsigned n_revokes;

	fill_session(host);
	scribble(host, 0, 0x11);
	collect_part(host);
	pool_state(host, &before);
	n_revokes = host->link->n_seen[MEM_LINK_REVOKE];
	function_level_reset(host);
	host_settle(host);
	pool_state(host, &after);
	assert_same_state(&before, &after);
	g_assert_true(host_decoder_is_committed(host, 0) && host_decoder_is_committed(host, 1));
	g_assert_cmpuint(host->link->n_seen[MEM_LINK_REVOKE], ==, n_revokes);
	g_assert_cmpuint(link_n_exposed(host->link), ==, N + 1);
	g_assert_cmphex(first_byte(host, 0), ==, 0x11);
	/* The collected part is gone, or this would name the same range twice. */
	g_assert_cmphex(host_accept(host, &pending, 1), ==, CXL_RC_SUCCESS);
}

static void test_flr_in_flight(void)
{
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(TestHost) host = test_host(pool, make_device(pool, "dev0"), LINK_RAW);
	g_autoptr(LinkMessage) prepare = NULL;
	PoolState before, after;

	fill_session(host);
	pool_state(host, &before);
	extents_start(host, CXL_OP_ADD_DC_RESPONSE, &pending, 1, 0);
	prepare = link_expect(host->link, MEM_LINK_PREPARE);
	function_level_reset(host);
	g_assert_false(mbox_is_busy(host));
	g_assert_cmphex(reg_read(host, host->mbox + CXL_MBOX_STATUS, 8), ==, 0);
	g_assert_cmphex(host_accept(host, &pending, 1), ==, CXL_RC_RETRY_REQUIRED);
	link_apply(host->link, prepare);
	link_answer(host->link, prepare, MEM_LINK_OK);
	link_oblige(host->link, MEM_LINK_DROP);
	host_settle(host);
	pool_state(host, &after);
	assert_same_state(&before, &after);
	g_assert_cmphex(host_accept(host, &pending, 1), ==, CXL_RC_SUCCESS);
}

static void test_conventional(void)
{
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(TestHost) host = test_host(pool, make_device(pool, "dev0"), LINK_RAW);
	PoolState before, after;
	CxlEventDc events[8];

	fill_session(host);
	scribble(host, 0, 0x22);
	scribble(host, accepted[1].dpa, 0x23);
	collect_part(host);
	pool_state(host, &before);
	g_assert_cmphex(before.event_status, ==, CXL_DEV_EVENT_STATUS_DC);
	g_assert_cmpint(vfu_client_reset(host->vfu), ==, 0);
	host_settle(host);
	g_assert_false(host_decoder_is_committed(host, 0) || host_decoder_is_committed(host, 1));
	/* Under no decoder nothing is reachable, whatever is mapped. */
	for (unsigned i = 0; i < 2; i++)
		g_assert_cmphex(le32_get(host->link->decoders[i].flags), ==, 0);
	pool_state(host, &after);
	g_assert_cmpuint(after.generation, ==, before.generation);
	g_assert_cmpuint(after.n_extents, ==, N);
	g_assert_cmpuint(after.device.reserved, ==, BLOCK);
	g_assert_cmphex(after.event_status, ==, 0);
	g_assert_cmpint(after.offers[0].state, ==, OFFER_QUEUED);
	/* Not offered now: it may not be accepted. */
	g_assert_cmphex(host_accept(host, &pending, 1), ==, CXL_RC_INVALID_PA);
	g_assert_cmpuint(host_extents(host, NULL, 8, NULL), ==, N);
	g_assert_cmpuint(host_events(host, events, 8), ==, 1);
	g_assert_cmphex(le64_get(events[0].extent.dpa), ==, pending.dpa);
	g_assert_cmphex(host_accept(host, &pending, 1), ==, CXL_RC_SUCCESS);
	g_assert_cmphex(first_byte(host, 0), ==, 0x22);
	g_assert_cmphex(first_byte(host, accepted[1].dpa), ==, 0x23);
	host_commit_decoder(host, 0, WINDOW_HPA, RAM_LEN);
	g_assert_true(host_decoder_is_committed(host, 0));
}

/* ---- two processes, one device ---- */

/* Accepts, uses, tells, then does what it is told: 'x' end the session and stay, else die. */
static void role_first_tenant(int control)
{
	TestHost *host = child_connect(control, true);

	link_peer_run(host->link, 0);
	child_tell(control, 'c');
	g_assert_cmpint(child_hear(control), ==, 'a');
	g_assert_cmphex(host_accept(host, accepted, N), ==, CXL_RC_SUCCESS);
	link_peer_stop(host->link);
	scribble(host, accepted[2].dpa, 0x77);
	scribble(host, 0, 0x78);
	child_tell(control, 'u');
	if (child_hear(control) == 'x') {
		/* Its mappings live on in what it was given. */
		vfu_client_free(host->vfu);
		child_tell(control, 'e');
		child_hear(control);
	}
}

static TestChild first_tenant(Pool *pool, PoolDevice *device)
{
	TestChild child = child_spawn("first-tenant");
	TestHost view = { .pool = pool, .device = device };

	child_attach(&child, pool, device);
	g_assert_cmpint(child_hear(child.control), ==, 'c');
	test_offer(&view, HELD, offered, N);
	child_tell(child.control, 'a');
	g_assert_cmpint(child_hear(child.control), ==, 'u');
	test_offer_one(&view, PENDING, pending.dpa - DC_BASE, BLOCK);
	return child;
}

/* A host connects as soon as the one before it is gone, which takes the pool a moment to see. */
static void wait_until_free(Pool *pool, PoolDevice *device)
{
	gint64 give_up = g_get_monotonic_time() + WAIT_MS * (gint64)1000;

	for (;;) {
		g_autoptr(GError) error = NULL;
		int probe[2];

		g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, probe), ==, 0);
		close(probe[1]);
		if (pool_attach_host(pool, device, probe[0], -1, &error))
			break;
		g_assert_cmpint(g_get_monotonic_time(), <, give_up);
		g_usleep(500);
	}
	/* The probe's own end has to be seen too. */
	for (unsigned i = 0; i < 4; i++)
		pool_barrier(pool);
}

static TestHost *next_host(Pool *pool, PoolDevice *device)
{
	wait_until_free(pool, device);
	return test_host(pool, device, LINK_RAW);
}

static void settle_for_maps(TestHost *host, unsigned n)
{
	gint64 give_up = g_get_monotonic_time() + WAIT_MS * (gint64)1000;

	while (link_n_exposed(host->link) < n) {
		g_assert_cmpint(g_get_monotonic_time(), <, give_up);
		host_settle(host);
		g_usleep(200);
	}
}

static void check_second_tenant(TestHost *second, uint32_t generation)
{
	CxlDcExtent extents[8];
	Uuid tag = test_tag(HELD);
	CxlEventDc events[8];
	uint32_t now;

	g_assert_cmphex(host_accept(second, &pending, 1), ==, CXL_RC_INVALID_PA);
	g_assert_cmpuint(host_extents(second, extents, 8, &now), ==, N);
	g_assert_cmpuint(now, ==, generation);
	for (unsigned i = 0; i < N; i++) {
		g_assert_cmphex(le64_get(extents[i].dpa), ==, accepted[i].dpa);
		g_assert_cmpmem(extents[i].tag, 16, tag.b, 16);
	}
	g_assert_cmpuint(host_events(second, events, 8), ==, 1);
	g_assert_cmphex(le64_get(events[0].extent.dpa), ==, pending.dpa);
	/* Accepted memory keeps its contents, the device's own ram does not. */
	settle_for_maps(second, N + 1);
	g_assert_cmphex(first_byte(second, accepted[2].dpa), ==, 0x77);
	g_assert_cmphex(first_byte(second, 0), ==, 0);
	g_assert_cmphex(host_release(second, accepted, N), ==, CXL_RC_SUCCESS);
	host_drain(second);
}

static void test_first_dies(void)
{
	g_autoptr(Pool) pool = test_pool();
	PoolDevice *device = make_device(pool, "dev0");
	TestHost view = { .pool = pool, .device = device };
	TestChild child = first_tenant(pool, device);
	g_autoptr(TestHost) second = NULL;
	PoolState before;

	/* The registers' place is not known to VIEW; what it reads there does not matter. */
	pool_state(&view, &before);
	child_end(&child, true);
	second = next_host(pool, device);
	check_second_tenant(second, before.generation);
}

/* It gave up the device and not its mappings: the next host is not let in to what it may reach. */
static void test_first_stays(void)
{
	g_autoptr(Pool) pool = test_pool();
	PoolDevice *device = make_device(pool, "dev0");
	TestHost view = { .pool = pool, .device = device };
	TestChild child = first_tenant(pool, device);
	g_autoptr(TestHost) second = NULL;
	PoolState before;

	pool_state(&view, &before);
	child_tell(child.control, 'x');
	g_assert_cmpint(child_hear(child.control), ==, 'e');
	second = next_host(pool, device);
	settle_for_maps(second, 1); /* ram of its own */
	g_usleep(20000);
	host_settle(second);
	g_assert_cmpuint(link_n_exposed(second->link), ==, 1);
	g_assert_cmpuint(host_extents(second, NULL, 8, NULL), ==, N);
	/* 4801h was its first; the offer is there again, but not for the check below. */
	g_assert_cmphex(mbox_call(second, CXL_OP_ADD_DC_RESPONSE,
				  &(CxlDcResponseHeader){ .n_extents = le32_put(0) },
				  sizeof(CxlDcResponseHeader), NULL, 0, NULL),
			==, CXL_RC_SUCCESS);
	child_end(&child, true);
	settle_for_maps(second, N + 1);
	g_assert_cmphex(first_byte(second, accepted[2].dpa), ==, 0x77);
	g_assert_cmphex(first_byte(second, 0), ==, 0);
}

/* A process may have one session after another; only the same one finds its ram again. */
static void test_one_process(void)
{
	static const struct {
		uint8_t session, sees;
	} rows[] = { { 1, 0 }, { 1, 0x55 }, { 2, 0 }, { 2, 0x55 }, { 1, 0 } };
	g_autoptr(Pool) pool = test_pool();
	PoolDevice *device = make_device(pool, "dev0");
	DcRange first = accepted[0];

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		TestHost *host;

		wait_until_free(pool, device);
		host = test_host_session(pool, device, rows[i].session);
		settle_for_maps(host, i == 0 ? 1 : 2);
		g_assert_cmphex(first_byte(host, 0), ==, rows[i].sees);
		scribble(host, 0, 0x55);
		if (i == 0) {
			test_offer(host, HELD, offered, 1);
			g_assert_cmphex(host_accept(host, &first, 1), ==, CXL_RC_SUCCESS);
			scribble(host, first.dpa, 0x56);
		}
		/* What is accepted stays whoever comes. */
		g_assert_cmphex(first_byte(host, first.dpa), ==, 0x56);
		test_host_free(host);
	}
}

/* ---- the mailbox's payload ---- */

/* Sees what the page shows after its session has ended. */
static void test_former_payload(void)
{
	g_autoptr(Pool) pool = test_pool();
	PoolDevice *device = test_device(pool, "dev0");
	TestHost *former = test_host(pool, device, LINK_NONE);
	uint8_t *mapped, *kept, byte, *fresh;
	CxlEventDc events[4];
	TestHost *next;

	mapped = vfu_client_peek_mapped(former->vfu, DEVICE_BAR_REGS, former->payload,
					former->payload_len);
	g_assert_nonnull(mapped);
	kept = mremap(mapped, 0, former->payload_len, MREMAP_MAYMOVE); /* a second mapping */
	g_assert_true(kept != MAP_FAILED);
	memset(kept, 0xab, former->payload_len);
	g_assert_cmphex(mapped[100], ==, 0xab);
	test_host_free(former);
	next = next_host(pool, device);
	fresh = vfu_client_peek_mapped(next->vfu, DEVICE_BAR_REGS, next->payload,
				       next->payload_len);
	g_assert_true(is_filled(fresh, 0, next->payload_len));
	test_backend(pool, "mem", HELD, BLOCK);
	test_offer_one(next, HELD, 0, BLOCK);
	g_assert_cmpuint(host_events(next, events, 4), ==, 1);
	g_assert_cmphex(host_accept_one(next, 0, BLOCK), ==, CXL_RC_SUCCESS);
	g_assert_true(is_filled(kept, 0xab, next->payload_len));
	memset(kept, 0xcd, next->payload_len);
	vfu_client_read(next->vfu, DEVICE_BAR_REGS, next->payload + 8, &byte, 1);
	g_assert_cmphex(byte, !=, 0xcd);
	munmap(kept, next->payload_len);
	test_host_free(next);
}

/* ---- resuming the link ---- */

static MemLinkHeld held_of(const LinkMap *map)
{
	return (MemLinkHeld){ le64_put(map->id), le64_put(map->dpa), le64_put(map->len),
			      le64_put(map->incarnation) };
}

/* Of four maps it kept one as it was, one of another content; and one that nobody knows. */
static void test_resume(void)
{
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(TestHost) host = test_host(pool, test_device(pool, "dev0"), LINK_RAW);
	g_autoptr(LinkMessage) revoke = NULL;
	const MemLinkRevokeEntry *gone;
	DcRange ranges[N];
	MemLinkHeld held[3];
	LinkMap kept;

	test_backend(pool, "held", HELD, SIZE);
	for (unsigned i = 0; i < N; i++)
		ranges[i] = (DcRange){ offered[i].offset, BLOCK };
	test_offer(host, HELD, offered, N);
	g_assert_cmphex(host_accept(host, ranges, N), ==, CXL_RC_SUCCESS);
	kept = *link_map_at(host->link, ranges[0].dpa);
	kept.fd = dup(kept.fd);
	held[0] = held_of(&kept);
	held[1] = held_of(link_map_at(host->link, ranges[1].dpa));
	held[1].incarnation = le64_put(le64_get(held[1].incarnation) ^ 1);
	held[2] = (MemLinkHeld){ le64_put(1u << 20), le64_put(100 * BLOCK), le64_put(BLOCK),
				 le64_put(5) };
	test_host_unlink(host);
	assert_counters(host, 0, SIZE, 0, 0);
	test_host_relink(host, held, 3);
	revoke = link_expect(host->link, MEM_LINK_REVOKE);
	g_assert_cmpuint(revoke->count, ==, 2);
	gone = (const void *)(&revoke->header + 1);
	for (unsigned i = 0; i < 2; i++)
		g_assert_cmpuint(le64_get(gone[i].map_id), !=, kept.id);
	pool_barrier(pool);
	link_expect_silence(host->link); /* not before the old ones are confirmed gone */
	link_answer(host->link, revoke, MEM_LINK_OK);
	g_array_append_val(host->link->maps, kept);
	host_settle(host);
	g_assert_cmpuint(link_n_exposed(host->link), ==, N);
	for (unsigned i = 0; i < N; i++)
		g_assert_nonnull(link_map_at(host->link, ranges[i].dpa));
	g_assert_cmpuint(link_map_at(host->link, ranges[0].dpa)->id, ==, kept.id);
	g_assert_cmphex(host_release(host, ranges, N), ==, CXL_RC_SUCCESS);
	host_drain(host);
	g_assert_cmpuint(host->link->maps->len, ==, 0);
}

/* The same, with ways of holding that cannot be true. */
static void test_resume_nonsense(void)
{
	const MemLinkHeld lies[] = {
		{ le64_put(1), le64_put(0), le64_put(256 * MIB), le64_put(1) },
		{ le64_put(1), le64_put(0), le64_put(4096), le64_put(1) },
		{ le64_put(2), le64_put(UINT64_MAX << 13), le64_put(4096), le64_put(0) },
		{ le64_put(2), le64_put(UINT64_MAX << 13), le64_put(4096), le64_put(0) },
	};
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(TestHost) host = test_host(pool, test_device(pool, "dev0"), LINK_RAW);
	unsigned n_parts = 0;

	test_backend(pool, "mem", HELD, BLOCK);
	test_offer_one(host, HELD, 0, BLOCK);
	g_assert_cmphex(host_accept_one(host, 0, BLOCK), ==, CXL_RC_SUCCESS);
	test_host_unlink(host);
	test_host_relink(host, lies, G_N_ELEMENTS(lies));
	{
		g_autoptr(LinkMessage) revoke = link_expect(host->link, MEM_LINK_REVOKE);

		n_parts = revoke->count;
		link_answer(host->link, revoke, MEM_LINK_OK);
	}
	g_assert_cmpuint(n_parts, >, 0);
	for (;;) {
		g_autoptr(LinkMessage) message = link_take(host->link, 100);

		if (message == NULL)
			break;
		if (message->type != MEM_LINK_REVOKE)
			link_apply(host->link, message);
		link_answer(host->link, message, MEM_LINK_OK);
	}
	g_assert_cmpuint(link_n_exposed(host->link), ==, 1);
	assert_counters(host, 0, BLOCK, 0, 0);
	g_assert_cmphex(host_release_one(host, 0, BLOCK), ==, CXL_RC_SUCCESS);
}

/* A process that does not hold the registers; it says hello on a socket of its own. */
static void role_stranger(int control)
{
	struct iovec iov = { .iov_base = (void *)"F", .iov_len = 1 };
	LinkPeer *peer;
	int pair[2];

	raw_pair(pair);
	g_assert_cmpint(fdpass_send(control, &iov, 1, pair, 1, 0), ==, 1);
	close(pair[0]);
	peer = link_peer_new(pair[1]);
	g_assert_cmpint(link_peer_try_hello(peer, NULL, 0), ==, MEM_LINK_WELCOME_REFUSED);
	while (!link_is_closed(peer))
		g_usleep(100);
	link_peer_free(peer);
	child_tell(control, 'r');
}

static void test_stranger(void)
{
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(TestHost) host = test_host(pool, test_device(pool, "dev0"), LINK_NONE);
	TestChild child = child_spawn("stranger");
	g_autoptr(GError) error = NULL;
	int fd, pair[2];

	g_assert_cmpuint(child_take_fds(&child, &fd, 1), ==, 1);
	pool_attach_host(pool, host->device, -1, fd, &error);
	g_assert_no_error(error);
	g_assert_cmpint(child_hear(child.control), ==, 'r');
	child_end(&child, false);
	/* The rightful host is not kept out by that. */
	test_host_relink(host, NULL, 0);
	/* A second link is. */
	raw_pair(pair);
	g_assert_false(pool_attach_host(pool, host->device, -1, pair[0], &error));
	g_assert_error(error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY);
	close(pair[1]);
}

#define P "/protocol/pool/sessions/"

int main(int argc, char **argv)
{
	static const TestRole roles[] = {
		{ "first-tenant", role_first_tenant },
		{ "stranger", role_stranger },
	};

	child_main(argc, argv, roles, G_N_ELEMENTS(roles));
	g_test_init(&argc, &argv, NULL);
	g_test_add_func(P "flr", test_flr);
	g_test_add_func(P "flr-in-flight", test_flr_in_flight);
	g_test_add_func(P "conventional-reset", test_conventional);
	g_test_add_func(P "first-dies", test_first_dies);
	g_test_add_func(P "first-stays", test_first_stays);
	g_test_add_func(P "one-process", test_one_process);
	g_test_add_func(P "former-payload", test_former_payload);
	g_test_add_func(P "resume", test_resume);
	g_test_add_func(P "resume-nonsense", test_resume_nonsense);
	g_test_add_func(P "stranger", test_stranger);
	return g_test_run();
}
