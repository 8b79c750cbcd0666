/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost-user front end against a daemon that lies, stalls, forks, dies: it ends, then all is well.
 */
#include "vhost_trial.h"

#include "../unit/processes.h"
#include "machine/vhost_user_wire.h"

#include <errno.h>
#include <string.h>

typedef struct HelloLie {
	Trial trial;
	const char *error;
} HelloLie;

static const HelloLie hello_lies[] = {
	{ { FAKE_OLD, .lie = LIE_NONE }, "does not support acknowledgements" },
	{ { FAKE_NO_ACK, .lie = LIE_NONE }, "does not support acknowledgements" },
	{ { FAKE_LEGACY, .lie = LIE_NONE }, "does not support virtio 1" },
	{ { FAKE_ONE_QUEUE, .lie = LIE_NONE }, "has 1 queues of 2 needed" },
	{ { 0, LIE_REQUEST, VHOST_USER_GET_FEATURES, 0 }, "first messages" },
	{ { 0, LIE_VERSION, VHOST_USER_GET_FEATURES, 0 }, "first messages" },
	{ { 0, LIE_NO_REPLY, VHOST_USER_GET_FEATURES, 0 }, "first messages" },
	{ { 0, LIE_SHORT, VHOST_USER_GET_PROTOCOL_FEATURES, 0 }, "first messages" },
	{ { 0, LIE_LONG, VHOST_USER_GET_PROTOCOL_FEATURES, 0 }, "first messages" },
	{ { 0, LIE_FDS, VHOST_USER_GET_FEATURES, 0 }, "first messages" },
	{ { 0, LIE_FDS, VHOST_USER_GET_QUEUE_NUM, 0 }, "first messages" },
	{ { 0, LIE_HALF, VHOST_USER_GET_QUEUE_NUM, 0 }, "first messages" },
	{ { 0, LIE_SILENT, VHOST_USER_GET_FEATURES, 0 }, "first messages" },
	{ { 0, LIE_EOF, VHOST_USER_GET_FEATURES, 0 }, "closed the connection" },
	{ { 0, LIE_EXIT, VHOST_USER_GET_FEATURES, 0 }, "ended with exit code 3: no more of this" },
	{ { FAKE_LISTENS, LIE_EXIT, VHOST_USER_GET_FEATURES, 0 }, "exit code 3: no more of this" },
	{ { 0, LIE_EXIT, VHOST_USER_GET_FEATURES, 1 }, "which process" },
};

static void test_hello_lies(void)
{
	unsigned n_fds = count_fds();

	for (unsigned row = 0; row < G_N_ELEMENTS(hello_lies); row++) {
		g_autoptr(GError) error = NULL;
		Witness witness;

		witness_init(&witness);
		g_assert_null(trial_spawn(&hello_lies[row].trial, &witness, &error));
		g_assert_nonnull(error);
		g_test_message("%u: %s", row, error->message);
		g_assert_nonnull(strstr(error->message, hello_lies[row].error));
		g_assert_cmpuint(witness.n_broken, ==, 0);
		witness_clear(&witness);
	}
	g_assert_cmpuint(count_fds(), ==, n_fds);
}

/* Whatever it does when told of memory: it is ended, and then the memory is nobody's. */
static const Trial memory_lies[] = {
	{ FAKE_SLOTS, LIE_REQUEST, VHOST_USER_REM_MEM_REG, 0 },
	{ FAKE_SLOTS, LIE_VERSION, VHOST_USER_REM_MEM_REG, 0 },
	{ FAKE_SLOTS, LIE_NO_REPLY, VHOST_USER_REM_MEM_REG, 0 },
	{ FAKE_SLOTS, LIE_SHORT, VHOST_USER_REM_MEM_REG, 0 },
	{ FAKE_SLOTS, LIE_LONG, VHOST_USER_REM_MEM_REG, 0 },
	{ FAKE_SLOTS, LIE_FDS, VHOST_USER_REM_MEM_REG, 0 },
	{ FAKE_SLOTS, LIE_EOF, VHOST_USER_REM_MEM_REG, 0 },
	{ FAKE_SLOTS, LIE_EXIT, VHOST_USER_REM_MEM_REG, 0 },
	{ FAKE_SLOTS, LIE_HALF, VHOST_USER_REM_MEM_REG, 0 },
	{ FAKE_SLOTS, LIE_SILENT, VHOST_USER_REM_MEM_REG, 0 },
	{ FAKE_SLOTS, LIE_REFUSE, VHOST_USER_REM_MEM_REG, 0 },
	{ FAKE_SLOTS | FAKE_FORKS, LIE_SILENT, VHOST_USER_REM_MEM_REG, 0 },
	{ FAKE_LISTENS | FAKE_FORKS, LIE_SILENT, VHOST_USER_SET_MEM_TABLE, 1 },
	{ 0, LIE_REFUSE, VHOST_USER_SET_MEM_TABLE, 1 },
	{ 0, LIE_EOF, VHOST_USER_SET_MEM_TABLE, 1 },
	/* What it says before it is asked is no answer. */
	{ 0, LIE_TWICE, VHOST_USER_SET_MEM_TABLE, 0 },
	{ FAKE_SLOTS, LIE_TWICE, VHOST_USER_ADD_MEM_REG, 0 },
};

