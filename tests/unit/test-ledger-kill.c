/* SPDX-License-Identifier: BSD-3-Clause */
/* A process killed at any instant: its ledger holds all that was acknowledged, in order, whole. */

#include "ledger-fixture.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#define ROUNDS    220
#define IN_FLIGHT 8  /* records submitted and not answered */
#define KEPT      64 /* hosts; a record adds one and deletes one */
#define PARTS     20 /* extents in a record, all of them or none */

/*
 * Record N moves everything from state N - 1 to state N: the counter, one more host and one fewer,
 * and a generation of extents that replaces the one before. So each state can be told from what is
 * loaded, and half a record shows.
 */
static RowRecord *numbered_record(uint64_t n)
{
	RowRecord *record = row_record_new(ROW_REASON_CHANGE);

	record->epoch = 1;
	row_record_add(record, ROW_UPSERT, ROW_COUNTERS)->counters = (RowCounters){ n, 1, 1 };
	if (n == 1) {
		add_device(record, 1);
		add_offer(record, 1, 1);
	}
	add_host(record, n);
	if (n > KEPT)
		row_record_add(record, ROW_DELETE, ROW_HOST)->host.serial = n - KEPT;
	for (uint64_t i = 0; i < PARTS; i++) {
		if (n > 1)
			row_record_add(record, ROW_DELETE, ROW_EXTENT)->extent =
				(RowExtent){ .device = 1, .dpa = (i << 32 | (n - 1)) };
		add_extent(record, 1, 1, i << 32 | n);
	}
	return record;
}

/* Which state is it? Anything but a state fails. */
static uint64_t check_state(const RowRecord *loaded)
{
	uint64_t n = loaded->changes->len ? row_record_at(loaded, 0)->counters.next_id : 0;
	uint64_t first = n > KEPT ? n - KEPT + 1 : 1;
	uint64_t n_hosts = 0, n_extents = 0;

	for (guint i = 0; i < loaded->changes->len; i++) {
		const RowChange *change = row_record_at(loaded, i);

		if (change->kind == ROW_HOST)
			g_assert_cmpuint(change->host.serial, ==, first + n_hosts++);
		else if (change->kind == ROW_EXTENT)
			g_assert_cmpuint(change->extent.dpa, ==, n_extents++ << 32 | n);
	}
	g_assert_cmpuint(n_hosts, ==, MIN(n, KEPT));
	g_assert_cmpuint(n_extents, ==, n ? PARTS : 0);
	return n;
}

/* ---- the process that will be killed ---- */

typedef struct Victim {
	Ledger *ledger;
	int pipe;
	uint64_t submitted, answered;
	const char *step; /* where to die by its own hand, or NULL */
	unsigned steps_left;
} Victim;

static void die_at_step(void *opaque, const char *step, unsigned reasons)
{
	Victim *victim = opaque;

	if (victim->step && g_str_equal(step, victim->step) && victim->steps_left-- == 0)
		raise(SIGKILL);
}

static void acknowledge(void *opaque, bool ok, const char *why)
{
	Victim *victim = opaque;

	if (!ok)
		g_error("refused: %s", why);
	victim->answered++;
	if (write(victim->pipe, &victim->answered, sizeof(victim->answered)) !=
	    sizeof(victim->answered))
		_exit(1);
}

static void submit_next(Victim *victim)
{
	g_autoptr(RowRecord) record = numbered_record(++victim->submitted);

	ledger_submit(victim->ledger, record, acknowledge, victim);
	ledger_audit(victim->ledger, &(AuditEntry){ .id = victim->submitted });
}

static G_NORETURN void be_victim(const char *dir, uint64_t state, Victim *victim)
{
	LedgerOptions options = { .ops.fault = die_at_step, .opaque = victim };
	unsigned in_flight = 1 + (unsigned)(state % IN_FLIGHT);

	victim->ledger = open_ledger_with(dir, &options);
	victim->submitted = state;
	victim->answered = state;
	for (;;) {
		while (victim->submitted - victim->answered < in_flight)
			submit_next(victim);
		g_main_context_iteration(NULL, TRUE);
	}
}

