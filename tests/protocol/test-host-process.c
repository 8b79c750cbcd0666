/* SPDX-License-Identifier: BSD-3-Clause */
/* `softdcd host`: policy, releases, leaving, and pools that go away and come back. */
#include "host_proc.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#define LEN (4 * MIB)

static bool has_session(JsonObject *resumed, const char *session)
{
	return g_str_equal(json_object_get_string_member(resumed, "session"), session);
}

static void assert_text(JsonObject *event, const char *member, const char *text)
{
	g_assert_cmpstr(json_object_get_string_member(event, member), ==, text);
}

static void expect_accepted(HostProc *host, unsigned tag)
{
	g_autoptr(JsonObject) event = host_proc_expect(host, "accepted");

	assert_tag(event, tag);
}

static void expect_gone(HostProc *host, const char *name, unsigned tag, const char *why)
{
	g_autoptr(JsonObject) event = host_proc_expect(host, name);

	assert_tag(event, tag);
	assert_text(event, "why", why);
	g_assert_cmpint(json_object_get_int_member(event, "len"), ==, LEN);
}

static void expect_resumed(HostProc *host, const char *session)
{
	g_autoptr(JsonObject) event = NULL;

	host_proc_pass(host, "reconnecting");
	event = host_proc_expect(host, "resumed");
	g_assert_true(has_session(event, session));
}

/* A host of dev0 that has accepted tag 1. */
static HostProc *start_with_tag(Rig *rig, const char *option)
{
	HostProc *host = host_proc_start(rig, "--device=dev0", option, NULL);

	rig_backend(rig, 1, LEN);
	host_proc_pass(host, "attached");
	rig_offer(rig, 0, 1);
	expect_accepted(host, 1);
	return host;
}

/* ---- accepting and giving back ---- */

static void test_maps(void)
{
	g_autoptr(Rig) rig = rig_new(1);
	g_autoptr(HostProc) host = host_proc_start(rig, "--device=dev0", NULL);
	g_autoptr(JsonObject) attached = host_proc_expect(host, "attached");
	g_autoptr(JsonObject) accepted = NULL;
	JsonObject *map;
	uint64_t len;
	uint8_t *hva, back[8];

	g_assert_cmpint(json_object_get_int_member(attached, "pid"), ==, host->pid);
	rig_backend(rig, 1, LEN);
	rig_offer(rig, 0, 1);
	accepted = host_proc_expect(host, "accepted");
	assert_tag(accepted, 1);
	g_assert_false(json_object_get_boolean_member(accepted, "recovered"));
	g_assert_cmpint(json_object_get_int_member(accepted, "len"), ==, LEN);
	map = json_array_get_object_element(json_object_get_array_member(accepted, "maps"), 0);
	g_assert_cmpint(
		json_object_get_int_member(map, "hpa") -
			json_object_get_int_member(
				json_object_get_object_member(attached, "window"), "hpa"),
		==,
		json_object_get_int_member(map, "address") -
			json_object_get_int_member(
				json_object_get_object_member(attached, "window"), "address"));
	hva = host_proc_map(accepted, 0, &len);
	g_assert_cmpuint(len, ==, LEN);
	memcpy(hva + 4096, "softdcd", 8);
	rig_backend_read(rig, 1, 4096, back, sizeof(back));
	g_assert_cmpmem(back, sizeof(back), "softdcd", 8);

	rig_ask_back(rig, 0, 1, false);
	expect_gone(host, "released", 1, "asked");
	rig_wait_free(rig, 1, LEN);
	/* What the next tenant gets is another file: ours is nobody's. */
	memcpy(hva + 4096, "softdcd", 8);
	rig_backend_read(rig, 1, 4096, back, sizeof(back));
	g_assert_cmpmem(back, sizeof(back), "\0\0\0\0\0\0\0\0", 8);
	munmap(hva, len);
	g_assert_cmpint(host_proc_end(host, SIGTERM), ==, 0);
}

