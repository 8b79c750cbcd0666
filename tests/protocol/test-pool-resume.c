/* SPDX-License-Identifier: BSD-3-Clause */
/* Sessions over a restart of the pool: what comes back, for whom, in which order, for how long. */
#include "pool_child.h"
#include "pool_life.h"

#include "cxl/pci.h"
#include "link/vfu_wire.h"
#include "mem_link_raw.h"
#include "pool/pool_trace.h"

#include <glib/gstdio.h>
#include <sys/eventfd.h>

#define DC_BASE   LIFE_RAM_LEN
#define TAG       1
#define N         4u
#define PCI_SPACE 7
#define HOST_TIME UINT64_C(1700000000000000000)

static const OfferExtent offered[N] = {
	{ 0, BLOCK }, { 2 * BLOCK, BLOCK }, { 4 * BLOCK, BLOCK }, { 6 * BLOCK, BLOCK }
};
static const DcRange accepted[N] = {
	{ DC_BASE, BLOCK },
	{ DC_BASE + 2 * BLOCK, BLOCK },
	{ DC_BASE + 4 * BLOCK, BLOCK },
	{ DC_BASE + 6 * BLOCK, BLOCK },
};

/* ---- a host that lives longer than the pool ---- */

static TestHost *host_of(PoolLife *life, int regs, int link)
{
	TestHost *host = test_host_on(regs, link, 3);

	host->pool = life->pool;
	host->device = life->device;
	return host;
}

static TestHost *first_host(PoolLife *life, bool with_link)
{
	int regs = pool_life_connect_regs(life);
	TestHost *host = host_of(life, regs, with_link ? pool_life_connect_link(life) : -1);

	pool_life_settle(life, host);
	return host;
}

static void write_byte(TestHost *host, uint64_t dpa, uint8_t byte)
{
	LinkMap *map = link_map_at(host->link, dpa);
	uint8_t *memory = link_map_memory(map, PROT_READ | PROT_WRITE);

	g_assert_true(memory != MAP_FAILED);
	memory[0] = byte;
	munmap(memory, map->len);
}

static uint8_t read_byte(TestHost *host, uint64_t dpa)
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

/* What is wiped or made anew before it is mapped takes its time. */
static void settle_for_maps(PoolLife *life, TestHost *host, unsigned n)
{
	gint64 give_up = g_get_monotonic_time() + WAIT_MS * (gint64)1000;

	for (;;) {
		pool_life_settle(life, host);
		if (link_n_exposed(host->link) >= n)
			break;
		g_assert_cmpint(g_get_monotonic_time(), <, give_up);
		g_usleep(500);
	}
	g_assert_cmpuint(link_n_exposed(host->link), ==, n);
}

/* Decoders, policies, clock, four accepted extents, all mapped and written to. */
static void fill(PoolLife *life, TestHost *host)
{
	uint8_t now[8], command[2] = { PCI_CMD_MEM | PCI_CMD_MASTER, 0 };

	host_commit_decoder(host, 0, WINDOW_HPA, LIFE_RAM_LEN);
	host_commit_decoder(host, 1, WINDOW_HPA + LIFE_RAM_LEN, REGION_LEN);
	g_assert_true(host_decoder_is_committed(host, 0) && host_decoder_is_committed(host, 1));
	g_assert_cmpint(vfu_client_write(host->vfu, PCI_SPACE, PCI_CFG_COMMAND, command, 2, false),
			==, 0);
	le64_store(now, HOST_TIME);
	g_assert_cmphex(
		mbox_call(host, CXL_OP_SET_EVENT_INT_POLICY, "\1\1\1\1\1", 5, NULL, 0, NULL), ==,
		0);
	g_assert_cmphex(mbox_call(host, CXL_OP_SET_TIMESTAMP, now, 8, NULL, 0, NULL), ==, 0);
	host_extents(host, NULL, 8, NULL);
	test_backend(life->pool, "held", TAG, N * BLOCK);
	test_offer(host, TAG, offered, N);
	pool_life_settle(life, host);
	pool_life_accept(life, host, accepted, N);
	pool_life_settle(life, host);
	if (!host->link)
		return;
	settle_for_maps(life, host, N + 1);
	write_byte(host, 0, 0x10);
	for (unsigned i = 0; i < N; i++)
		write_byte(host, accepted[i].dpa, (uint8_t)(0x20 + i));
}

