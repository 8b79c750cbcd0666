/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory link: mutated messages at both ends. Reproduce with --seed, as the output says. */
#include "link/mem_link_client.h"
#include "mem_link_server_bench.h"

#define N_MUTATED 50000u

/* A message that was right before mutate() touched it. */
typedef struct Sample {
	uint8_t buf[4096];
	size_t len;
	int n_fds;
} Sample;

static uint64_t odd_number(void)
{
	static const uint64_t odd[] = {
		0,          1,          2,          0x7fffffff,
		0x80000000, UINT32_MAX, UINT64_MAX, INT64_MAX,
		PAGE - 1,   PAGE,       2 * PAGE,   -PAGE,
		-2 * PAGE,  0xffff,     0x10000,    UINT64_C(1) << 63,
	};

	return odd[g_test_rand_int_range(0, G_N_ELEMENTS(odd))];
}

static void put_words(Sample *sample, MemLinkType type, unsigned count, uint64_t id,
		      const uint64_t *words, size_t n_words)
{
	sample->len = raw_build(sample->buf, type, count, id, words, n_words);
	sample->n_fds = type == MEM_LINK_PREPARE ? (int)count : 0;
}

static void mutate(Sample *sample)
{
	size_t n_words = sample->len / 8;

	switch (g_test_rand_int_range(0, 8)) {
	case 0: /* as it is */
		break;
	case 1:
		sample->buf[g_test_rand_int_range(0, (gint32)sample->len)] ^=
			(uint8_t)(1 << g_test_rand_int_range(0, 8));
		break;
	case 2:
		sample->buf[g_test_rand_int_range(0, (gint32)sample->len)] =
			(uint8_t)g_test_rand_int();
		break;
	case 3:
		le64_store(sample->buf + 8 * g_test_rand_int_range(0, (gint32)n_words),
			   odd_number());
		break;
	case 4:
		le32_store(sample->buf + 4 * g_test_rand_int_range(0, 2 * (gint32)n_words),
			   (uint32_t)odd_number());
		break;
	case 5: /* shorter or longer, told half the time */
		sample->len = (size_t)g_test_rand_int_range(1, (gint32)sample->len + 64);
		if (g_test_rand_bit())
			le32_store(sample->buf, (uint32_t)sample->len);
		break;
	case 6:
		le16_store(sample->buf + 4 + 2 * g_test_rand_bit(), (uint16_t)g_test_rand_int());
		break;
	case 7:
		sample->n_fds = g_test_rand_int_range(0, 20);
		break;
	}
}

static void send_sample(int sock, const Sample *sample, int fd)
{
	int fds[32];

	for (int i = 0; i < sample->n_fds; i++)
		fds[i] = fd;
	raw_send_fds(sock, sample->buf, sample->len, fds, sample->n_fds);
}

/* ---- the server ---- */

static void make_from_host(Sample *sample, uint64_t next_id)
{
	uint64_t words[16];

	for (unsigned i = 0; i < 16; i++)
		words[i] = (uint64_t)g_test_rand_int_range(1, 100) * PAGE;
	memset(sample, 0, sizeof(*sample));
	switch (g_test_rand_int_range(0, 4)) {
	case 0:
		put_words(
			sample, MEM_LINK_HELLO, 0, 0,
			ARRAY(1 | UINT64_C(100) << 32, (uint64_t)g_test_rand_int_range(0, 5), 0, 0),
			4);
		break;
	case 1:
		put_words(sample, MEM_LINK_HELD, 2, 0, words, 8);
		break;
	default:
		put_words(sample, MEM_LINK_DONE, 0, MAX(next_id, 1),
			  ARRAY((uint64_t)g_test_rand_int_range(0, 50) / 49), 1);
		break;
	}
}