static void test_memory_lies(void)
{
	unsigned n_fds = count_fds();

	for (unsigned row = 0; row < G_N_ELEMENTS(memory_lies); row++) {
		const Trial *trial = &memory_lies[row];
		g_autoptr(VhostBackend) backend = NULL;
		GuestRegion region = region_make(0);
		gint64 begin;
		Witness witness;
		pid_t pid;

		witness_init(&witness);
		backend = trial_spawn_good(trial, &witness);
		pid = trial_serving_pid(backend, trial);
		g_assert_cmpint(region_add(backend, &region), ==, 0);
		g_assert_true(region_is_mapped(pid, 0));
		begin = g_get_monotonic_time();
		region_take(backend, &region);
		if (trial->lie == LIE_SILENT)
			g_assert_cmpint(g_get_monotonic_time() - begin, >=, TRIAL_QUIET_MS * 1000);
		g_assert_false(region_is_mapped(pid, 0));
		g_assert_false(vhost_backend_is_alive(backend));
		witness_wait(&witness, "the guest's device does not work any more", 1);
		/* One that is gone refuses nothing: it reaches nothing. */
		g_assert_cmpint(region_add(backend, &region), ==, 0);
		region_take(backend, &region);
		vhost_backend_stop(backend);
		vhost_backend_set_call(backend, 0, -1);
		g_assert_cmpuint(witness.n_broken, ==, 1);
		vhost_backend_free(g_steal_pointer(&backend));
		region_end(&region);
		witness_clear(&witness);
	}
	g_assert_cmpuint(count_fds(), ==, n_fds);
}

/* When it does not take memory, the memory is not accepted; it may have mapped it, so it ends. */
static void test_add_lies(void)
{
	const enum fake_lie lies[] = { LIE_REFUSE, LIE_SILENT, LIE_EOF, LIE_FDS };

	for (unsigned row = 0; row < G_N_ELEMENTS(lies); row++) {
		Trial trial = { FAKE_SLOTS, lies[row], VHOST_USER_ADD_MEM_REG, 0 };
		g_autoptr(VhostBackend) backend = NULL;
		GuestRegion region = region_make(0);
		Witness witness;
		pid_t pid;

		witness_init(&witness);
		backend = trial_spawn_good(&trial, &witness);
		pid = vhost_backend_pid(backend);
		g_assert_cmpint(region_add(backend, &region), ==, -EIO);
		g_assert_false(region_is_mapped(pid, 0));
		witness_wait(&witness, "asked to map the guest's memory", 1);
		vhost_backend_free(g_steal_pointer(&backend));
		region_end(&region);
		witness_clear(&witness);
	}
}

typedef struct Slow {
	VhostBackend *backend;
	GuestRegion region;
} Slow;

static gpointer start_slowly(gpointer opaque)
{
	const Slow *slow = opaque;
	VhostUserRing rings[2];

	region_fill_rings(&slow->region, rings, -1, -1);
	return GINT_TO_POINTER(vhost_backend_start(slow->backend, 0, rings, 1));
}

/* A vCPU waits for the daemon for longer than memory may: memory wins. */
static void test_removal_overtakes(void)
{
	Trial trial = { FAKE_SLOTS, LIE_SILENT, VHOST_USER_SET_VRING_NUM, 0 };
	g_autoptr(VhostBackend) backend = NULL;
	GuestRegion region = region_make(0);
	gint64 begin;
	Witness witness;
	GThread *thread;
	Slow slow;
	pid_t pid;

	witness_init(&witness);
	backend = trial_spawn_good(&trial, &witness);
	pid = vhost_backend_pid(backend);
	slow = (Slow){ backend, region_make(1) };
	g_assert_cmpint(region_add(backend, &region), ==, 0);
	g_assert_cmpint(region_add(backend, &slow.region), ==, 0);
	thread = g_thread_new("vcpu", start_slowly, &slow);
	witness_wait(&witness, "fake: 8: ", 0);
	begin = g_get_monotonic_time();
	region_take(backend, &region);
	g_assert_cmpint(g_get_monotonic_time() - begin, >=, TRIAL_QUIET_MS * 900);
	g_assert_false(region_is_mapped(pid, 0));
	g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(thread)), <, 0);
	witness_wait(&witness, "the guest's device does not work any more", 1);
	vhost_backend_free(g_steal_pointer(&backend));
	region_end(&region);
	region_end(&slow.region);
	witness_clear(&witness);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--fake") == 0)
		return fake_main(argc, argv);
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/vhost-liar/hello", test_hello_lies);
	g_test_add_func("/protocol/vhost-liar/memory", test_memory_lies);
	g_test_add_func("/protocol/vhost-liar/add", test_add_lies);
	g_test_add_func("/protocol/vhost-liar/removal-overtakes", test_removal_overtakes);
	return g_test_run();
}
