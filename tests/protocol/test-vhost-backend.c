/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost-user front end against a daemon that is honest, and one that lies, stalls, forks, dies. */
#include "vhost_fake.h"

#include "machine/backend_proc.h"
#include "machine/vhost_backend.h"
#include "machine/vhost_user_wire.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define REGION_LEN 0x10000u
#define QUIET_MS   500
#define HELLO_MS   2000

/* ---- what the daemon is told and says ---- */

typedef struct Witness {
	GMutex lock;
	GCond changed;
	GString *said;
	unsigned n_broken;
} Witness;

static void witness_log(void *opaque, const char *line)
{
	Witness *witness = opaque;

	g_mutex_lock(&witness->lock);
	g_string_append_printf(witness->said, "%s\n", line);
	g_cond_broadcast(&witness->changed);
	g_mutex_unlock(&witness->lock);
}

static void witness_broken(void *opaque)
{
	Witness *witness = opaque;

	g_mutex_lock(&witness->lock);
	witness->n_broken++;
	g_cond_broadcast(&witness->changed);
	g_mutex_unlock(&witness->lock);
}

/* Until TEXT has been said and the device has been broken N_BROKEN times. */
static void witness_wait(Witness *witness, const char *text, unsigned n_broken)
{
	gint64 deadline = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;

	g_mutex_lock(&witness->lock);
	while (strstr(witness->said->str, text) == NULL || witness->n_broken < n_broken) {
		if (!g_cond_wait_until(&witness->changed, &witness->lock, deadline))
			g_error("no \"%s\" and %u broken in:\n%s", text, n_broken,
				witness->said->str);
	}
	g_assert_cmpuint(witness->n_broken, ==, n_broken);
	g_mutex_unlock(&witness->lock);
}

/* Until TEXT has been said N times, and no more than that. */
static void witness_count(Witness *witness, const char *text, unsigned n)
{
	gint64 deadline = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
	unsigned found = 0;

	g_mutex_lock(&witness->lock);
	for (;;) {
		found = 0;
		for (const char *at = witness->said->str; (at = strstr(at, text)) != NULL; at++)
			found++;
		if (found >= n || !g_cond_wait_until(&witness->changed, &witness->lock, deadline))
			break;
	}
	g_assert_cmpuint(found, ==, n);
	g_mutex_unlock(&witness->lock);
}

static void witness_init(Witness *witness)
{
	g_mutex_init(&witness->lock);
	g_cond_init(&witness->changed);
	witness->said = g_string_new(NULL);
	witness->n_broken = 0;
}

static void witness_clear(Witness *witness)
{
	g_string_free(witness->said, TRUE);
	g_cond_clear(&witness->changed);
	g_mutex_clear(&witness->lock);
}

typedef struct Trial {
	unsigned traits;
	enum fake_lie lie;
	unsigned lie_at, lie_nth;
} Trial;

static VhostBackend *spawn(const Trial *trial, Witness *witness, GError **error)
{
	g_autofree char *traits = g_strdup_printf("%u", trial->traits);
	g_autofree char *lie = g_strdup_printf("%u", trial->lie);
	g_autofree char *lie_at = g_strdup_printf("%u", trial->lie_at);
	g_autofree char *lie_nth = g_strdup_printf("%u", trial->lie_nth);
	const char *const argv[] = {
		"/proc/self/exe", "--fake", traits, lie, lie_at, lie_nth, NULL
	};
	VhostBackendConfig config = {
		.name = "fake",
		.argv = argv,
		.listens = (trial->traits & FAKE_LISTENS) != 0,
		.n_rings = 2,
		.hello_ms = HELLO_MS,
		.quiet_ms = QUIET_MS,
		.log = witness_log,
		.broken = witness_broken,
		.opaque = witness,
	};

	return vhost_backend_spawn(&config, error);
}

static VhostBackend *spawn_good(const Trial *trial, Witness *witness)
{
	g_autoptr(GError) error = NULL;
	VhostBackend *backend = spawn(trial, witness, &error);

	g_assert_no_error(error);
	g_assert_nonnull(backend);
	return backend;
}

/* ---- memory ---- */

static GuestRegion region_make(unsigned number)
{
	GuestRegion region = {
		.gpa = UINT64_C(0x5000000000) + number * UINT64_C(0x10000000),
		.len = REGION_LEN,
		.offset = REGION_LEN,
		.writable = true,
	};
	g_autofree char *name = g_strdup_printf("vhost-test-%u", number);

	region.fd = memfd_create(name, MFD_CLOEXEC);
	g_assert_cmpint(region.fd, >=, 0);
	g_assert_cmpint(ftruncate(region.fd, 2 * REGION_LEN), ==, 0);
	region.hva = mmap(NULL, REGION_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, region.fd,
			  REGION_LEN);
	g_assert_true(region.hva != MAP_FAILED);
	return region;
}