/* ---- the one that kills ---- */

static uint64_t read_last(int fd, uint64_t last)
{
	uint64_t answered;
	ssize_t n;

	while ((n = read(fd, &answered, sizeof(answered))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		g_assert_cmpint(n, ==, sizeof(answered));
		g_assert_cmpuint(answered, ==, last + 1);
		last = answered;
	}
	return last;
}

/* Returns the last acknowledged number. */
static uint64_t run_and_kill(const char *dir, uint64_t state, unsigned round)
{
	static const char *const steps[] = { "ledger-before-commit", "ledger-after-commit" };
	Victim victim = { .pipe = -1 };
	int ends[2], status;
	uint64_t last;
	pid_t child;

	if (round % 4 == 3)
		victim.step = steps[round / 4 % 2];
	victim.steps_left = (unsigned)g_test_rand_int_range(0, 6);
	g_assert_cmpint(pipe(ends), ==, 0);
	child = fork();
	g_assert_cmpint(child, >=, 0);
	if (child == 0) {
		close(ends[0]);
		victim.pipe = ends[1];
		be_victim(dir, state, &victim);
	}
	close(ends[1]);
	if (!victim.step) {
		struct pollfd first = { .fd = ends[0], .events = POLLIN };

		/* While it starts, or at work. */
		if (round % 4 > 0)
			g_assert_cmpint(poll(&first, 1, -1), ==, 1);
		g_usleep((gulong)g_test_rand_int_range(0, 8000));
		kill(child, SIGKILL);
	}
	g_assert_cmpint(waitpid(child, &status, 0), ==, child);
	g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	last = read_last(ends[0], state);
	close(ends[0]);
	return last;
}

static void test_kill(void)
{
	char *dir = state_dir_new();
	uint64_t state = 0;
	unsigned n_moved = 0;

	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t last = run_and_kill(dir, state, round);
		Ledger *ledger = open_ledger(dir);
		g_autoptr(RowRecord) loaded = load_all(ledger);
		uint64_t found = check_state(loaded);

		g_assert_cmpuint(found, >=, last);
		g_assert_cmpuint(found, <=, last + IN_FLIGHT);
		n_moved += found > state;
		state = found;
		ledger_close(ledger);
	}
	g_test_message("%" PRIu64 " records in %u of %u lives", state, n_moved, ROUNDS);
	g_assert_cmpuint(n_moved, >, ROUNDS / 4);
	state_dir_free(dir);
}

/* ---- the audit: no line is torn for its reader, none comes twice or in another order ---- */

static bool check_order(const char *line, size_t len, int64_t time_us, void *opaque)
{
	uint64_t *last = opaque, id;
	const char *pos = strstr(line, "\"id\":");

	g_assert_nonnull(pos);
	id = g_ascii_strtoull(pos + 5, NULL, 10);
	/* After a kill it begins again with what had not been kept. */
	g_assert_cmpuint(id, >, *last > IN_FLIGHT ? *last - IN_FLIGHT : 0);
	*last = id;
	return true;
}

static void test_kill_audit(void)
{
	char *dir = state_dir_new();
	g_autoptr(GError) error = NULL;
	uint64_t state = 0, last = 0;

	for (unsigned round = 0; round < 40; round++) {
		Ledger *ledger = NULL;

		run_and_kill(dir, state, round);
		ledger = open_ledger(dir);
		{
			g_autoptr(RowRecord) loaded = load_all(ledger);

			state = check_state(loaded);
		}
		ledger_close(ledger);
	}
	g_assert_true(audit_read(dir, 0, check_order, &last, &error));
	g_assert_no_error(error);
	g_assert_cmpuint(last, >, 0);
	state_dir_free(dir);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/ledger-kill/rows", test_kill);
	g_test_add_func("/unit/ledger-kill/audit", test_kill_audit);
	return g_test_run();
}
