/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost-user front end and an honest daemon: memory, rings, and ends of all kinds. */
#include "vhost_trial.h"

#include "machine/backend_proc.h"
#include "machine/vhost_user_wire.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static bool is_process(pid_t pid)
{
	return kill(pid, 0) == 0;
}

static const Trial honest[] = {
	{ FAKE_SLOTS, .lie = LIE_NONE },
	{ 0, .lie = LIE_NONE },
	{ FAKE_SLOTS | FAKE_LISTENS, .lie = LIE_NONE },
	{ FAKE_SLOTS | FAKE_FORKS, .lie = LIE_NONE },
	{ FAKE_LISTENS | FAKE_FORKS, .lie = LIE_NONE },
	{ FAKE_SLOTS, LIE_DRIP, VHOST_USER_ADD_MEM_REG, 1 },
};

static void test_regions(void)
{
	for (unsigned row = 0; row < G_N_ELEMENTS(honest); row++) {
		const Trial *trial = &honest[row];
		bool has_slots = (trial->traits & FAKE_SLOTS) != 0;
		g_autoptr(VhostBackend) backend = NULL;
		GuestRegion regions[3];
		GuestRegion read_only;
		Witness witness;
		pid_t pid, child;

		witness_init(&witness);
		backend = trial_spawn_good(trial, &witness);
		pid = vhost_backend_pid(backend);
		child = trial_serving_pid(backend, trial);
		g_assert_cmphex(vhost_backend_features(backend), ==,
				(UINT64_C(1) << 32) | (UINT64_C(3) << 28));
		g_assert_cmpuint(vhost_backend_max_regions(backend), ==, has_slots ? 5 : 8);

		for (unsigned i = 0; i < 3; i++) {
			regions[i] = region_make(i);
			g_assert_cmpint(region_add(backend, &regions[i]), ==, 0);
			g_assert_true(region_is_mapped(child, i));
		}
		/* Nobody else is asked, and it is no part of the table. */
		read_only = regions[0];
		read_only.gpa += UINT64_C(0x100000000);
		read_only.writable = false;
		g_assert_cmpint(region_add(backend, &read_only), ==, 0);
		region_take(backend, &read_only);
		region_take(backend, &regions[1]);
		g_assert_false(region_is_mapped(child, 1));
		g_assert_true(region_is_mapped(child, 0) && region_is_mapped(child, 2));
		g_assert_cmpint(region_add(backend, &regions[1]), ==, 0);
		g_assert_true(region_is_mapped(child, 1));
		g_assert_cmpuint(witness.n_broken, ==, 0);

		vhost_backend_free(g_steal_pointer(&backend));
		g_assert_false(is_process(pid));
		g_assert_false(is_process(child) && region_is_mapped(child, 0));
		/* The end that was wanted is none to speak of. */
		g_assert_cmpuint(witness.n_broken, ==, 0);
		for (unsigned i = 0; i < 3; i++)
			region_end(&regions[i]);
		witness_clear(&witness);
	}
}

/* Its table is full: refused by us, and nothing is broken. */
static void test_full(void)
{
	for (unsigned row = 0; row < 2; row++) {
		unsigned n = row == 0 ? FAKE_N_SLOTS : VHOST_USER_TABLE_MAX;
		g_autoptr(VhostBackend) backend = NULL;
		GuestRegion regions[VHOST_USER_TABLE_MAX + 1];
		Witness witness;

		witness_init(&witness);
		backend = trial_spawn_good(&honest[row], &witness);
		for (unsigned i = 0; i <= n; i++) {
			regions[i] = region_make(i);
			g_assert_cmpint(region_add(backend, &regions[i]), ==, i < n ? 0 : -ENOSPC);
		}
		g_assert_false(region_is_mapped(vhost_backend_pid(backend), n));
		region_take(backend, &regions[0]);
		g_assert_cmpint(region_add(backend, &regions[n]), ==, 0);
		g_assert_true(vhost_backend_is_alive(backend));
		for (unsigned i = 0; i <= n; i++)
			region_end(&regions[i]);
		vhost_backend_free(g_steal_pointer(&backend));
		witness_clear(&witness);
	}
}