static void test_policy(void)
{
	g_autoptr(Rig) rig = rig_new(2);
	g_autofree char *tag = rig_tag_text(2);
	g_autofree char *accept = g_strconcat("--accept=", tag, NULL);
	g_autoptr(HostProc) picky = host_proc_start(rig, "--device=dev0", accept, NULL);
	g_autoptr(HostProc)
		unwilling = host_proc_start(rig, "--device", "dev1", "--accept", "none", NULL);

	host_proc_pass(picky, "attached");
	host_proc_pass(unwilling, "attached");
	for (unsigned i = 1; i <= 3; i++)
		rig_backend(rig, i, LEN);
	rig_offer(rig, 0, 1);
	rig_wait_free(rig, 1, LEN);
	rig_offer(rig, 0, 2);
	expect_accepted(picky, 2);
	rig_offer(rig, 1, 3);
	rig_wait_free(rig, 3, LEN);
	g_assert_cmpint(host_proc_end(unwilling, SIGINT), ==, 0);
	host_proc_pass(unwilling, "left");
	g_assert_cmpint(host_proc_end(picky, SIGTERM), ==, 0);
	expect_gone(picky, "released", 2, "leaving");
	host_proc_pass(picky, "left");
	rig_wait_free(rig, 2, LEN);
}

static void test_two_devices(void)
{
	g_autoptr(Rig) rig = rig_new(2);
	g_autoptr(HostProc)
		host = host_proc_start(rig, "--device=dev0", "--device=dev1", "--window=1G", NULL);
	g_autoptr(JsonObject) first = NULL;
	g_autoptr(JsonObject) second = NULL;

	host_proc_pass(host, "attached");
	host_proc_pass(host, "attached");
	rig_backend(rig, 1, LEN);
	rig_backend(rig, 2, LEN);
	rig_offer(rig, 0, 1);
	first = host_proc_expect(host, "accepted");
	rig_offer(rig, 1, 2);
	second = host_proc_expect(host, "accepted");
	assert_text(first, "device", "dev0");
	assert_text(second, "device", "dev1");
	rig_ask_back(rig, 1, 2, false);
	expect_gone(host, "released", 2, "asked");
	g_assert_cmpint(host_proc_end(host, SIGTERM), ==, 0);
	rig_wait_free(rig, 1, LEN);
}

/* Locked by a program that uses it, memory stays; the device asks again. */
static void test_pinned(void)
{
	g_autoptr(Rig) rig = rig_new(1);
	g_autoptr(HostProc) host = host_proc_start(rig, "--device=dev0", NULL);
	g_autoptr(JsonObject) accepted = NULL;
	JsonObject *map;
	int fd;

	host_proc_pass(host, "attached");
	rig_backend(rig, 1, LEN);
	rig_offer(rig, 0, 1);
	accepted = host_proc_expect(host, "accepted");
	map = json_array_get_object_element(json_object_get_array_member(accepted, "maps"), 0);
	fd = open(json_object_get_string_member(map, "path"), O_RDWR | O_CLOEXEC);
	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(flock(fd, LOCK_SH), ==, 0);
	rig_ask_back(rig, 0, 1, false);
	expect_gone(host, "kept", 1, "pinned");
	g_assert_cmpuint(rig_counters(rig, 1).accepted, ==, LEN);
	close(fd);
	/* Asked again after a second. */
	expect_gone(host, "released", 1, "asked");
	rig_wait_free(rig, 1, LEN);
}

static void test_forced(void)
{
	g_autoptr(Rig) rig = rig_new(1);
	g_autoptr(HostProc) host = start_with_tag(rig, "--check=7");

	rig_ask_back(rig, 0, 1, true);
	expect_gone(host, "lost", 1, "forced");
	rig_wait_free(rig, 1, LEN);
	rig_offer(rig, 0, 1);
	expect_accepted(host, 1);
	g_assert_cmpint(host_proc_end(host, SIGTERM), ==, 0);
}