static void region_end(GuestRegion *region)
{
	munmap(region->hva, region->len);
	close(region->fd);
}

/* Whether PID has the region's file mapped; false when it is no more. */
static bool is_mapped(pid_t pid, unsigned number)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/maps", pid);
	g_autofree char *name = g_strdup_printf("memfd:vhost-test-%u ", number);
	g_autofree char *maps = NULL;

	return g_file_get_contents(path, &maps, NULL, NULL) && strstr(maps, name) != NULL;
}

static bool is_process(pid_t pid)
{
	return kill(pid, 0) == 0;
}

/* The one child a forking daemon has, or itself. */
static pid_t serving_pid(const VhostBackend *backend, const Trial *trial)
{
	pid_t pid = vhost_backend_pid(backend);
	g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/children", pid, pid);
	g_autofree char *text = NULL;

	if ((trial->traits & FAKE_FORKS) == 0)
		return pid;
	g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
	pid = (pid_t)g_ascii_strtoll(text, NULL, 10);
	g_assert_cmpint(pid, >, 0);
	return pid;
}

static int add(VhostBackend *backend, const GuestRegion *region)
{
	return vhost_backend_listener_ops.add(backend, region);
}

static void take(VhostBackend *backend, const GuestRegion *region)
{
	vhost_backend_listener_ops.remove(backend, region);
}

/* ---- honest ones ---- */

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
		backend = spawn_good(trial, &witness);
		pid = vhost_backend_pid(backend);
		child = serving_pid(backend, trial);
		g_assert_cmphex(vhost_backend_features(backend), ==,
				(UINT64_C(1) << 32) | (UINT64_C(3) << 28));
		g_assert_cmpuint(vhost_backend_max_regions(backend), ==, has_slots ? 5 : 8);

		for (unsigned i = 0; i < 3; i++) {
			regions[i] = region_make(i);
			g_assert_cmpint(add(backend, &regions[i]), ==, 0);
			g_assert_true(is_mapped(child, i));
		}
		/* Nobody else is asked, and it is no part of the table. */
		read_only = regions[0];
		read_only.gpa += UINT64_C(0x100000000);
		read_only.writable = false;
		g_assert_cmpint(add(backend, &read_only), ==, 0);
		take(backend, &read_only);
		take(backend, &regions[1]);
		g_assert_false(is_mapped(child, 1));
		g_assert_true(is_mapped(child, 0) && is_mapped(child, 2));
		g_assert_cmpint(add(backend, &regions[1]), ==, 0);
		g_assert_true(is_mapped(child, 1));
		g_assert_cmpuint(witness.n_broken, ==, 0);

		vhost_backend_free(g_steal_pointer(&backend));
		g_assert_false(is_process(pid));
		g_assert_false(is_process(child) && is_mapped(child, 0));
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
		backend = spawn_good(&honest[row], &witness);
		for (unsigned i = 0; i <= n; i++) {
			regions[i] = region_make(i);
			g_assert_cmpint(add(backend, &regions[i]), ==, i < n ? 0 : -ENOSPC);
		}
		g_assert_false(is_mapped(vhost_backend_pid(backend), n));
		take(backend, &regions[0]);
		g_assert_cmpint(add(backend, &regions[n]), ==, 0);
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