/* The pool is gone; the host keeps what it has mapped, and its sockets are dead. */
static GArray *keep_maps(TestHost *host)
{
	GArray *maps = host->link->maps;

	host->link->maps = g_array_new(FALSE, FALSE, sizeof(LinkMap));
	return maps;
}

static GArray *list_held(const GArray *maps)
{
	GArray *held = g_array_new(FALSE, FALSE, sizeof(MemLinkHeld));

	for (guint i = 0; i < maps->len; i++) {
		const LinkMap *map = &g_array_index(maps, LinkMap, i);
		MemLinkHeld entry = { le64_put(map->id), le64_put(map->dpa), le64_put(map->len),
				      le64_put(map->incarnation) };

		g_array_append_val(held, entry);
	}
	return held;
}

/* The memory link again, with what MAPS says; owns them. */
static void relink(PoolLife *life, TestHost *host, GArray *maps, uint8_t session)
{
	g_autoptr(GArray) held = list_held(maps);
	int fd = pool_life_connect_link(life);

	g_assert_cmpint(fd, >=, 0);
	link_peer_free(host->link);
	host->link = link_peer_new(fd);
	host->link->session = session;
	g_array_unref(host->link->maps);
	host->link->maps = maps;
	link_peer_hello(host->link, (const MemLinkHeld *)(void *)held->data, held->len);
}

static void reconnect_regs(PoolLife *life, TestHost *host)
{
	int fd = pool_life_connect_regs(life);
	TestHost *fresh;

	g_assert_cmpint(fd, >=, 0);
	fresh = host_of(life, fd, -1);
	vfu_client_free(host->vfu);
	host->vfu = g_steal_pointer(&fresh->vfu);
	host->pool = life->pool;
	host->device = life->device;
	test_host_free(fresh);
}

static PoolDeviceInfo info_of(PoolLife *life);

static void check_resumed(PoolLife *life, TestHost *host)
{
	uint8_t command[2] = { 0 }, out[8];

	g_assert_true(host_decoder_is_committed(host, 0) && host_decoder_is_committed(host, 1));
	g_assert_cmpint(vfu_client_read(host->vfu, PCI_SPACE, PCI_CFG_COMMAND, command, 2), ==, 0);
	g_assert_cmphex(command[0], ==, PCI_CMD_MEM | PCI_CMD_MASTER);
	g_assert_cmphex(mbox_call(host, CXL_OP_GET_EVENT_INT_POLICY, NULL, 0, out, 5, NULL), ==, 0);
	g_assert_cmpmem(out, 5, "\x11\x11\x11\x11\x21", 5);
	g_assert_cmphex(mbox_call(host, CXL_OP_GET_TIMESTAMP, NULL, 0, out, 8, NULL), ==, 0);
	g_assert_cmpuint(le64_load(out), >, HOST_TIME);
	g_assert_cmpuint(le64_load(out), <, HOST_TIME + 600 * UINT64_C(1000000000));
	g_assert_cmpuint(host_extents(host, NULL, 8, NULL), ==, N);
	g_assert_true(info_of(life).resumed);
}

static void run_info(Pool *pool, void *user_data)
{
	void **call = user_data;

	pool_device_get_info(call[0], call[1]);
}

static PoolDeviceInfo info_of(PoolLife *life)
{
	PoolDeviceInfo info;
	void *call[] = { life->device, &info };

	pool_call(life->pool, run_info, call);
	return info;
}

static void wait_for_link(PoolLife *life, PoolLinkState state)
{
	gint64 give_up = g_get_monotonic_time() + WAIT_MS * (gint64)1000;

	while (info_of(life).link != state) {
		g_assert_cmpint(g_get_monotonic_time(), <, give_up);
		g_usleep(500);
	}
}

/* ---- the same session ---- */