/* ---- who reads ---- */

#define N_ROUNDS 300u /* far more than a pipe holds */

static void test_slow_reader(void)
{
	g_autoptr(Rig) rig = rig_new(1);
	g_autoptr(HostProc) host = host_proc_start(rig, "--device=dev0", NULL);

	host_proc_pass(host, "attached");
	rig_backend(rig, 1, LEN);
	for (unsigned i = 0; i < N_ROUNDS; i++) {
		rig_offer(rig, 0, 1);
		rig_wait_accepted(rig, 1, LEN);
		rig_ask_back(rig, 0, 1, false);
		rig_wait_free(rig, 1, LEN);
	}
	for (unsigned i = 0; i < N_ROUNDS; i++) {
		expect_accepted(host, 1);
		expect_gone(host, "released", 1, "asked");
	}
	g_assert_cmpint(host_proc_end(host, SIGTERM), ==, 0);
}

static void test_reader_gone(void)
{
	g_autoptr(Rig) rig = rig_new(1);
	g_autoptr(HostProc) host = start_with_tag(rig, NULL);

	close(host->out);
	host->out = -1;
	rig_backend(rig, 2, LEN);
	rig_offer(rig, 0, 2);
	g_assert_cmpint(host_proc_wait(host), ==, 0);
	rig_wait_free(rig, 1, LEN);
	rig_wait_free(rig, 2, LEN);
}

/* ---- leaving, dying, coming again ---- */

static void expect_recovered(HostProc *host, const char *check)
{
	g_autoptr(JsonObject) event = NULL;

	host_proc_pass(host, "attached");
	event = host_proc_expect(host, "accepted");
	assert_tag(event, 1);
	g_assert_true(json_object_get_boolean_member(event, "recovered"));
	assert_text(event, "check", check);
}

static void test_keep(void)
{
	g_autoptr(Rig) rig = rig_new(1);
	g_autoptr(HostProc) first = start_with_tag(rig, "--check=3");
	g_autoptr(HostProc) second = NULL;
	g_autoptr(HostProc) third = NULL;

	host_proc_free(g_steal_pointer(&first));
	/* Killed: what it had accepted is the next host's, with what is in it. */
	second = host_proc_start(rig, "--device=dev0", "--check=3", "--keep", NULL);
	expect_recovered(second, "verified");
	g_assert_cmpint(host_proc_end(second, SIGTERM), ==, 0);
	host_proc_pass(second, "left");
	g_assert_cmpuint(rig_counters(rig, 1).accepted, ==, LEN);
	/* Another seed is another pattern. */
	third = host_proc_start(rig, "--device=dev0", "--check=4", NULL);
	expect_recovered(third, "filled");
	g_assert_cmpint(host_proc_end(third, SIGTERM), ==, 0);
	rig_wait_free(rig, 1, LEN);
}

static void test_mismatch(void)
{
	g_autoptr(Rig) rig = rig_new(1);
	g_autoptr(HostProc) host = host_proc_start(rig, "--device=dev0", "--check=3", NULL);
	g_autoptr(JsonObject) accepted = NULL;
	g_autoptr(JsonObject) mismatch = NULL;
	uint64_t len;
	uint8_t *hva;

	host_proc_pass(host, "attached");
	rig_backend(rig, 1, LEN);
	rig_offer(rig, 0, 1);
	accepted = host_proc_expect(host, "accepted");
	assert_text(accepted, "check", "filled");
	hva = host_proc_map(accepted, 0, &len);
	hva[3 * MIB + 5] ^= 1;
	rig_ask_back(rig, 0, 1, false);
	mismatch = host_proc_expect(host, "mismatch");
	assert_tag(mismatch, 1);
	g_assert_cmpint(host_proc_wait(host), ==, 1);
	/* Evidence: it is all there still. */
	g_assert_cmpuint(rig_counters(rig, 1).accepted, ==, LEN);
	munmap(hva, len);
}