static void test_server(void)
{
	g_autoptr(Bench) bench = bench_new();
	unsigned n_fds = count_fds();
	unsigned n_messages = 0, n_mutated = 0, n_connections = 0, n_answers = 0;
	uint64_t next_id = 0, n_requests = 0;

	while (n_mutated < N_MUTATED) {
		Sample sample;

		if (!mem_link_server_is_connected(bench->server) && g_test_rand_bit()) {
			/* Now and then a fresh one, half the time with a good hello. */
			mem_link_server_disconnect(bench->server);
			close(bench->host);
			bench_attach(bench);
			n_connections++;
			if (g_test_rand_bit())
				raw_hello(bench->host, 100, 0);
			settle();
			next_id = n_requests = 0;
		}
		if (mem_link_server_is_connected(bench->server) && next_id >= n_requests) {
			request_one_of_each(bench);
			next_id = n_requests + 1;
			n_requests += 5;
		}
		make_from_host(&sample, next_id);
		if (next_id == 0 || g_test_rand_int_range(0, 3) == 0) {
			mutate(&sample);
			n_mutated++;
		}
		n_messages++;
		next_id += next_id != 0;
		send_sample(bench->host, &sample, bench->host);
		settle();
		g_assert_cmpuint(bench->n_closed + mem_link_server_is_connected(bench->server), ==,
				 bench->n_hello);
		n_answers += bench->answers->len;
		g_array_set_size(bench->answers, 0);
	}
	mem_link_server_disconnect(bench->server);
	close(bench->host);
	bench_attach(bench);
	g_assert_cmpuint(count_fds(), ==, n_fds);
	g_test_message("%u messages, %u connections, %u welcome, %u answers", n_messages,
		       n_connections, bench->n_hello, n_answers);
	g_assert_cmpuint(n_answers, >, 1000);
}

/* ---- the client ---- */

/* Counts what an op may rely on; the client's thread only, until it is joined. */
typedef struct Device {
	int sock;
	unsigned n_prepared, n_exposed, n_revoked, n_dropped, n_decoders;
} Device;

static int on_prepare(void *opaque, const MemLinkClientMap *map)
{
	Device *device = opaque;

	g_assert_true(mem_link_range_is_valid(map->dpa, map->len));
	g_assert_true(mem_link_range_is_valid(map->offset, map->len));
	g_assert_cmpuint(map->offset + map->len, <=, 64 * PAGE);
	g_assert_cmpuint(map->id, !=, 0);
	close(map->fd);
	device->n_prepared++;
	return 0;
}

static int on_expose(void *opaque, const uint64_t *ids, size_t n)
{
	((Device *)opaque)->n_exposed += (unsigned)n;
	return ids[0] % 7 == 0 ? -EINVAL : 0;
}

static int on_revoke(void *opaque, uint64_t id, uint64_t dpa, uint64_t len)
{
	g_assert_true(mem_link_range_is_valid(dpa, len));
	((Device *)opaque)->n_revoked++;
	return 0;
}

static int on_drop(void *opaque, uint64_t id)
{
	Device *device = opaque;

	device->n_dropped++;
	g_assert_cmpuint(device->n_dropped, <=, device->n_prepared);
	return 0;
}

static int on_decoder(void *opaque, const MemLinkClientDecoder *decoder)
{
	g_assert_cmpuint(decoder->index, <, MEM_LINK_MAX_DECODERS);
	g_assert_true(!decoder->committed || mem_link_range_is_valid(decoder->hpa, decoder->len));
	((Device *)opaque)->n_decoders++;
	return 0;
}

static void on_gone(void *opaque)
{
}

static const MemLinkClientOps client_ops = { on_prepare, on_expose,  on_revoke,
					     on_drop,    on_decoder, on_gone };

/* What the device believes, so that most messages are right; a mutated one may make it err. */
typedef enum Belief {
	ABSENT,
	PREPARED,
	EXPOSED,
	GONE
} Belief;

#define N_MAPS 8