/* Registers first, or the memory link first: all comes back, nothing is mapped anew. */
static void test_kept(gconstpointer link_first)
{
	g_autoptr(PoolLife) life = pool_life_new();
	g_autoptr(TestHost) host = first_host(life, true);
	GArray *maps;

	fill(life, host);
	g_assert_cmpint(info_of(life).link, ==, POOL_LINK_UP);
	pool_life_stop(life);
	maps = keep_maps(host);
	pool_life_start(life);
	g_assert_cmpint(info_of(life).link, ==, POOL_LINK_AWAITED);
	if (link_first) {
		relink(life, host, maps, 3);
		g_assert_cmpint(info_of(life).link, ==, POOL_LINK_AWAITED);
		reconnect_regs(life, host);
	} else {
		reconnect_regs(life, host);
		g_assert_cmpint(info_of(life).link, ==, POOL_LINK_LOST);
		relink(life, host, maps, 3);
	}
	g_assert_cmpint(info_of(life).link, ==, POOL_LINK_UP);
	pool_life_settle(life, host);
	check_resumed(life, host);
	g_assert_cmphex(le32_get(host->link->decoders[1].flags), ==, MEM_LINK_DECODER_COMMITTED);
	g_assert_cmpuint(le64_get(host->link->decoders[1].dpa), ==, DC_BASE);
	g_assert_cmphex(le32_get(host->link->decoders[2].flags), ==, 0);
	g_assert_cmpuint(host->link->n_seen[MEM_LINK_PREPARE], ==, 0);
	g_assert_cmpuint(host->link->n_seen[MEM_LINK_REVOKE], ==, 0);
	g_assert_cmpuint(link_n_exposed(host->link), ==, N + 1);
	g_assert_cmphex(read_byte(host, 0), ==, 0x10);
	/* And it goes on. */
	g_assert_cmphex(host_release(host, accepted, N), ==, CXL_RC_SUCCESS);
	pool_life_settle(life, host);
	g_assert_cmpuint(host_extents(host, NULL, 8, NULL), ==, 0);
	g_assert_cmpuint(link_n_exposed(host->link), ==, 1);
}

/* Map by map: one is held as it was, one is lost, one is of other contents, one nobody knows. */
static void test_reconciled(void)
{
	g_autoptr(PoolLife) life = pool_life_new();
	g_autoptr(TestHost) host = first_host(life, true);
	LinkMap stranger = { .id = 1 << 20,
			     .dpa = DC_BASE + 64 * BLOCK,
			     .len = BLOCK,
			     .incarnation = 5,
			     .exposed = true };
	GArray *maps;

	fill(life, host);
	pool_life_stop(life);
	maps = keep_maps(host);
	for (guint i = 0; i < maps->len; i++) {
		LinkMap *map = &g_array_index(maps, LinkMap, i);

		if (map->dpa == accepted[1].dpa)
			map->incarnation ^= 1;
		if (map->dpa == accepted[2].dpa) {
			close(map->fd);
			g_array_remove_index(maps, i--);
		}
	}
	stranger.fd = dup(STDIN_FILENO);
	g_array_append_val(maps, stranger);
	pool_life_start(life);
	reconnect_regs(life, host);
	relink(life, host, maps, 3);
	pool_life_settle(life, host);
	check_resumed(life, host);
	settle_for_maps(life, host, N + 1);
	for (unsigned i = 0; i < N; i++)
		g_assert_cmphex(read_byte(host, accepted[i].dpa), ==, 0x20 + i);
	g_assert_null(link_map_at(host->link, stranger.dpa));
	g_assert_cmphex(read_byte(host, 0), ==, 0x10);
}

static void test_control_only(void)
{
	g_autoptr(PoolLife) life = pool_life_new();
	g_autoptr(TestHost) host = first_host(life, false);

	fill(life, host);
	pool_life_stop(life);
	pool_life_start(life);
	reconnect_regs(life, host);
	g_assert_cmpint(info_of(life).link, ==, POOL_LINK_CONTROL_ONLY);
	check_resumed(life, host);
	g_assert_cmphex(host_release(host, accepted, N), ==, CXL_RC_SUCCESS);
}