typedef struct Block {
	GMutex lock;
	GCond cond;
	bool is_blocked, may_go;
	Pool *pool;
} Block;

static void block_pool(Pool *pool, void *user_data)
{
	Block *block = user_data;

	g_mutex_lock(&block->lock);
	block->is_blocked = true;
	g_cond_broadcast(&block->cond);
	while (!block->may_go)
		g_cond_wait(&block->cond, &block->lock);
	g_mutex_unlock(&block->lock);
}

static gpointer block_thread(gpointer data)
{
	Block *block = data;

	pool_call(block->pool, block_pool, block);
	return NULL;
}

/* Two that come before the first is taken are one. */
static void wait_signal_taken(pid_t pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/status", (int)pid);
	gint64 end = g_get_monotonic_time() + PROC_WAIT_US;
	const char *pending;

	do {
		g_autofree char *text = NULL;

		g_assert_cmpint(g_get_monotonic_time(), <, end);
		g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
		pending = strstr(text, "ShdPnd:");
		pending = strchr(pending, '\t') + 1;
		pending = strspn(pending, "0") == 16 ? NULL : "";
	} while (pending);
}

/* The first asks, and the pool does not answer; the second does not ask. */
static void test_second_signal(void)
{
	g_autoptr(Rig) rig = rig_new(1);
	g_autoptr(HostProc) host = start_with_tag(rig, NULL);
	Block block = { .pool = rig->pool };
	GThread *thread = g_thread_new("blocked", block_thread, &block);
	gint64 begun;

	g_mutex_lock(&block.lock);
	while (!block.is_blocked)
		g_cond_wait(&block.cond, &block.lock);
	g_mutex_unlock(&block.lock);
	kill(host->pid, SIGTERM);
	wait_signal_taken(host->pid);
	host_proc_expect_silence(host, 200);
	begun = g_get_monotonic_time();
	g_assert_cmpint(host_proc_end(host, SIGTERM), ==, -SIGTERM);
	g_assert_cmpint(g_get_monotonic_time() - begun, <, 4 * G_USEC_PER_SEC);

	g_mutex_lock(&block.lock);
	block.may_go = true;
	g_cond_broadcast(&block.cond);
	g_mutex_unlock(&block.lock);
	g_thread_join(thread);
}

/* ---- pools that go away ---- */

static void test_hang_up(void)
{
	g_autoptr(Rig) rig = rig_new(2);
	g_autoptr(HostProc)
		host = host_proc_start(rig, "--device=dev0", "--device=dev1", "--check=9", NULL);

	host_proc_pass(host, "attached");
	host_proc_pass(host, "attached");
	rig_backend(rig, 1, LEN);
	rig_backend(rig, 2, LEN);
	rig_offer(rig, 0, 1);
	expect_accepted(host, 1);
	for (unsigned i = 0; i < 5; i++) {
		rig_hang_up(rig, 0);
		/* A client that comes back to a living pool begins with registers anew. */
		expect_resumed(host, "new");
		g_assert_cmpuint(rig_counters(rig, 1).accepted, ==, LEN);
	}
	/* Both devices are served as before. */
	rig_offer(rig, 1, 2);
	expect_accepted(host, 2);
	rig_hang_up(rig, 1);
	rig_ask_back(rig, 0, 1, false);
	rig_ask_back(rig, 1, 2, false);
	for (unsigned i = 0; i < 4; i++) {
		/* In whatever order. */
		g_autoptr(JsonObject) event = host_proc_next(host);
		const char *name = json_object_get_string_member(event, "event");

		g_assert_true(g_str_equal(name, "reconnecting") || g_str_equal(name, "resumed") ||
			      g_str_equal(name, "released"));
	}
	rig_wait_free(rig, 1, LEN);
	rig_wait_free(rig, 2, LEN);
	g_assert_cmpint(host_proc_end(host, SIGTERM), ==, 0);
}