static bool is_raised(int fd)
{
	struct pollfd polled = { .fd = fd, .events = POLLIN };
	uint64_t count;

	return poll(&polled, 1, 20000) == 1 && read(fd, &count, sizeof(count)) == sizeof(count);
}

static void kick(int fd)
{
	uint64_t one = 1;

	g_assert_cmpint(write(fd, &one, sizeof(one)), ==, sizeof(one));
}

static void test_rings(void)
{
	for (unsigned row = 0; row < 2; row++) {
		g_autoptr(VhostBackend) backend = NULL;
		GuestRegion ram = region_make(0);
		GuestRegion other = region_make(1);
		int kick_fd = eventfd(0, EFD_CLOEXEC);
		int call_fd = eventfd(0, EFD_CLOEXEC);
		int later_fd = eventfd(0, EFD_CLOEXEC);
		VhostUserRing rings[2];
		Witness witness;

		witness_init(&witness);
		backend = trial_spawn_good(&honest[row], &witness);
		g_assert_cmpint(region_add(backend, &ram), ==, 0);
		g_assert_cmpint(region_add(backend, &other), ==, 0);
		region_fill_rings(&ram, rings, kick_fd, call_fd);
		g_assert_cmpint(vhost_backend_start(backend, UINT64_MAX, rings, 2), ==, 0);
		/* Not what we took for ourselves, and the bit that makes ENABLE count. */
		witness_wait(&witness, "fake: 2: 0000007001000000\n", 0);
		kick(kick_fd);
		g_assert_true(is_raised(call_fd));
		vhost_backend_set_call(backend, 0, later_fd);
		kick(kick_fd);
		g_assert_true(is_raised(later_fd));
		/* What had begun is waited for, on each ring. */
		witness_wait(&witness, "fake: 18: 0100000001000000\n", 0);
		witness_count(&witness, "fake: 18: ", 2);
		region_take(backend, &other);
		witness_count(&witness, "fake: 18: ", 4);
		kick(kick_fd);
		g_assert_true(is_raised(later_fd));

		vhost_backend_stop(backend);
		witness_count(&witness, "fake: 11: ", 2);
		vhost_backend_stop(backend);
		witness_count(&witness, "fake: 11: ", 2);
		g_assert_cmpuint(witness.n_broken, ==, 0);

		/* Rings in memory that goes: stopped first. */
		g_assert_cmpint(region_add(backend, &other), ==, 0);
		region_fill_rings(&other, rings, kick_fd, call_fd);
		g_assert_cmpint(vhost_backend_start(backend, 0, rings, 2), ==, 0);
		region_take(backend, &other);
		g_assert_cmpuint(witness.n_broken, ==, 1);
		witness_count(&witness, "fake: 11: ", 4);
		g_assert_true(vhost_backend_is_alive(backend));
		/* Not in memory it has: refused, and nothing is broken. */
		g_assert_cmpint(vhost_backend_start(backend, 0, rings, 2), ==, -EFAULT);
		g_assert_true(vhost_backend_is_alive(backend));
		/* And the guest starts it anew. */
		region_fill_rings(&ram, rings, kick_fd, call_fd);
		rings[1].n = 0;
		g_assert_cmpint(vhost_backend_start(backend, 0, rings, 2), ==, 0);
		kick(kick_fd);
		g_assert_true(is_raised(call_fd));

		vhost_backend_free(g_steal_pointer(&backend));
		region_end(&ram);
		region_end(&other);
		close(kick_fd);
		close(call_fd);
		close(later_fd);
		witness_clear(&witness);
	}
}

typedef struct Restarts {
	VhostBackend *backend;
	VhostUserRing rings[2];
	unsigned n;
	int is_done; /* atomic */
} Restarts;