/* Until its link is back, what it may have mapped is not taken for unmapped. */
static void test_release_before_link(void)
{
	g_autoptr(PoolLife) life = pool_life_new();
	g_autoptr(TestHost) host = first_host(life, true);
	GArray *maps;

	fill(life, host);
	pool_life_stop(life);
	maps = keep_maps(host);
	pool_life_start(life);
	reconnect_regs(life, host);
	g_assert_cmphex(host_release_one(host, accepted[0].dpa, BLOCK), ==, CXL_RC_SUCCESS);
	assert_counters(host, 0, (N - 1) * BLOCK, BLOCK, 0);
	relink(life, host, maps, 3);
	pool_life_settle(life, host);
	g_assert_null(link_map_at(host->link, accepted[0].dpa));
	host_drain(host);
	g_assert_cmpuint(link_n_exposed(host->link), ==, N);
}

/* The answer never came: the doorbell is clear, the status says that nobody knows, 4801h does. */
static void test_command_in_flight(void)
{
	g_autoptr(PoolLife) life = pool_life_new();
	g_autoptr(TestHost) host = first_host(life, true);
	CxlEventDc events[8];
	GArray *maps;

	host_commit_decoder(host, 0, WINDOW_HPA, LIFE_RAM_LEN);
	g_assert_cmphex(
		mbox_call(host, CXL_OP_SET_EVENT_INT_POLICY, "\1\1\1\1\1", 5, NULL, 0, NULL), ==,
		0);
	test_backend(life->pool, "held", TAG, N * BLOCK);
	test_offer(host, TAG, offered, N);
	pool_life_settle(life, host);
	g_assert_cmpuint(host_events(host, events, 8), ==, N);
	extents_start(host, CXL_OP_ADD_DC_RESPONSE, accepted, N, 0);
	link_message_free(link_expect(host->link, MEM_LINK_PREPARE));
	g_assert_true(mbox_is_busy(host));
	pool_life_stop(life);
	maps = keep_maps(host);
	pool_life_start(life);
	reconnect_regs(life, host);
	g_assert_false(mbox_is_busy(host));
	g_assert_cmphex(mbox_result(host, NULL, 0, NULL), ==, CXL_RC_ABORTED);
	relink(life, host, maps, 3);
	pool_life_settle(life, host);
	g_assert_cmpuint(host_extents(host, NULL, 8, NULL), ==, 0);
	/* It is offered again, under handles that the host has not seen. */
	pool_life_settle(life, host);
	g_assert_cmphex(host_clear_events(host, events, 1), ==, CXL_RC_INVALID_HANDLE);
	g_assert_cmpuint(host_events(host, events, 8), ==, N);
	pool_life_accept(life, host, accepted, N);
}