static void test_contents_lost(void)
{
	g_autoptr(Rig) rig = rig_new(1);
	g_autoptr(HostProc) host = host_proc_start(rig, "--device=dev0", "--check=5", NULL);
	g_autoptr(JsonObject) resumed = NULL;

	host_proc_pass(host, "attached");
	rig_backend(rig, 1, LEN);
	rig_offer(rig, 0, 1);
	expect_accepted(host, 1);
	rig_stop(rig);
	host_proc_pass(host, "reconnecting");
	host_proc_expect_silence(host, 1500);

	rig_start(rig);
	resumed = host_proc_expect(host, "resumed");
	g_assert_true(has_session(resumed, "new"));
	expect_gone(host, "lost", 1, "gone");
	rig_backend(rig, 1, LEN);
	rig_offer(rig, 0, 1);
	expect_accepted(host, 1);
	g_assert_cmpint(host_proc_end(host, SIGTERM), ==, 0);
	rig_wait_free(rig, 1, LEN);
}

static void test_away_for_good(void)
{
	g_autoptr(Rig) rig = rig_new(1);
	g_autoptr(HostProc) patient = start_with_tag(rig, NULL);
	g_autoptr(HostProc) hasty = NULL;

	rig_stop(rig);
	host_proc_pass(patient, "reconnecting");
	/* Nobody is there who could take it back. */
	g_assert_cmpint(host_proc_end(patient, SIGTERM), ==, 1);
	rig_start(rig);
	hasty = start_with_tag(rig, "--reconnect-timeout=300ms");
	rig_stop(rig);
	host_proc_pass(hasty, "reconnecting");
	g_assert_cmpint(host_proc_wait(hasty), ==, 3);
}

/* ---- command lines that lead nowhere ---- */

static void expect_exit(Rig *rig, int code, const char *first, const char *second)
{
	g_autoptr(HostProc) host = host_proc_start(rig, first, second, NULL);

	g_assert_cmpint(host_proc_wait(host), ==, code);
}

static void test_refusals(void)
{
	g_autoptr(Rig) rig = rig_new(1);
	g_autoptr(HostProc) host = NULL;

	expect_exit(rig, 2, "--accept=all", NULL);
	expect_exit(rig, 2, "--device=dev0", "--accept=some");
	expect_exit(rig, 2, "--device=dev0", "--device=dev0");
	expect_exit(rig, 2, "--device=dev0", "--window=1x");
	expect_exit(rig, 1, "--device=dev0", "--window=1M");
	expect_exit(rig, 1, "--device=dev0", "--window=0");
	/* No qmp.sock: nobody is there. */
	expect_exit(rig, 5, "--device=dev9", NULL);
	host = host_proc_start(rig, "--device=dev0", NULL);
	host_proc_pass(host, "attached");
	expect_exit(rig, 1, "--device=dev0", NULL);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/host-process/maps", test_maps);
	g_test_add_func("/protocol/host-process/policy", test_policy);
	g_test_add_func("/protocol/host-process/two-devices", test_two_devices);
	g_test_add_func("/protocol/host-process/pinned", test_pinned);
	g_test_add_func("/protocol/host-process/forced", test_forced);
	g_test_add_func("/protocol/host-process/slow-reader", test_slow_reader);
	g_test_add_func("/protocol/host-process/reader-gone", test_reader_gone);
	g_test_add_func("/protocol/host-process/keep", test_keep);
	g_test_add_func("/protocol/host-process/mismatch", test_mismatch);
	g_test_add_func("/protocol/host-process/second-signal", test_second_signal);
	g_test_add_func("/protocol/host-process/hang-up", test_hang_up);
	g_test_add_func("/protocol/host-process/contents-lost", test_contents_lost);
	g_test_add_func("/protocol/host-process/away-for-good", test_away_for_good);
	g_test_add_func("/protocol/host-process/refusals", test_refusals);
	return g_test_run();
}
