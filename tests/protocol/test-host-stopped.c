/* SPDX-License-Identifier: BSD-3-Clause */
/* Hosts stopped or killed at each step of the memory link, and hosts that replace others. */
#include "../unit/processes.h"
#include "host_proc.h"

#include "pool/pool_priv.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * The linker puts the functions below between the pool and its memory links (-Wl,--wrap): what is
 * armed strikes the host in the moment before the message is sent.
 */
#define LEN     (4 * MIB)
#define STOP_US (10 * (gint64)G_USEC_PER_SEC)

typedef enum Step {
	STEP_NONE,
	STEP_PREPARE,
	STEP_EXPOSE,
	STEP_REVOKE,
	STEP_DROP,
} Step;

#define N_STEPS 4 /* device I is struck at step I + 1 */

typedef struct Trap {
	MemLinkServer *link;
	Step step; /* armed for; on the pool's thread once it runs */
	pid_t pid;
	int signal_number;
	bool spoils_prepare; /* so that a drop follows */
	int n_struck;        /* atomic */
} Trap;

static Trap traps[N_STEPS];

static Trap *find_trap(const MemLinkServer *link)
{
	for (unsigned i = 0; i < N_STEPS; i++) {
		if (traps[i].link == link)
			return &traps[i];
	}
	return NULL;
}

/* Returns when the process stands still, or is dead. */
static void strike(const MemLinkServer *link, Step step)
{
	Trap *trap = find_trap(link);
	siginfo_t info;

	if (!trap || trap->step != step)
		return;
	trap->step = STEP_NONE;
	kill(trap->pid, trap->signal_number);
	g_assert_cmpint(waitid(P_PID, (id_t)trap->pid, &info, WSTOPPED | WEXITED | WNOWAIT), ==, 0);
	g_atomic_int_inc(&trap->n_struck);
}

void __real_mem_link_server_prepare(MemLinkServer *server, uint64_t req, const MemLinkMap *maps,
				    size_t n);
void __wrap_mem_link_server_prepare(MemLinkServer *server, uint64_t req, const MemLinkMap *maps,
				    size_t n);
void __real_mem_link_server_expose(MemLinkServer *server, uint64_t req, const uint64_t *ids,
				   size_t n);
void __wrap_mem_link_server_expose(MemLinkServer *server, uint64_t req, const uint64_t *ids,
				   size_t n);
void __real_mem_link_server_revoke(MemLinkServer *server, uint64_t req, const MemLinkPart *parts,
				   size_t n);
void __wrap_mem_link_server_revoke(MemLinkServer *server, uint64_t req, const MemLinkPart *parts,
				   size_t n);
void __real_mem_link_server_drop(MemLinkServer *server, uint64_t req, const uint64_t *ids,
				 size_t n);
void __wrap_mem_link_server_drop(MemLinkServer *server, uint64_t req, const uint64_t *ids,
				 size_t n);

/* A descriptor that cannot be mapped writable, as the map wants it. */
static int spoil(int fd)
{
	g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
	int spoiled = open(path, O_RDONLY | O_CLOEXEC);

	g_assert_cmpint(spoiled, >=, 0);
	return spoiled;
}

void __wrap_mem_link_server_prepare(MemLinkServer *server, uint64_t req, const MemLinkMap *maps,
				    size_t n)
{
	Trap *trap = find_trap(server);
	MemLinkMap spoiled;

	strike(server, STEP_PREPARE);
	if (!trap || !trap->spoils_prepare) {
		__real_mem_link_server_prepare(server, req, maps, n);
		return;
	}
	trap->spoils_prepare = false;
	g_assert_cmpuint(n, ==, 1);
	spoiled = maps[0];
	spoiled.fd = spoil(spoiled.fd);
	__real_mem_link_server_prepare(server, req, &spoiled, 1);
	close(spoiled.fd);
}

void __wrap_mem_link_server_expose(MemLinkServer *server, uint64_t req, const uint64_t *ids,
				   size_t n)
{
	strike(server, STEP_EXPOSE);
	__real_mem_link_server_expose(server, req, ids, n);
}

void __wrap_mem_link_server_revoke(MemLinkServer *server, uint64_t req, const MemLinkPart *parts,
				   size_t n)
{
	strike(server, STEP_REVOKE);
	__real_mem_link_server_revoke(server, req, parts, n);
}

void __wrap_mem_link_server_drop(MemLinkServer *server, uint64_t req, const uint64_t *ids, size_t n)
{
	strike(server, STEP_DROP);
	__real_mem_link_server_drop(server, req, ids, n);
}

/* ---- each step at once, each on a device of its own ---- */

typedef struct Steps {
	Rig *rig;
	HostProc *hosts[N_STEPS];
} Steps;

static HostProc *start_host(Rig *rig, unsigned device)
{
	g_autofree char *option = g_strdup_printf("--device=dev%u", device);
	HostProc *host = host_proc_start(rig, option, "--check=1", "--window=1G", NULL);

	host_proc_pass(host, "attached");
	return host;
}