static gpointer restart(gpointer opaque)
{
	Restarts *restarts = opaque;

	for (unsigned i = 0; i < restarts->n; i++) {
		g_assert_cmpint(vhost_backend_start(restarts->backend, 0, restarts->rings, 2), ==,
				0);
		vhost_backend_stop(restarts->backend);
	}
	__atomic_store_n(&restarts->is_done, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* Memory goes while a vCPU starts and stops the device: what had begun is waited for all the same.
 */
static void test_restarts(void)
{
	g_autoptr(VhostBackend) backend = NULL;
	GuestRegion ram = region_make(0);
	GuestRegion other = region_make(1);
	int kick_fd = eventfd(0, EFD_CLOEXEC);
	int call_fd = eventfd(0, EFD_CLOEXEC);
	Restarts restarts = { .n = 200 };
	Witness witness;
	GThread *thread;

	witness_init(&witness);
	backend = trial_spawn_good(&honest[0], &witness);
	g_assert_cmpint(region_add(backend, &ram), ==, 0);
	restarts.backend = backend;
	region_fill_rings(&ram, restarts.rings, kick_fd, call_fd);
	thread = g_thread_new("vcpu", restart, &restarts);
	while (!__atomic_load_n(&restarts.is_done, __ATOMIC_ACQUIRE)) {
		g_assert_cmpint(region_add(backend, &other), ==, 0);
		region_take(backend, &other);
	}
	g_thread_join(thread);
	g_assert_true(vhost_backend_is_alive(backend));
	g_assert_cmpuint(witness.n_broken, ==, 0);
	vhost_backend_free(g_steal_pointer(&backend));
	region_end(&ram);
	region_end(&other);
	close(kick_fd);
	close(call_fd);
	witness_clear(&witness);
}

/* ---- ends ---- */

/* Killed by somebody: said once, and all goes on without it. */
static void test_killed(void)
{
	for (unsigned row = 0; row < G_N_ELEMENTS(honest); row++) {
		g_autoptr(VhostBackend) backend = NULL;
		GuestRegion region = region_make(0);
		Witness witness;

		witness_init(&witness);
		backend = trial_spawn_good(&honest[row], &witness);
		g_assert_cmpint(region_add(backend, &region), ==, 0);
		g_assert_cmpint(kill(vhost_backend_pid(backend), SIGKILL), ==, 0);
		witness_wait(&witness, "was ended by signal 9", 1);
		g_assert_false(vhost_backend_is_alive(backend));
		region_take(backend, &region);
		g_assert_cmpuint(witness.n_broken, ==, 1);
		vhost_backend_free(g_steal_pointer(&backend));
		region_end(&region);
		witness_clear(&witness);
	}
}

static void test_no_program(void)
{
	const char *const argv[] = { "/nonexistent/daemon", NULL };
	VhostBackendConfig config = { .name = "nothing", .argv = argv, .n_rings = 1 };
	g_autoptr(GError) error = NULL;

	g_assert_null(vhost_backend_spawn(&config, &error));
	g_assert_nonnull(strstr(error->message, "exit code 127: cannot be executed"));
}

/* What it writes is passed on up to a limit, without control characters, and always read. */
static void test_flood(void)
{
	const char *const argv[] = {
		"/bin/sh",
		"-c",
		"i=0; while test $i -lt 5000; do printf 'line \\033[2J %d\\n' $i; i=$((i + 1)); "
		"done",
		NULL,
	};
	Witness witness;
	BackendProcConfig config = {
		.name = "flood",
		.argv = argv,
		.fd = 0,
		.log = witness_log,
		.opaque = &witness,
	};
	g_autoptr(BackendProc) proc = NULL;
	g_autoptr(GError) error = NULL;
	g_autofree char *words = NULL;

	witness_init(&witness);
	proc = backend_proc_spawn(&config, &error);
	g_assert_no_error(error);
	words = backend_proc_last_words(proc, 20000);
	g_assert_cmpstr(words, ==, "ended with exit code 0: line  [2J 4999");
	witness_count(&witness, "flood: line  [2J ", 100);
	witness_count(&witness, "flood: line  [2J 99 (more of this is left out)\n", 1);
	backend_proc_free(g_steal_pointer(&proc));
	witness_clear(&witness);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--fake") == 0)
		return fake_main(argc, argv);
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/vhost-backend/regions", test_regions);
	g_test_add_func("/protocol/vhost-backend/full", test_full);
	g_test_add_func("/protocol/vhost-backend/rings", test_rings);
	g_test_add_func("/protocol/vhost-backend/restarts", test_restarts);
	g_test_add_func("/protocol/vhost-backend/killed", test_killed);
	g_test_add_func("/protocol/vhost-backend/no-program", test_no_program);
	g_test_add_func("/protocol/vhost-backend/flood", test_flood);
	return g_test_run();
}
