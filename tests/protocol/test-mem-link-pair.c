/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory link server and client together: real files, mapped by the client, seen from both ends. */
#include "link/mem_link_client.h"
#include "link/mem_link_server.h"
#include "mem_link_raw.h"

#define WINDOW_PAGES 4096u
#define N_ROUNDS     1000u

/* A window in this process: DPA is the offset. A map is mapped aside first, then moved over it. */
typedef struct Host {
	uint8_t *window;
	GHashTable *maps; /* id -> MemLinkClientMap; the client's thread only */
	GHashTable *exposed;
	bool closed;
} Host;

static int host_prepare(void *opaque, const MemLinkClientMap *map)
{
	Host *host = opaque;

	if (map->dpa + map->len > WINDOW_PAGES * PAGE)
		return -ERANGE;
	g_hash_table_insert(host->maps, GUINT_TO_POINTER(map->id), g_memdup2(map, sizeof(*map)));
	return 0;
}

static int host_expose(void *opaque, const uint64_t *ids, size_t n)
{
	Host *host = opaque;

	for (size_t i = 0; i < n; i++) {
		MemLinkClientMap *map = g_hash_table_lookup(host->maps, GUINT_TO_POINTER(ids[i]));
		void *hva = mmap(host->window + map->dpa, map->len,
				 PROT_READ | (map->writable ? PROT_WRITE : 0),
				 MAP_SHARED | MAP_FIXED, map->fd, (off_t)map->offset);

		if (hva == MAP_FAILED)
			return -errno;
	}
	return 0;
}