/* Interrupts of the time between are made up for as soon as there is where to send them. */
static void test_interrupts(void)
{
	g_autoptr(PoolLife) life = pool_life_new();
	g_autoptr(TestHost) host = first_host(life, false);
	int fds[3] = { -1, -1, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	struct pollfd state = { .fd = fds[2], .events = POLLIN };

	g_assert_cmphex(
		mbox_call(host, CXL_OP_SET_EVENT_INT_POLICY, "\1\1\1\1\1", 5, NULL, 0, NULL), ==,
		0);
	test_backend(life->pool, "held", TAG, N * BLOCK);
	test_offer(host, TAG, offered, N);
	pool_life_settle(life, NULL);
	pool_life_stop(life);
	pool_life_start(life);
	reconnect_regs(life, host);
	pool_life_settle(life, NULL);
	g_assert_cmpint(vfu_client_set_irqs(host->vfu, VFU_IRQ_MSIX, 0, fds, 3), ==, 0);
	g_assert_cmpint(poll(&state, 1, WAIT_MS), ==, 1);
	close(fds[2]);
}

/* ---- not the same session ---- */

static void check_reset(TestHost *host)
{
	uint8_t out[8];

	g_assert_false(host_decoder_is_committed(host, 0) || host_decoder_is_committed(host, 1));
	g_assert_cmphex(mbox_call(host, CXL_OP_GET_EVENT_INT_POLICY, NULL, 0, out, 5, NULL), ==, 0);
	g_assert_cmpmem(out, 5, "\x10\x10\x10\x10\x20", 5);
	g_assert_cmpuint(host_extents(host, NULL, 8, NULL), ==, N);
}

/* The process is the same, what it does is not: its memory link says so. */
static void test_new_session(void)
{
	g_autoptr(PoolLife) life = pool_life_new();
	g_autoptr(TestHost) host = first_host(life, true);
	g_autoptr(GArray) none = g_array_new(FALSE, FALSE, sizeof(LinkMap));
	GArray *maps;

	fill(life, host);
	pool_life_stop(life);
	maps = keep_maps(host);
	pool_life_start(life);
	/* Before its registers are there a session that is not known is not let in. */
	{
		int fd = pool_life_connect_link(life);
		LinkPeer *early = link_peer_new(fd);

		early->session = 4;
		g_assert_cmpint(link_peer_try_hello(early, NULL, 0), ==, MEM_LINK_WELCOME_REFUSED);
		link_peer_free(early);
		pool_barrier(life->pool);
	}
	reconnect_regs(life, host);
	relink(life, host, g_steal_pointer(&none), 4);
	pool_life_settle(life, host);
	check_reset(host);
	settle_for_maps(life, host, N + 1);
	g_assert_cmphex(read_byte(host, 0), ==, 0); /* fresh */
	for (unsigned i = 0; i < N; i++)
		g_assert_cmphex(read_byte(host, accepted[i].dpa), ==, 0x20 + i);
	for (guint i = 0; i < maps->len; i++)
		close(g_array_index(maps, LinkMap, i).fd);
	g_array_unref(maps);
}

/* Lives with the parent's first pool, or only asks. */
static void role_host(int control)
{
	TestHost *host = child_connect(control, false);

	reg_write(host, host->hdm + CXL_HDM_BASE_LO(0), WINDOW_HPA, 8);
	reg_write(host, host->hdm + CXL_HDM_SIZE_LO(0), LIFE_RAM_LEN, 8);
	reg_write(host, host->hdm + CXL_HDM_DEC_CTRL(0), CXL_HDM_DEC_COMMIT, 4);
	g_assert_true(host_decoder_is_committed(host, 0));
	child_tell(control, 'c');
	child_hear(control);
}

/* Its process has ended while nobody looked: the device is anybody's at once. */
static void test_host_gone(void)
{
	g_autoptr(PoolLife) life = pool_life_new();
	TestChild child = child_spawn("host");
	g_autoptr(TestHost) host = NULL;

	child_attach(&child, life->pool, life->device);
	g_assert_cmpint(child_hear(child.control), ==, 'c');
	pool_life_stop(life);
	child_end(&child, true);
	pool_life_start(life);
	g_assert_cmpint(info_of(life).link, ==, POOL_LINK_NONE);
	host = first_host(life, true);
	g_assert_false(host_decoder_is_committed(host, 0));
	g_assert_false(info_of(life).resumed);
}

/* The same, while the pool waits for it. */
static void test_host_goes(void)
{
	g_autoptr(PoolLife) life = pool_life_new();
	TestChild child = child_spawn("host");
	g_autoptr(TestHost) host = NULL;

	child_attach(&child, life->pool, life->device);
	g_assert_cmpint(child_hear(child.control), ==, 'c');
	pool_life_stop(life);
	pool_life_start(life);
	g_assert_cmpint(info_of(life).link, ==, POOL_LINK_AWAITED);
	/* It lives and has the first right: others are not let in. */
	{
		g_autoptr(GError) error = NULL;
		int fd = pool_life_connect_regs(life);

		g_assert_null(vfu_client_new(fd, WAIT_MS, &error));
	}
	child_end(&child, true);
	wait_for_link(life, POOL_LINK_NONE);
	host = first_host(life, true);
	g_assert_false(host_decoder_is_committed(host, 0));
}

static void test_timeout(void)
{
	g_autoptr(PoolLife) life = pool_life_new();
	g_autoptr(TestHost) host = first_host(life, true);
	GArray *maps;

	fill(life, host);
	pool_life_stop(life);
	maps = keep_maps(host);
	life->timeout_ms = 50;
	pool_life_start(life);
	/* A link alone is not enough. */
	relink(life, host, maps, 3);
	wait_for_link(life, POOL_LINK_NONE);
	g_assert_true(link_is_closed(host->link));
	maps = keep_maps(host);
	/* Also not after another restart. */
	pool_life_stop(life);
	life->timeout_ms = 0;
	pool_life_start(life);
	g_assert_cmpint(info_of(life).link, ==, POOL_LINK_NONE);
	reconnect_regs(life, host);
	check_reset(host);
	relink(life, host, maps, 3);
	settle_for_maps(life, host, N + 1);
	for (unsigned i = 0; i < N; i++)
		g_assert_cmphex(read_byte(host, accepted[i].dpa), ==, 0x20 + i);
}

/* A host that left is not waited for. */
static void test_left_before(void)
{
	g_autoptr(PoolLife) life = pool_life_new();
	TestHost *host = first_host(life, true);

	fill(life, host);
	test_host_free(host);
	wait_for_link(life, POOL_LINK_NONE);
	pool_life_stop(life);
	pool_life_start(life);
	g_assert_cmpint(info_of(life).link, ==, POOL_LINK_NONE);
}

/* ---- the file ---- */

/* Whatever is in it, the pool starts; and what is cut is not believed. */
static void test_file_damaged(void)
{
	static const struct {
		const char *text;
		long keep; /* bytes of the former contents, -1 = all */
		bool is_zeroed;
	} rows[] = { { "", 0, false },
		     { "junk", 0, false },
		     { NULL, 40, false },
		     { NULL, 400, false },
		     { NULL, -1, true } };

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(PoolLife) life = pool_life_new();
		g_autoptr(TestHost) host = first_host(life, false);
		g_autofree char *path = g_build_filename(life->dir, "dev0.session", NULL);
		g_autofree char *bytes = NULL;
		gsize len;

		host_commit_decoder(host, 0, WINDOW_HPA, LIFE_RAM_LEN);
		pool_life_stop(life);
		g_assert_true(g_file_get_contents(path, &bytes, &len, NULL));
		if (rows[i].keep >= 0)
			len = MIN(len, (gsize)rows[i].keep);
		/* Both places: the older one must not be taken for the newer one. */
		for (gsize k = 0; rows[i].is_zeroed && k < len; k += 65536)
			memset(bytes + k + 100, 0, MIN(len - k - 100, 100));
		g_assert_true(g_file_set_contents(path, rows[i].text ? rows[i].text : bytes,
						  rows[i].text ? -1 : (gssize)len, NULL));
		g_chmod(path, 0600);
		pool_life_start(life);
		g_assert_cmpint(info_of(life).link, ==, POOL_LINK_NONE);
		reconnect_regs(life, host);
		g_assert_false(host_decoder_is_committed(host, 0));
	}
}

#define P "/protocol/pool/resume/"

int main(int argc, char **argv)
{
	static const TestRole roles[] = { { "host", role_host } };

	child_main(argc, argv, roles, G_N_ELEMENTS(roles));
	g_test_init(&argc, &argv, NULL);
	g_test_add_data_func(P "kept/registers-first", GINT_TO_POINTER(0), test_kept);
	g_test_add_data_func(P "kept/link-first", GINT_TO_POINTER(1), test_kept);
	g_test_add_func(P "reconciled", test_reconciled);
	g_test_add_func(P "control-only", test_control_only);
	g_test_add_func(P "release-before-link", test_release_before_link);
	g_test_add_func(P "command-in-flight", test_command_in_flight);
	g_test_add_func(P "interrupts", test_interrupts);
	g_test_add_func(P "new-session", test_new_session);
	g_test_add_func(P "host-gone", test_host_gone);
	g_test_add_func(P "host-goes", test_host_goes);
	g_test_add_func(P "timeout", test_timeout);
	g_test_add_func(P "left-before", test_left_before);
	g_test_add_func(P "file-damaged", test_file_damaged);
	return g_test_run();
}
