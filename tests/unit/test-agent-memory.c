/* SPDX-License-Identifier: BSD-3-Clause */
/* The agent's commands on memory, and a device that goes and comes back: a fake device and a sparse
 * file for /dev/mem. */
#include "agent/agent.h"
#include "dcd-fixture.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <json-glib/json-glib.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define TAG "05000000-0000-0000-0000-000000000000" /* as accept() makes it */

typedef struct Bench {
	Host *host;
	PlatformDevice info;
	Agent agent;
	char *root;
	int mem; /* its /dev/mem */
} Bench;

/* ---- what the agent says ---- */

/* Runs FUNC and returns the objects it has told. Caller owns them. */
static GPtrArray *listen_to(void (*func)(Bench *, const char *), Bench *bench, const char *text)
{
	GPtrArray *told = g_ptr_array_new_with_free_func((GDestroyNotify)json_object_unref);
	int fd = memfd_create("told", MFD_CLOEXEC), saved = dup(STDOUT_FILENO);
	g_autofree char *all = NULL;
	g_auto(GStrv) lines = NULL;
	off_t len;

	g_assert_cmpint(dup2(fd, STDOUT_FILENO), ==, STDOUT_FILENO);
	func(bench, text);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	len = lseek(fd, 0, SEEK_END);
	all = g_malloc0((gsize)len + 1);
	g_assert_cmpint(pread(fd, all, (size_t)len, 0), ==, len);
	close(fd);
	lines = g_strsplit(all, "\n", -1);
	for (unsigned i = 0; lines[i]; i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(JsonNode) node = *lines[i] ? json_from_string(lines[i], &error) : NULL;

		g_assert_no_error(error);
		if (node)
			g_ptr_array_add(told, json_node_dup_object(node));
	}
	return told;
}

static const char *text_of(JsonObject *object, const char *key)
{
	return json_object_has_member(object, key) ? json_object_get_string_member(object, key)
						   : NULL;
}

/* The only one of this event; NULL if there is none. */
static JsonObject *find(GPtrArray *told, const char *event)
{
	JsonObject *found = NULL;

	for (guint i = 0; i < told->len; i++) {
		if (g_strcmp0(text_of(told->pdata[i], "event"), event) != 0)
			continue;
		g_assert_null(found);
		found = told->pdata[i];
	}
	return found;
}

static void step(Bench *bench, const char *unused)
{
	agent_step(&bench->agent);
}

static GPtrArray *steps(Bench *bench)
{
	bench->agent.devices[0].retry_us = 0;
	return listen_to(step, bench, NULL);
}

static void command(Bench *bench, const char *text)
{
	g_autofree char *line = g_strdup(text);

	agent_command(&bench->agent, line);
}

/* ---- the bench ---- */