static void make_from_device(Sample *sample, uint64_t id, Belief *maps)
{
	unsigned i = (unsigned)g_test_rand_int_range(0, N_MAPS);
	uint64_t map = i + 1;
	uint64_t dpa = map * 8 * PAGE;

	memset(sample, 0, sizeof(*sample));
	switch (maps[i]) {
	case ABSENT:
		put_words(sample, MEM_LINK_PREPARE, 2, id,
			  ARRAY(map, dpa, 8 * PAGE, PAGE, 1, 1, map + 100, dpa, PAGE, 0, 1, 0), 12);
		maps[i] = PREPARED;
		break;
	case PREPARED:
		put_words(sample, MEM_LINK_EXPOSE, 2, id, ARRAY(map, map + 100), 2);
		maps[i] = EXPOSED;
		break;
	case EXPOSED:
		put_words(sample, MEM_LINK_REVOKE, 1, id,
			  ARRAY(map, dpa + (uint64_t)g_test_rand_int_range(0, 8) * PAGE, PAGE), 3);
		maps[i] = GONE;
		break;
	case GONE:
		if (g_test_rand_bit()) {
			put_words(sample, MEM_LINK_DECODER, 1, id,
				  ARRAY(map | UINT64_C(1) << 32, 4 | UINT64_C(1024) << 32, 0,
					1 << 28, 0),
				  5);
			break;
		}
		put_words(sample, MEM_LINK_DROP, 2, id, ARRAY(map, map + 100), 2);
		maps[i] = ABSENT;
		break;
	}
}

static MemLinkClient *connect_client(Device *device)
{
	static const uint8_t session[16];
	g_autoptr(GError) error = NULL;
	MemLinkClient *client;
	int fds[2];

	raw_pair(fds);
	*device = (Device){ .sock = fds[0] };
	raw_welcome(fds[0], MEM_LINK_WELCOME_OK);
	client = mem_link_client_new(fds[1], session, 14, NULL, 0, &client_ops, device, WAIT_MS,
				     &error);
	g_assert_no_error(error);
	raw_expect(fds[0], MEM_LINK_HELLO);
	return client;
}

static void test_client(void)
{
	g_autofree uint8_t *buf = g_malloc(MEM_LINK_MAX_MESSAGE);
	int file = sealed_memfd(64 * PAGE, F_SEAL_SHRINK);
	unsigned n_fds = count_fds();
	MemLinkClient *client = NULL;
	Device device, sum = { 0 };
	unsigned n_messages = 0, n_mutated = 0, n_connections = 0;
	Belief maps[N_MAPS];
	uint64_t id = 0;

	while (n_mutated < N_MUTATED) {
		Sample sample;

		if (client == NULL) {
			client = connect_client(&device);
			n_connections++;
			id = 0;
			memset(maps, 0, sizeof(maps));
		}
		make_from_device(&sample, ++id, maps);
		/* Enough good ones that the client's book fills. */
		if (g_test_rand_int_range(0, 4) == 0) {
			mutate(&sample);
			n_mutated++;
		}
		n_messages++;
		send_sample(device.sock, &sample, file);
		/* Each is answered or the end. */
		if (raw_recv(device.sock, buf, NULL) == sizeof(MemLinkDoneMessage) &&
		    n_mutated < N_MUTATED)
			continue;
		mem_link_client_free(client);
		client = NULL;
		close(device.sock);
		sum.n_prepared += device.n_prepared;
		sum.n_exposed += device.n_exposed;
		sum.n_revoked += device.n_revoked;
		sum.n_dropped += device.n_dropped;
		sum.n_decoders += device.n_decoders;
	}
	g_assert_cmpuint(count_fds(), ==, n_fds);
	close(file);
	g_test_message("%u messages, %u connections: %u prepared, %u exposed, %u revoked, "
		       "%u dropped, %u decoders",
		       n_messages, n_connections, sum.n_prepared, sum.n_exposed, sum.n_revoked,
		       sum.n_dropped, sum.n_decoders);
	/* A mutation that let nothing through would find nothing. */
	g_assert_cmpuint(sum.n_prepared, >, 1000);
	g_assert_cmpuint(sum.n_exposed, >, 1000);
	g_assert_cmpuint(sum.n_revoked, >, 100);
}

#define P "/protocol/mem-link/fuzz/"

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	/* It has a descriptor, and the tests count them. */
	g_main_context_default();
	g_test_add_func(P "server", test_server);
	g_test_add_func(P "client", test_client);
	return g_test_run();
}