static void wait_struck(unsigned device)
{
	gint64 end = g_get_monotonic_time() + PROC_WAIT_US;

	while (!g_atomic_int_get(&traps[device].n_struck)) {
		g_assert_cmpint(g_get_monotonic_time(), <, end);
		g_usleep(1000);
	}
}

static void expect_accepted(HostProc *host, unsigned tag)
{
	g_autoptr(JsonObject) event = host_proc_expect(host, "accepted");

	assert_tag(event, tag);
	g_assert_cmpstr(json_object_get_string_member(event, "check"), ==, "filled");
}

/* Every host is struck at its step; tag I + 1 is what it is about. */
static void steps_init(Steps *steps, int signal_number)
{
	Rig *rig = rig_new(N_STEPS);

	*steps = (Steps){ .rig = rig };
	for (unsigned i = 0; i < N_STEPS; i++) {
		rig_backend(rig, i + 1, LEN);
		steps->hosts[i] = start_host(rig, i);
	}
	rig_offer(rig, STEP_REVOKE - 1, STEP_REVOKE);
	expect_accepted(steps->hosts[STEP_REVOKE - 1], STEP_REVOKE);
	for (unsigned i = 0; i < N_STEPS; i++) {
		/* Nothing of this device goes on now. */
		traps[i] = (Trap){
			.link = rig->devices[i]->link,
			.step = (Step)(i + 1),
			.pid = steps->hosts[i]->pid,
			.signal_number = signal_number,
			.spoils_prepare = i + 1 == STEP_DROP,
		};
	}
	for (unsigned i = 0; i < N_STEPS; i++) {
		if (i + 1 == STEP_REVOKE)
			rig_ask_back(rig, i, i + 1, false);
		else
			rig_offer(rig, i, i + 1);
	}
	for (unsigned i = 0; i < N_STEPS; i++)
		wait_struck(i);
}

static void steps_clear(Steps *steps)
{
	for (unsigned i = 0; i < N_STEPS; i++)
		host_proc_free(steps->hosts[i]);
	memset(traps, 0, sizeof(traps));
	rig_free(steps->rig);
}

/*
 * What somebody may still reach is nobody else's: of an offer that the host has not got rid of, or
 * on its way out.
 */
static void assert_held_back(Rig *rig, unsigned tag)
{
	CapacityCounters counters = rig_counters(rig, tag);

	g_assert_cmpuint(counters.free, ==, 0);
	g_assert_cmpuint(counters.accepted, ==, 0);
	g_assert_cmpuint(tag == STEP_REVOKE ? counters.draining
					    : counters.reserved + counters.draining,
			 ==, LEN);
	for (unsigned device = 0; device < N_STEPS; device++)
		g_assert_false(rig_try_offer(rig, device, tag));
}

static void assert_wiped(Rig *rig, unsigned tag)
{
	g_autofree uint8_t *bytes = g_malloc(LEN);

	rig_backend_read(rig, tag, 0, bytes, LEN);
	for (uint64_t i = 0; i < LEN; i++)
		g_assert_cmphex(bytes[i], ==, 0);
}

static void test_stopped(void)
{
	gint64 until = g_get_monotonic_time() + STOP_US;
	Steps steps;

	steps_init(&steps, SIGSTOP);
	/* Commands end within a second, whatever their host does. */
	g_usleep(3 * G_USEC_PER_SEC / 2);
	do {
		for (unsigned tag = 1; tag <= N_STEPS; tag++)
			assert_held_back(steps.rig, tag);
		g_usleep(250000);
	} while (g_get_monotonic_time() < until);
	for (unsigned i = 0; i < N_STEPS; i++)
		kill(steps.hosts[i]->pid, SIGCONT);
	for (unsigned tag = 1; tag <= N_STEPS; tag++) {
		rig_wait_free(steps.rig, tag, LEN);
		assert_wiped(steps.rig, tag);
	}
	host_proc_pass(steps.hosts[STEP_REVOKE - 1], "released");
	/* None has taken harm. */
	for (unsigned i = 0; i < N_STEPS; i++) {
		rig_offer(steps.rig, i, i + 1);
		expect_accepted(steps.hosts[i], i + 1);
		g_assert_cmpint(host_proc_end(steps.hosts[i], SIGTERM), ==, 0);
		rig_wait_free(steps.rig, i + 1, LEN);
	}
	steps_clear(&steps);
}

static void wait_reserved(Rig *rig, unsigned tag)
{
	gint64 end = g_get_monotonic_time() + PROC_WAIT_US;

	while (rig_counters(rig, tag).reserved != LEN) {
		g_assert_cmpint(g_get_monotonic_time(), <, end);
		g_usleep(1000);
	}
}