/* PARENT: of the directory for /dev/mem. */
static Bench *start_in(const char *parent)
{
	Bench *bench = g_new0(Bench, 1);
	AgentDevice *device = &bench->agent.devices[0];
	g_autofree char *dev = NULL, *mem = NULL;

	bench->host = host_prepare(12, false);
	bench->root = g_build_filename(parent, "softdcd-agent.XXXXXX", NULL);
	g_assert_nonnull(g_mkdtemp(bench->root));
	dev = g_build_filename(bench->root, "dev", NULL);
	mem = g_build_filename(dev, "mem", NULL);
	g_assert_cmpint(g_mkdir(dev, 0700), ==, 0);
	bench->mem = open(mem, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	g_assert_cmpint(ftruncate(bench->mem, (off_t)(FAKE_WINDOW + GIB)), ==, 0);
	strcpy(bench->info.name, "0000:01:00.0");
	bench->agent.options.root = bench->root;
	bench->agent.options.accept.all = true;
	bench->agent.driver = bench->host->fake->driver;
	bench->agent.n_devices = 1;
	*device = (AgentDevice){
		.agent = &bench->agent,
		.info = &bench->info,
		.memdev = bench->host->memdev,
		.caching = "write-back",
	};
	device_forget_leaving(device);
	g_assert_cmpint(cxl_dcd_start(device->memdev, &agent_dcd_ops, device, NULL, &device->dcd),
			==, 0);
	return bench;
}

static Bench *start(void)
{
	return start_in(g_get_tmp_dir());
}

static void finish(Bench *bench)
{
	g_autofree char *dev = g_build_filename(bench->root, "dev", NULL);
	g_autofree char *mem = g_build_filename(dev, "mem", NULL);

	device_forget_leaving(&bench->agent.devices[0]);
	host_free(bench->host);
	close(bench->mem);
	g_unlink(mem);
	g_rmdir(dev);
	g_rmdir(bench->root);
	g_free(bench->root);
	g_free(bench);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Bench, finish)

/* TAG of two blocks: the first is behind the second in physical memory. */
static void accept(Bench *bench)
{
	g_autoptr(GPtrArray) told = NULL;

	post(bench->host, CXL_DC_EVENT_ADD, extent(5, 4, 0), true);
	post(bench->host, CXL_DC_EVENT_ADD, extent(5, 0, 0), false);
	told = steps(bench);
	g_assert_cmpstr(text_of(find(told, "accepted"), "tag"), ==, TAG);
}

#define FIRST  (FAKE_WINDOW + 4 * FAKE_BLOCK)
#define SECOND FAKE_WINDOW

/* It must be answered so, with ERROR in its error. RET_TOLD may be NULL; else the caller owns all
 * it has told. */
static void check(Bench *bench, const char *line, const char *error, GPtrArray **ret_told)
{
	g_autoptr(GPtrArray) told = listen_to(command, bench, line);
	JsonObject *answer = find(told, error ? "failed" : "done");

	if (!answer)
		g_error("%s is not answered so", line);
	g_assert_cmpstr(text_of(answer, "command"), ==, line);
	if (error && !strstr(text_of(answer, "error"), error))
		g_error("%s: %s", line, text_of(answer, "error"));
	if (ret_told)
		*ret_told = g_steal_pointer(&told);
}

static void check_text(Bench *bench, const char *line, const char *event, const char *key,
		       const char *value)
{
	g_autoptr(GPtrArray) told = NULL;

	check(bench, line, NULL, &told);
	g_assert_cmpstr(text_of(find(told, event), key), ==, value);
}

static void get(Bench *bench, uint64_t hpa, void *buf, size_t len)
{
	g_assert_cmpint(pread(bench->mem, buf, len, (off_t)hpa), ==, len);
}

static void put(Bench *bench, uint64_t hpa, const void *buf, size_t len)
{
	g_assert_cmpint(pwrite(bench->mem, buf, len, (off_t)hpa), ==, len);
}

/* ---- memory ---- */

static void test_read_write(void)
{
	g_autoptr(Bench) bench = start();
	uint8_t bytes[2];

	accept(bench);
	/* From the one into the other, by tag and by number. */
	check(bench, "write " TAG " 0x1ffffe a1b2c3d4", NULL, NULL);
	get(bench, FIRST + FAKE_BLOCK - 2, bytes, 2);
	g_assert_cmpmem(bytes, 2, "\xa1\xb2", 2);
	get(bench, SECOND, bytes, 2);
	g_assert_cmpmem(bytes, 2, "\xc3\xd4", 2);
	check_text(bench, "read 1 2097150 4", "data", "bytes", "a1b2c3d4");
	check_text(bench, "read 1 2097149 6", "data", "bytes", "00a1b2c3d400");
	/* What others wrote. */
	put(bench, FIRST, "\x7f", 1);
	check_text(bench, "read " TAG " 0 2", "data", "bytes", "7f00");
	check(bench, "write 1 4194303 ff", NULL, NULL);
	get(bench, SECOND + FAKE_BLOCK - 1, bytes, 1);
	g_assert_cmphex(bytes[0], ==, 0xff);
}

static void test_outside(void)
{
	static const char *const lines[] = {
		"read 1 4194304 1",
		"read 1 4194303 2",
		"read 1 0 0",
		"read 1 0 4097",
		"read 1 0xffffffffffffffff 2",
		"read 1 2 0xffffffffffffffff",
		"write 1 4194304 00",
		"write 1 4194303 0000",
		"write 1 0xffffffffffffffff 0000",
	};
	g_autoptr(Bench) bench = start();
	g_autofree uint8_t *bytes = g_malloc(FAKE_BLOCK);

	accept(bench);
	for (unsigned i = 0; i < G_N_ELEMENTS(lines); i++)
		check(bench, lines[i], "not 1 to 4096 within 4194304", NULL);
	check(bench, "read 2 0 1", "nothing accepted is called 2", NULL);
	/* Nothing beside the extents has changed, and nothing in them. */
	for (unsigned i = 0; i < 6; i++) {
		get(bench, FAKE_WINDOW + i * FAKE_BLOCK, bytes, FAKE_BLOCK);
		for (size_t k = 0; k < FAKE_BLOCK; k++)
			g_assert_cmphex(bytes[k], ==, 0);
	}
}

static void test_pattern(void)
{
	g_autoptr(Bench) bench = start();
	uint64_t words[2];

	accept(bench);
	check(bench, "verify 1 42", "mismatch at offset 0:", NULL);
	check(bench, "fill " TAG " 42", NULL, NULL);
	check(bench, "verify " TAG " 42", NULL, NULL);
	check(bench, "verify 1 43", "mismatch at offset 0:", NULL);
	get(bench, FIRST, &words[0], 8);
	get(bench, SECOND, &words[1], 8);
	g_assert_cmphex(words[0], !=, words[1]);
	/* One bit of the last word of all. */
	get(bench, SECOND + FAKE_BLOCK - 8, words, 8);
	words[0] ^= 1;
	put(bench, SECOND + FAKE_BLOCK - 8, words, 8);
	check(bench, "verify 1 42", "mismatch at offset 4194296:", NULL);
	words[0] ^= 1;
	put(bench, SECOND + FAKE_BLOCK - 8, words, 8);
	check(bench, "verify 1 42", NULL, NULL);
	/* Beside the group nothing was filled. */
	get(bench, FIRST + FAKE_BLOCK, words, 8);
	g_assert_cmphex(words[0], ==, 0);
	get(bench, SECOND + FAKE_BLOCK, words, 8);
	g_assert_cmphex(words[0], ==, 0);
	check(bench, "fill 1 0", NULL, NULL);
	check(bench, "verify 1 0", NULL, NULL);
}

/* CRC-32 of 4 MiB as others compute it. */
static void test_checksum(void)
{
	g_autoptr(Bench) bench = start();

	accept(bench);
	check_text(bench, "checksum 1", "checksum", "crc32", "1147406a");
	put(bench, FIRST, "123456789", 9);
	put(bench, SECOND + FAKE_BLOCK - 1, "\xff", 1);
	check_text(bench, "checksum " TAG, "checksum", "crc32", "9d336578");
}

static void test_no_memory(void)
{
	g_autoptr(Bench) bench = start();
	g_autofree char *mem = g_build_filename(bench->root, "dev", "mem", NULL);

	accept(bench);
	check(bench, "measure 1", "4194304 bytes are too little to measure: at least 268435456",
	      NULL);
	g_assert_cmpint(g_unlink(mem), ==, 0);
	check(bench, "read 1 0 1", "/dev/mem cannot be opened", NULL);
	check(bench, "fill 1 1", "/dev/mem cannot be opened", NULL);
}

/* Twice 256 MiB, of which one half is in a file. */
static void test_measure(void)
{
	struct statvfs shm;
	g_autoptr(Bench) bench = NULL;
	g_autoptr(GPtrArray) accepted = NULL;
	g_autoptr(GPtrArray) told = NULL;
	JsonObject *measured, *ratio;

	if (statvfs("/dev/shm", &shm) != 0 || shm.f_bavail * shm.f_frsize < GIB) {
		g_test_skip("there is no gigabyte free in /dev/shm");
		return;
	}
	bench = start_in("/dev/shm");
	offer(bench->host, 5, 0, 128, false);
	accepted = steps(bench);
	g_assert_nonnull(find(accepted, "accepted"));
	check(bench, "measure " TAG, NULL, &told);
	measured = find(told, "measured");
	g_assert_cmpstr(text_of(measured, "tag"), ==, TAG);
	g_assert_cmpstr(text_of(measured, "caching"), ==, "write-back");
	g_assert_cmpint(json_object_get_int_member(measured, "len"), ==, 256 * MIB);
	ratio = json_object_get_object_member(measured, "ratio");
	g_assert_cmpfloat(json_object_get_double_member(ratio, "read"), >, 0);
	g_assert_cmpfloat(json_object_get_double_member(ratio, "write"), >, 0);
	g_assert_cmpfloat(json_object_get_double_member(ratio, "latency"), >, 0);
}

static void test_released(void)
{
	g_autoptr(Bench) bench = start();
	g_autoptr(GPtrArray) told = NULL;

	accept(bench);
	check(bench, "release " TAG, NULL, &told);
	g_assert_cmpstr(text_of(find(told, "released"), "why"), ==, "command");
	check(bench, "read 1 0 1", "nothing accepted is called 1", NULL);
	check(bench, "write 1 0 00", "nothing accepted is called 1", NULL);
}

/* ---- away and back ---- */

static void go_away(Bench *bench)
{
	g_autoptr(GPtrArray) told = NULL;
	g_autoptr(GPtrArray) still = NULL;

	bench->host->ep->dead = true;
	told = steps(bench);
	g_assert_nonnull(find(told, "reconnecting"));
	g_assert_nonnull(text_of(find(told, "reconnecting"), "why"));
	still = steps(bench);
	g_assert_cmpuint(still->len, ==, 0);
	bench->host->ep->dead = false;
}

static void test_resumed(void)
{
	g_autoptr(Bench) bench = start();
	g_autoptr(GPtrArray) told = NULL;
	g_autoptr(GPtrArray) more = NULL;
	JsonObject *resumed;

	accept(bench);
	check(bench, "write 1 0 5a", NULL, NULL);
	go_away(bench);
	told = steps(bench);
	g_assert_cmpuint(told->len, ==, 1);
	resumed = find(told, "resumed");
	g_assert_cmpstr(text_of(resumed, "session"), ==, "kept");
	g_assert_cmpstr(text_of(resumed, "device"), ==, bench->info.name);
	g_assert_cmpint(json_object_get_int_member(resumed, "away-us"), >, 0);
	check_text(bench, "read 1 0 1", "data", "bytes", "5a");
	/* Once is enough, and offers are taken as before. */
	offer(bench->host, 6, 8, 1, false);
	more = steps(bench);
	g_assert_cmpuint(more->len, ==, 1);
	g_assert_nonnull(find(more, "accepted"));
}

/* The device has forgotten decoders and what was accepted. */
static void test_forgotten(void)
{
	g_autoptr(Bench) bench = start();
	g_autoptr(GPtrArray) told = NULL;
	FakeEp *ep = bench->host->ep;

	accept(bench);
	go_away(bench);
	memset(ep->bar, 0, CXL_COMPONENT_LEN);
	fake_component(ep->bar, 4, 0);
	g_array_set_size(ep->accepted, 0);
	told = steps(bench);
	g_assert_cmpstr(text_of(find(told, "resumed"), "session"), ==, "new");
	g_assert_cmpstr(text_of(find(told, "lost"), "why"), ==, "gone");
	g_assert_cmpstr(text_of(find(told, "lost"), "tag"), ==, TAG);
	g_assert_cmpint(json_object_get_int_member(find(told, "lost"), "len"), ==, 2 * FAKE_BLOCK);
	check(bench, "read 1 0 1", "nothing accepted is called 1", NULL);
}

/* A device that is there and not right is looked at again, and told of only when it is back. */
static void test_not_yet(void)
{
	g_autoptr(Bench) bench = start();
	g_autoptr(GPtrArray) told = NULL;
	g_autoptr(GPtrArray) back = NULL;
	uint8_t *serial = bench->host->ep->config + FAKE_DSN + PCI_DSN_LO;

	accept(bench);
	go_away(bench);
	serial[0] ^= 1;
	told = steps(bench);
	g_assert_cmpuint(told->len, ==, 0);
	g_assert_true(bench->agent.devices[0].is_away);
	serial[0] ^= 1;
	back = steps(bench);
	g_assert_cmpstr(text_of(find(back, "resumed"), "session"), ==, "kept");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/agent/memory/read-write", test_read_write);
	g_test_add_func("/agent/memory/outside", test_outside);
	g_test_add_func("/agent/memory/pattern", test_pattern);
	g_test_add_func("/agent/memory/checksum", test_checksum);
	g_test_add_func("/agent/memory/no-memory", test_no_memory);
	g_test_add_func("/agent/memory/measure", test_measure);
	g_test_add_func("/agent/memory/released", test_released);
	g_test_add_func("/agent/memory/resumed", test_resumed);
	g_test_add_func("/agent/memory/forgotten", test_forgotten);
	g_test_add_func("/agent/memory/not-yet", test_not_yet);
	return g_test_run();
}