static void fill_rings(const GuestRegion *region, VhostUserRing *rings, int kick_fd, int call_fd)
{
	uint64_t hva = (uintptr_t)region->hva;

	for (unsigned i = 0; i < 2; i++) {
		rings[i] = (VhostUserRing){
			.n = 16,
			.desc_hva = hva + i * 0x4000,
			.avail_hva = hva + i * 0x4000 + 0x1000,
			.used_hva = hva + i * 0x4000 + 0x2000,
			.kick_fd = i == 0 ? kick_fd : -1,
			.call_fd = i == 0 ? call_fd : -1,
		};
	}
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
		backend = spawn_good(&honest[row], &witness);
		g_assert_cmpint(add(backend, &ram), ==, 0);
		g_assert_cmpint(add(backend, &other), ==, 0);
		fill_rings(&ram, rings, kick_fd, call_fd);
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
		take(backend, &other);
		witness_count(&witness, "fake: 18: ", 4);
		kick(kick_fd);
		g_assert_true(is_raised(later_fd));

		vhost_backend_stop(backend);
		witness_count(&witness, "fake: 11: ", 2);
		vhost_backend_stop(backend);
		witness_count(&witness, "fake: 11: ", 2);
		g_assert_cmpuint(witness.n_broken, ==, 0);

		/* Rings in memory that goes: stopped first. */
		g_assert_cmpint(add(backend, &other), ==, 0);
		fill_rings(&other, rings, kick_fd, call_fd);
		g_assert_cmpint(vhost_backend_start(backend, 0, rings, 2), ==, 0);
		take(backend, &other);
		g_assert_cmpuint(witness.n_broken, ==, 1);
		witness_count(&witness, "fake: 11: ", 4);
		g_assert_true(vhost_backend_is_alive(backend));
		/* Not in memory it has: refused, and nothing is broken. */
		g_assert_cmpint(vhost_backend_start(backend, 0, rings, 2), ==, -EFAULT);
		g_assert_true(vhost_backend_is_alive(backend));
		/* And the guest starts it anew. */
		fill_rings(&ram, rings, kick_fd, call_fd);
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

/* ---- dishonest ones ---- */

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

static unsigned count_fds(void)
{
	g_autoptr(GDir) dir = g_dir_open("/proc/self/fd", 0, NULL);
	unsigned n = 0;

	while (g_dir_read_name(dir) != NULL)
		n++;
	return n;
}

static void test_hello_lies(void)
{
	unsigned n_fds = count_fds();

	for (unsigned row = 0; row < G_N_ELEMENTS(hello_lies); row++) {
		g_autoptr(GError) error = NULL;
		Witness witness;

		witness_init(&witness);
		g_assert_null(spawn(&hello_lies[row].trial, &witness, &error));
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
		backend = spawn_good(trial, &witness);
		pid = serving_pid(backend, trial);
		g_assert_cmpint(add(backend, &region), ==, 0);
		g_assert_true(is_mapped(pid, 0));
		begin = g_get_monotonic_time();
		take(backend, &region);
		if (trial->lie == LIE_SILENT)
			g_assert_cmpint(g_get_monotonic_time() - begin, >=, QUIET_MS * 1000);
		g_assert_false(is_mapped(pid, 0));
		g_assert_false(vhost_backend_is_alive(backend));
		witness_wait(&witness, "the guest's device does not work any more", 1);
		/* One that is gone refuses nothing: it reaches nothing. */
		g_assert_cmpint(add(backend, &region), ==, 0);
		take(backend, &region);
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
		backend = spawn_good(&trial, &witness);
		pid = vhost_backend_pid(backend);
		g_assert_cmpint(add(backend, &region), ==, -EIO);
		g_assert_false(is_mapped(pid, 0));
		witness_wait(&witness, "asked to map the guest's memory", 1);
		vhost_backend_free(g_steal_pointer(&backend));
		region_end(&region);
		witness_clear(&witness);
	}
}

/* ---- other threads, other ends ---- */

typedef struct Slow {
	VhostBackend *backend;
	GuestRegion region;
} Slow;

static gpointer start_slowly(gpointer opaque)
{
	const Slow *slow = opaque;
	VhostUserRing rings[2];

	fill_rings(&slow->region, rings, -1, -1);
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
	backend = spawn_good(&trial, &witness);
	pid = vhost_backend_pid(backend);
	slow = (Slow){ backend, region_make(1) };
	g_assert_cmpint(add(backend, &region), ==, 0);
	g_assert_cmpint(add(backend, &slow.region), ==, 0);
	thread = g_thread_new("vcpu", start_slowly, &slow);
	witness_wait(&witness, "fake: 8: ", 0);
	begin = g_get_monotonic_time();
	take(backend, &region);
	g_assert_cmpint(g_get_monotonic_time() - begin, >=, QUIET_MS * 900);
	g_assert_false(is_mapped(pid, 0));
	g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(thread)), <, 0);
	witness_wait(&witness, "the guest's device does not work any more", 1);
	vhost_backend_free(g_steal_pointer(&backend));
	region_end(&region);
	region_end(&slow.region);
	witness_clear(&witness);
}

/* Killed by somebody: said once, and all goes on without it. */
static void test_killed(void)
{
	for (unsigned row = 0; row < G_N_ELEMENTS(honest); row++) {
		g_autoptr(VhostBackend) backend = NULL;
		GuestRegion region = region_make(0);
		Witness witness;

		witness_init(&witness);
		backend = spawn_good(&honest[row], &witness);
		g_assert_cmpint(add(backend, &region), ==, 0);
		g_assert_cmpint(kill(vhost_backend_pid(backend), SIGKILL), ==, 0);
		witness_wait(&witness, "was ended by signal 9", 1);
		g_assert_false(vhost_backend_is_alive(backend));
		take(backend, &region);
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
	g_test_add_func("/protocol/vhost-backend/hello-lies", test_hello_lies);
	g_test_add_func("/protocol/vhost-backend/memory-lies", test_memory_lies);
	g_test_add_func("/protocol/vhost-backend/add-lies", test_add_lies);
	g_test_add_func("/protocol/vhost-backend/removal-overtakes", test_removal_overtakes);
	g_test_add_func("/protocol/vhost-backend/killed", test_killed);
	g_test_add_func("/protocol/vhost-backend/no-program", test_no_program);
	g_test_add_func("/protocol/vhost-backend/flood", test_flood);
	return g_test_run();
}