static void test_killed(void)
{
	Steps steps;

	steps_init(&steps, SIGKILL);
	for (unsigned i = 0; i < N_STEPS; i++) {
		g_assert_cmpint(host_proc_wait(steps.hosts[i]), ==, -SIGKILL);
		host_proc_free(steps.hosts[i]);
	}
	/* Nobody is left who could reach it. What was offered still is, to whoever comes next. */
	for (unsigned tag = 1; tag <= N_STEPS; tag++) {
		if (tag == STEP_REVOKE)
			rig_wait_free(steps.rig, tag, LEN);
		else
			wait_reserved(steps.rig, tag);
		assert_wiped(steps.rig, tag);
	}
	for (unsigned i = 0; i < N_STEPS; i++) {
		steps.hosts[i] = start_host(steps.rig, i);
		if (i + 1 == STEP_REVOKE)
			rig_offer(steps.rig, i, i + 1);
		expect_accepted(steps.hosts[i], i + 1);
	}
	steps_clear(&steps);
}

/* ---- replaced ---- */

#define NOBODY 65534

static HostProc *start_as(Rig *rig, uid_t uid, const char *device)
{
	const char *const args[] = { device, "--check=1", "--window=1G", NULL };

	return host_proc_start_as(rig, uid, args);
}

/* A host under another uid that could attach, or NULL and the test is skipped. */
static HostProc *start_nobody(Rig *rig, const char *device)
{
	HostProc *host;
	JsonObject *event;

	if (geteuid() != 0) {
		g_test_skip("needs to be root");
		return NULL;
	}
	host = start_as(rig, NOBODY, device);
	event = host_proc_next(host);
	if (event) {
		json_object_unref(event);
		return host;
	}
	host_proc_free(host);
	g_test_skip("the program cannot be run under another uid from here");
	return NULL;
}

/* The new host has the extents, and the memory only when the old process is gone. */
static void test_replaced(void)
{
	g_autoptr(Rig) rig = rig_new(1);
	g_autoptr(HostProc) first = start_host(rig, 0);
	g_autoptr(HostProc) second = NULL;
	g_autoptr(JsonObject) event = NULL;

	rig_backend(rig, 1, LEN);
	rig_offer(rig, 0, 1);
	expect_accepted(first, 1);
	stop_process(first->pid);
	rig_hang_up(rig, 0);
	second = start_nobody(rig, "--device=dev0");
	if (!second)
		return;
	host_proc_expect_silence(second, 1500);
	g_assert_cmpuint(rig_counters(rig, 1).accepted, ==, LEN);
	g_assert_cmpint(host_proc_end(first, SIGKILL), ==, -SIGKILL);
	event = host_proc_expect(second, "accepted");
	g_assert_true(json_object_get_boolean_member(event, "recovered"));
	g_assert_cmpstr(json_object_get_string_member(event, "check"), ==, "verified");
	g_assert_cmpint(host_proc_end(second, SIGTERM), ==, 0);
	rig_wait_free(rig, 1, LEN);
}

static void wait_quarantined(Rig *rig, unsigned tag)
{
	gint64 end = g_get_monotonic_time() + PROC_WAIT_US;

	while (rig_counters(rig, tag).quarantined != LEN) {
		g_assert_cmpint(g_get_monotonic_time(), <, end);
		g_usleep(1000);
	}
}

/* What cannot get a fresh file waits for the end of a host that is not of the pool's own uid. */
static void test_quarantined(void)
{
	g_autoptr(Rig) rig = rig_new(2);
	g_autofree char *path = g_build_filename(rig->dir, "kept", NULL);
	g_autoptr(HostProc) stranger = start_nobody(rig, "--device=dev0");
	g_autoptr(HostProc) own = NULL;
	BackendConfig config = {
		.name = "mem1",
		.type = BACKEND_FILE,
		.size = LEN,
		.path = path,
		.tag = rig_tag(1),
	};
	g_autoptr(GError) error = NULL;

	if (!stranger)
		return;
	pool_add_backend(rig->pool, &config, &error);
	g_assert_no_error(error);
	unlink(path);
	rig_offer(rig, 0, 1);
	expect_accepted(stranger, 1);
	rig_ask_back(rig, 0, 1, false);
	host_proc_pass(stranger, "released");
	wait_quarantined(rig, 1);
	own = start_host(rig, 1);
	g_assert_false(rig_try_offer(rig, 1, 1));
	g_assert_cmpint(host_proc_end(stranger, SIGTERM), ==, 0);
	rig_wait_free(rig, 1, LEN);
	rig_offer(rig, 1, 1);
	expect_accepted(own, 1);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/host-stopped/stopped", test_stopped);
	g_test_add_func("/protocol/host-stopped/killed", test_killed);
	g_test_add_func("/protocol/host-stopped/replaced", test_replaced);
	g_test_add_func("/protocol/host-stopped/quarantined", test_quarantined);
	return g_test_run();
}