static int host_revoke(void *opaque, uint64_t id, uint64_t dpa, uint64_t len)
{
	Host *host = opaque;
	void *hva = mmap(host->window + dpa, len, PROT_READ,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	g_assert_true(g_hash_table_contains(host->maps, GUINT_TO_POINTER(id)));
	return hva == MAP_FAILED ? -errno : 0;
}

static int host_drop(void *opaque, uint64_t id)
{
	Host *host = opaque;
	MemLinkClientMap *map = g_hash_table_lookup(host->maps, GUINT_TO_POINTER(id));

	host_revoke(host, id, map->dpa, map->len);
	close(map->fd);
	g_hash_table_remove(host->maps, GUINT_TO_POINTER(id));
	return 0;
}

static int host_decoder(void *opaque, const MemLinkClientDecoder *decoder)
{
	return decoder->index == 0 ? 0 : -EINVAL;
}

static void host_closed(void *opaque)
{
	((Host *)opaque)->closed = true;
}

static const MemLinkClientOps host_ops = { host_prepare, host_expose,  host_revoke,
					   host_drop,    host_decoder, host_closed };

/* The server's side; this thread iterates its context. */
typedef struct Pair {
	MemLinkServer *server;
	MemLinkClient *client;
	Host host;
	unsigned n_held, n_closed;
	uint64_t reads, writes; /* missed */
	uint64_t last_req;
	unsigned n_done;
	bool last_ok;
} Pair;

static bool on_hello(void *opaque, const MemLinkHello *hello, const MemLinkPeer *peer)
{
	Pair *pair = opaque;

	pair->n_held = hello->n_held;
	return peer->pid == getpid();
}

static void on_done(void *opaque, uint64_t req, bool ok)
{
	Pair *pair = opaque;

	pair->last_req = req;
	pair->last_ok = ok;
	pair->n_done++;
}

static void on_closed(void *opaque)
{
	((Pair *)opaque)->n_closed++;
}

static void on_misses(void *opaque, uint64_t reads, uint64_t writes)
{
	Pair *pair = opaque;

	pair->reads = reads;
	pair->writes = writes;
}

static const MemLinkServerOps server_ops = { on_hello, on_done, on_closed, on_misses };

typedef struct Connect {
	int fd;
	Pair *pair;
	const MemLinkHeld *held;
	uint32_t n_held;
	gint finished;
} Connect;

static void *connect_run(void *data)
{
	Connect *connect = data;
	static const uint8_t session[16];

	connect->pair->client = mem_link_client_new(connect->fd, session, WINDOW_PAGES,
						    connect->held, connect->n_held, &host_ops,
						    &connect->pair->host, WAIT_MS, NULL);
	g_atomic_int_set(&connect->finished, 1);
	g_main_context_wakeup(NULL);
	return NULL;
}

static void pair_connect(Pair *pair, const MemLinkHeld *held, uint32_t n_held)
{
	Connect connect = { .pair = pair, .held = held, .n_held = n_held };
	GThread *thread;
	int fds[2];

	raw_pair(fds);
	connect.fd = fds[1];
	g_assert_true(mem_link_server_attach(pair->server, fds[0]));
	thread = g_thread_new("connect", connect_run, &connect);
	while (!g_atomic_int_get(&connect.finished))
		g_main_context_iteration(NULL, TRUE);
	g_thread_join(thread);
	g_assert_nonnull(pair->client);
	g_assert_true(mem_link_server_is_connected(pair->server));
}

static Pair *pair_new(void)
{
	Pair *pair = g_new0(Pair, 1);

	pair->host.window = mmap(NULL, WINDOW_PAGES * PAGE, PROT_READ,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	g_assert_true(pair->host.window != MAP_FAILED);
	pair->host.maps = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	pair->server = mem_link_server_new(NULL, &server_ops, pair);
	pair_connect(pair, NULL, 0);
	return pair;
}

static void pair_free(Pair *pair)
{
	GHashTableIter iter;
	void *map;

	mem_link_client_free(pair->client);
	mem_link_server_free(pair->server);
	g_hash_table_iter_init(&iter, pair->host.maps);
	while (g_hash_table_iter_next(&iter, NULL, &map))
		close(((MemLinkClientMap *)map)->fd);
	g_hash_table_unref(pair->host.maps);
	munmap(pair->host.window, WINDOW_PAGES * PAGE);
	g_free(pair);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Pair, pair_free)

static bool await(Pair *pair, uint64_t req)
{
	unsigned n_done = pair->n_done;

	while (pair->n_done == n_done)
		g_main_context_iteration(NULL, TRUE);
	g_assert_cmpuint(pair->last_req, ==, req);
	return pair->last_ok;
}

static uint8_t *map_file(int fd, uint64_t len)
{
	uint8_t *hva = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	g_assert_true(hva != MAP_FAILED);
	return hva;
}

/* An extent's life, and that both ends see the same bytes while it is exposed, and only then. */
static void test_life(void)
{
	unsigned n_fds = count_fds();
	Pair *pair = pair_new();
	int fd = sealed_memfd(8 * PAGE, F_SEAL_SHRINK | F_SEAL_GROW);
	uint8_t *file = map_file(fd, 8 * PAGE);
	const volatile uint8_t *window = pair->host.window;
	MemLinkMap maps[] = {
		{ .id = 1, .dpa = 16 * PAGE, .len = 4 * PAGE, .fd = fd, .writable = true },
		{ .id = 2, .dpa = 32 * PAGE, .len = 4 * PAGE, .offset = 4 * PAGE, .fd = fd },
	};
	MemLinkPart part = { 1, 17 * PAGE, 2 * PAGE };
	MemLinkDecoderState decoder = {
		.committed = true, .len = 1 << 28, .granularity = 4096, .ways = 1
	};

	for (unsigned i = 0; i < 8; i++)
		file[i * PAGE] = (uint8_t)(i + 1);
	mem_link_server_prepare(pair->server, 1, maps, 2);
	g_assert_true(await(pair, 1));
	g_assert_cmpuint(window[16 * PAGE], ==, 0);
	mem_link_server_expose(pair->server, 2, ARRAY(1, 2), 2);
	g_assert_true(await(pair, 2));
	for (unsigned i = 0; i < 4; i++) {
		g_assert_cmpuint(window[(16 + i) * PAGE], ==, i + 1);
		g_assert_cmpuint(window[(32 + i) * PAGE], ==, i + 5);
	}
	pair->host.window[16 * PAGE] = 0xaa;
	g_assert_cmpuint(file[0], ==, 0xaa);
	mem_link_server_revoke(pair->server, 3, &part, 1);
	g_assert_true(await(pair, 3));
	g_assert_cmpuint(window[16 * PAGE], ==, 0xaa);
	g_assert_cmpuint(window[17 * PAGE], ==, 0);
	g_assert_cmpuint(window[18 * PAGE], ==, 0);
	g_assert_cmpuint(window[19 * PAGE], ==, 4);
	mem_link_server_decoder(pair->server, 4, &decoder);
	g_assert_true(await(pair, 4));
	decoder.index = 1;
	mem_link_server_decoder(pair->server, 5, &decoder);
	g_assert_false(await(pair, 5));
	maps[0] = (MemLinkMap){ .id = 3, .dpa = WINDOW_PAGES * PAGE, .len = PAGE, .fd = fd };
	mem_link_server_prepare(pair->server, 6, maps, 1);
	g_assert_false(await(pair, 6));
	mem_link_server_drop(pair->server, 7, ARRAY(1, 2, 3), 3);
	g_assert_true(await(pair, 7));
	g_assert_cmpuint(window[16 * PAGE], ==, 0);
	g_assert_cmpuint(window[32 * PAGE], ==, 0);
	munmap(file, 8 * PAGE);
	close(fd);
	pair_free(pair);
	g_assert_cmpuint(count_fds(), ==, n_fds);
}

/* The server ends and comes back: what was exposed stayed, and is told in hello. */
static void test_resume(void)
{
	g_autoptr(Pair) pair = pair_new();
	int fd = sealed_memfd(4 * PAGE, F_SEAL_SHRINK);
	uint8_t *file = map_file(fd, 4 * PAGE);
	MemLinkMap map = { .id = 1, .dpa = 8 * PAGE, .len = 4 * PAGE, .fd = fd, .writable = true };
	MemLinkHeld held = { .map_id = le64_put(1),
			     .dpa = le64_put(8 * PAGE),
			     .len = le64_put(4 * PAGE) };
	MemLinkPart part = { 1, 8 * PAGE, 4 * PAGE };

	mem_link_server_prepare(pair->server, 1, &map, 1);
	g_assert_true(await(pair, 1));
	mem_link_server_expose(pair->server, 2, ARRAY(1), 1);
	g_assert_true(await(pair, 2));
	mem_link_server_disconnect(pair->server);
	g_assert_cmpuint(pair->n_closed, ==, 1);
	while (mem_link_client_is_connected(pair->client))
		g_usleep(100);
	mem_link_client_free(pair->client);
	g_assert_true(pair->host.closed);
	file[5] = 0x55;
	g_assert_cmpuint(pair->host.window[8 * PAGE + 5], ==, 0x55);
	pair_connect(pair, &held, 1);
	g_assert_cmpuint(pair->n_held, ==, 1);
	mem_link_server_revoke(pair->server, 3, &part, 1);
	g_assert_true(await(pair, 3));
	g_assert_cmpuint(pair->host.window[8 * PAGE + 5], ==, 0);
	munmap(file, 4 * PAGE);
	close(fd);
}

/* As many maps as the host takes, in one request; the host has one descriptor for each. */
static void test_many_maps(void)
{
	enum {
		N = 400
	};
	g_autoptr(Pair) pair = pair_new();
	g_autofree MemLinkMap *maps = g_new0(MemLinkMap, N);
	g_autofree uint64_t *ids = g_new(uint64_t, N);
	g_autofree MemLinkPart *parts = g_new(MemLinkPart, N);
	int fd = sealed_memfd(N * PAGE, F_SEAL_SHRINK);
	uint8_t *file = map_file(fd, N * PAGE);

	for (unsigned i = 0; i < N; i++) {
		file[i * PAGE] = (uint8_t)(i | 1);
		ids[i] = i + 1;
		/* The other way round: nothing can be one mapping. */
		maps[i] = (MemLinkMap){ .id = i + 1,
					.dpa = (N - 1 - i) * PAGE,
					.len = PAGE,
					.offset = i * PAGE,
					.fd = fd };
		parts[i] = (MemLinkPart){ i + 1, (N - 1 - i) * PAGE, PAGE };
	}
	mem_link_server_prepare(pair->server, 1, maps, N);
	g_assert_true(await(pair, 1));
	mem_link_server_expose(pair->server, 2, ids, N);
	g_assert_true(await(pair, 2));
	for (unsigned i = 0; i < N; i++)
		g_assert_cmpuint(pair->host.window[(N - 1 - i) * PAGE], ==, (uint8_t)(i | 1));
	mem_link_server_revoke(pair->server, 3, parts, N);
	g_assert_true(await(pair, 3));
	for (unsigned i = 0; i < N; i++)
		g_assert_cmpuint(pair->host.window[i * PAGE], ==, 0);
	g_assert_cmpuint(g_hash_table_size(pair->host.maps), ==, 0);
	munmap(file, N * PAGE);
	close(fd);
}

static int compare_times(const void *a, const void *b)
{
	gint64 x = *(const gint64 *)a, y = *(const gint64 *)b;

	return (x > y) - (x < y);
}

/* What an accepted extent costs on the link: prepare, done, expose, done between two threads. */
static void test_round_trip(void)
{
	g_autoptr(Pair) pair = pair_new();
	g_autofree gint64 *times_ns = g_new(gint64, N_ROUNDS);
	int fd = sealed_memfd(PAGE, F_SEAL_SHRINK);

	for (uint64_t i = 0; i < N_ROUNDS; i++) {
		MemLinkMap map = { .id = i + 1, .len = PAGE, .fd = fd, .writable = true };
		struct timespec start, end;

		g_usleep(200); /* long enough for everybody to fall asleep, as between two offers */
		clock_gettime(CLOCK_MONOTONIC, &start);
		mem_link_server_prepare(pair->server, 1, &map, 1);
		g_assert_true(await(pair, 1));
		mem_link_server_expose(pair->server, 2, &map.id, 1);
		g_assert_true(await(pair, 2));
		clock_gettime(CLOCK_MONOTONIC, &end);
		times_ns[i] = (end.tv_sec - start.tv_sec) * G_GINT64_CONSTANT(1000000000) +
			      end.tv_nsec - start.tv_nsec;
		mem_link_server_drop(pair->server, 3, &map.id, 1);
		g_assert_true(await(pair, 3));
	}
	close(fd);
	qsort(times_ns, N_ROUNDS, sizeof(*times_ns), compare_times);
	g_test_message("prepare + expose: median %.1f us, 99 %% %.1f us",
		       (double)times_ns[N_ROUNDS / 2] / 1e3,
		       (double)times_ns[N_ROUNDS * 99 / 100] / 1e3);
}

#define P "/protocol/mem-link/pair/"

/* Told at any time, between answers too; the last counts. What has no room is not waited for. */
static void test_misses(void)
{
	g_autoptr(Pair) pair = pair_new();
	unsigned n = 1;

	while (mem_link_client_tell_misses(pair->client, n, UINT64_MAX - n))
		n++;
	g_assert_cmpuint(n, >, 2);
	while (pair->reads != n - 1)
		g_main_context_iteration(NULL, TRUE);
	g_assert_cmpuint(pair->writes, ==, UINT64_MAX - (n - 1));
	g_assert_cmpuint(pair->n_closed, ==, 0);
	g_assert_true(mem_link_server_is_connected(pair->server));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	/* It has a descriptor, and the tests count them. */
	g_main_context_default();
	g_test_add_func(P "life", test_life);
	g_test_add_func(P "resume", test_resume);
	g_test_add_func(P "many-maps", test_many_maps);
	g_test_add_func(P "round-trip", test_round_trip);
	g_test_add_func(P "misses", test_misses);
	return g_test_run();
}
