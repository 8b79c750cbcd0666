/* SPDX-License-Identifier: BSD-3-Clause */
/* The same words to QEMU's own QMP server and to ours: what scripts see must be the same. */
#include "qmp_fixture.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_US (60 * G_TIME_SPAN_SECOND)

/* ---- QEMU, without a machine ---- */

typedef struct Qemu {
	GPid pid;
	char *dir, *path;
} Qemu;

static void die_with_test(gpointer data)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static void qemu_free(Qemu *qemu)
{
	kill(qemu->pid, SIGKILL);
	waitpid(qemu->pid, NULL, 0);
	g_spawn_close_pid(qemu->pid);
	g_unlink(qemu->path);
	g_rmdir(qemu->dir);
	g_free(qemu->path);
	g_free(qemu->dir);
	g_free(qemu);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Qemu, qemu_free)

/* Skips the test and returns NULL if there is none. SOFTDCD_QEMU names another one. */
static Qemu *qemu_start(void)
{
	const char *wanted = g_getenv("SOFTDCD_QEMU");
	g_autofree char *program = g_find_program_in_path(wanted ? wanted : "qemu-system-x86_64");
	g_autofree char *option = NULL;
	int64_t until_us = g_get_monotonic_time() + PATIENCE_US;
	g_autofree Qemu *qemu = NULL;
	GError *error = NULL;
	int fd;

	if (!program) {
		g_test_skip("qemu-system-x86_64 is not installed");
		return NULL;
	}
	qemu = g_new0(Qemu, 1);
	qemu->dir = g_dir_make_tmp("softdcd-XXXXXX", &error);
	g_assert_no_error(error);
	qemu->path = g_build_filename(qemu->dir, "qemu.sock", NULL);
	option = g_strdup_printf("unix:%s,server=on,wait=off", qemu->path);
	const char *const argv[] = { program,    "-machine", "none", "-S",   "-nodefaults",
				     "-display", "none",     "-qmp", option, NULL };
	g_spawn_async(NULL, (char **)argv, NULL,
		      G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_DO_NOT_REAP_CHILD, die_with_test, NULL,
		      &qemu->pid, &error);
	g_assert_no_error(error);
	while ((fd = raw_qmp_connect_path(qemu->path)) < 0) {
		g_assert_cmpint(g_get_monotonic_time(), <, until_us);
		g_usleep(2000);
	}
	close(fd);
	return g_steal_pointer(&qemu);
}

/* ---- the same commands on our side ---- */

static void run_never(QmpCall *call, JsonObject *args, void *opaque)
{
	g_assert_not_reached();
}

static const char *const modes[] = { "page-sampling", "dirty-ring", "dirty-bitmap", NULL };

static const QmpArg link_args[] = {
	{ .name = "name", .type = QMP_STRING },
	{ .name = "up", .type = QMP_BOOL },
	{ .name = NULL },
};

static const QmpArg rate_args[] = {
	{ .name = "calc-time", .type = QMP_I64 },
	{ .name = "sample-pages", .type = QMP_I64, .optional = true },
	{ .name = "mode", .type = QMP_ENUM, .optional = true, .values = modes },
	{ .name = NULL },
};

static const QmpArg migrate_args[] = {
	{ .name = "multifd-channels", .type = QMP_U8, .optional = true },
	{ .name = "max-bandwidth", .type = QMP_U64, .optional = true },
	{ .name = NULL },
};

static const QmpArg set_args[] = {
	{ .name = "path", .type = QMP_STRING },
	{ .name = "property", .type = QMP_STRING },
	{ .name = "value", .type = QMP_ANY },
	{ .name = NULL },
};

static const QmpArg action_args[] = {
	{ .name = "type", .type = QMP_STRING },
	{ .name = "data", .type = QMP_OBJECT },
	{ .name = NULL },
};

static const QmpArg transaction_args[] = {
	{ .name = "actions", .type = QMP_OBJECTS, .members = action_args },
	{ .name = NULL },
};

static const QmpCommand qemu_commands[] = {
	{ "set_link", link_args, run_never },
	{ "calc-dirty-rate", rate_args, run_never },
	{ "migrate-set-parameters", migrate_args, run_never },
	{ "qom-set", set_args, run_never },
	{ "transaction", transaction_args, run_never },
	{ .name = NULL },
};

static void add_qemu_commands(QmpFixture *fixture, void *data)
{
	qmp_server_add_commands(fixture->server, qemu_commands, NULL);
}

/* ---- comparing ---- */

static const char *class_of(JsonObject *answer)
{
	if (!json_object_has_member(answer, "error"))
		return "none";
	return json_object_get_string_member(json_object_get_object_member(answer, "error"),
					     "class");
}

/* SAME_DESC: to the letter; else the class, and what is around it. */
static void compare(RawQmp *qemu, RawQmp *ours, const char *request, bool same_desc)
{
	g_autoptr(JsonObject) theirs = raw_qmp_object(qemu);
	g_autoptr(JsonObject) mine = raw_qmp_object(ours);
	g_autoptr(JsonNode) a = NULL, b = NULL;

	if (!same_desc) {
		g_assert_cmpstr(class_of(mine), ==, class_of(theirs));
		json_object_remove_member(theirs, "error");
		json_object_remove_member(mine, "error");
	}
	a = json_node_init_object(json_node_alloc(), theirs);
	b = json_node_init_object(json_node_alloc(), mine);
	if (!json_node_equal(a, b)) {
		g_autofree char *text = json_to_string(a, FALSE);
		g_autofree char *text_ours = json_to_string(b, FALSE);

		g_error("%s\nQEMU: %s\nours: %s", request, text, text_ours);
	}
}

static void test_greeting(void)
{
	g_autoptr(Qemu) qemu = qemu_start();
	g_autoptr(QmpFixture) fixture = NULL;

	if (!qemu)
		return;
	fixture = qmp_fixture_new(NULL);
	for (unsigned i = 0; i < 2; i++) {
		g_autoptr(RawQmp) raw = i == 0 ? raw_qmp_at(qemu->path) : raw_qmp_new(fixture);
		g_autoptr(JsonObject) greeting = raw_qmp_object(raw);
		JsonObject *qmp = json_object_get_object_member(greeting, "QMP");
		JsonObject *version = json_object_get_object_member(qmp, "version");
		JsonObject *numbers = json_object_get_object_member(version, "qemu");

		g_assert_cmpuint(json_object_get_size(greeting), ==, 1);
		g_assert_cmpuint(json_object_get_size(qmp), ==, 2);
		g_assert_cmpuint(json_object_get_size(version), ==, 2);
		g_assert_cmpuint(json_object_get_size(numbers), ==, 3);
		g_assert_cmpint(json_object_get_int_member(numbers, "major"), >, 0);
		g_assert_true(json_object_has_member(numbers, "minor"));
		g_assert_true(json_object_has_member(numbers, "micro"));
		g_assert_nonnull(json_object_get_string_member(version, "package"));
		g_assert_nonnull(json_object_get_array_member(qmp, "capabilities"));
	}
}

static void test_before(void)
{
	static const char *const requests[] = {
		"{\"execute\": \"query-version\"}",
		"{\"execute\": \"no-such\", \"id\": 7}",
		"{\"execute\": 1}",
		"{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": \"oob\"}}",
		"{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": [1]}}",
		"{\"execute\": \"qmp_capabilities\", \"arguments\": {\"disable\": []}}",
		"{\"execute\": \"qmp_capabilities\", \"id\": {\"a\": [1]}}",
		"{\"execute\": \"qmp_capabilities\"}",
	};
	g_autoptr(Qemu) qemu = qemu_start();
	g_autoptr(QmpFixture) fixture = NULL;
	g_autoptr(RawQmp) theirs = NULL;
	g_autoptr(RawQmp) ours = NULL;

	if (!qemu)
		return;
	fixture = qmp_fixture_new(NULL);
	theirs = raw_qmp_at(qemu->path);
	ours = raw_qmp_new(fixture);
	raw_qmp_greeted(theirs);
	raw_qmp_greeted(ours);
	for (unsigned i = 0; i < G_N_ELEMENTS(requests); i++) {
		raw_qmp_send(theirs, requests[i]);
		raw_qmp_send(ours, requests[i]);
		compare(theirs, ours, requests[i], true);
	}
}

#define EXECUTE(name, args) "{\"execute\": \"" name "\", \"arguments\": " args "}"

static const char *const same_requests[] = {
	"{\"execute\": \"no-such\"}",
	"{\"execute\": \"no-such\", \"id\": null}",
	"{\"execute\": \"no-such\", \"id\": [1, \"a\", {\"b\": 1.5}]}",
	"{'execute': 'no-such', 'id': 'it\\'s'}",
	"{}",
	"{\"id\": 1}",
	"[1, 2]",
	"12 ",
	"\"x\"",
	"true ",
	"{\"execute\": 3}",
	"{\"execute\": \"no-such\", \"extra\": 1}",
	"{\"exec-oob\": \"query-version\"}",
	"{\"execute\": \"set_link\", \"arguments\": []}",
	"{\"execute\": \"query-version\", \"arguments\": {\"a\": 1}}",
	EXECUTE("set_link", "{}"),
	EXECUTE("set_link", "{\"name\": 1}"),
	EXECUTE("set_link", "{\"name\": null}"),
	EXECUTE("set_link", "{\"name\": \"a\"}"),
	EXECUTE("set_link", "{\"name\": \"a\", \"up\": 1}"),
	EXECUTE("set_link", "{\"name\": \"a\", \"up\": \"on\"}"),
	EXECUTE("set_link", "{\"name\": \"a\", \"up\": true, \"c\": 1}"),
	EXECUTE("calc-dirty-rate", "{\"calc-time\": \"1\"}"),
	EXECUTE("calc-dirty-rate", "{\"calc-time\": 1.5}"),
	EXECUTE("calc-dirty-rate", "{\"calc-time\": 1, \"mode\": 1}"),
	EXECUTE("calc-dirty-rate", "{\"calc-time\": 1, \"mode\": \"x\"}"),
	EXECUTE("qom-set", "{\"path\": \"x\", \"property\": \"y\"}"),
	EXECUTE("transaction", "{\"actions\": {}}"),
	EXECUTE("transaction", "{\"actions\": [1]}"),
	EXECUTE("transaction", "{\"actions\": [{\"type\": 3}]}"),
	EXECUTE("transaction", "{\"actions\": [{\"data\": {}}]}"),
	EXECUTE("migrate-set-parameters", "{\"bogus\": 1}"),
	EXECUTE("migrate-set-parameters", "{\"max-bandwidth\": 18446744073709551616}"),
	"{\"execute\": \"qmp_capabilities\"}",
};

/* Of the same class, in words of our own. */
static const char *const other_requests[] = {
	/* QEMU says "expects uint64" of what is no number at all, */
	EXECUTE("migrate-set-parameters", "{\"max-bandwidth\": \"a\"}"),
	EXECUTE("migrate-set-parameters", "{\"max-bandwidth\": 1.5}"),
	EXECUTE("migrate-set-parameters", "{\"max-bandwidth\": null}"),
	/* names C's types, */
	EXECUTE("migrate-set-parameters", "{\"multifd-channels\": 256}"),
	EXECUTE("migrate-set-parameters", "{\"multifd-channels\": -1}"),
	/* and "expected: integer" of an integer that is too large. */
	EXECUTE("calc-dirty-rate", "{\"calc-time\": 18446744073709551615}"),
};

static void test_requests(void)
{
	g_autoptr(Qemu) qemu = qemu_start();
	g_autoptr(QmpFixture) fixture = NULL;
	g_autoptr(RawQmp) theirs = NULL;
	g_autoptr(RawQmp) ours = NULL;

	if (!qemu)
		return;
	fixture = qmp_fixture_new(NULL);
	qmp_fixture_call(fixture, add_qemu_commands, NULL);
	theirs = raw_qmp_negotiated_at(qemu->path);
	ours = raw_qmp_negotiated(fixture);
	for (unsigned i = 0; i < G_N_ELEMENTS(same_requests); i++) {
		raw_qmp_send(theirs, same_requests[i]);
		raw_qmp_send(ours, same_requests[i]);
		compare(theirs, ours, same_requests[i], true);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(other_requests); i++) {
		raw_qmp_send(theirs, other_requests[i]);
		raw_qmp_send(ours, other_requests[i]);
		compare(theirs, ours, other_requests[i], false);
	}
	/* And without waiting for the answers. */
	for (unsigned i = 0; i < G_N_ELEMENTS(same_requests); i++) {
		raw_qmp_send(theirs, same_requests[i]);
		raw_qmp_send(ours, same_requests[i]);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(same_requests); i++)
		compare(theirs, ours, same_requests[i], true);
}

static const char *const same_rubbish[] = {
	"hello\n",
	"{\"execute\": }",
	"{\"execute\" \"nothing\"}",
	"{\"execute\": nothing}",
};

static const char *const other_rubbish[] = {
	"}",
	"{]",
	"{\"execute\": \"nothing\",}",
	"{\"a\": 1, \"a\": 2}",
	"{\"a\": 01}",
	"\"\\ud800\"",
	"\xff",
	"{\"execute\": \"\xff\"}",
	"{\"execute\": \"a\x01\"}",
};

static void compare_rubbish(Qemu *qemu, QmpFixture *fixture, const char *input, bool same_desc)
{
	g_autoptr(RawQmp) theirs = raw_qmp_negotiated_at(qemu->path);
	g_autoptr(RawQmp) ours = raw_qmp_negotiated(fixture);

	raw_qmp_send(theirs, input);
	raw_qmp_send(ours, input);
	compare(theirs, ours, input, same_desc);
	raw_qmp_expect_closed(ours);
}

/* QEMU goes on behind these, we do not; the class of what is said is the same. */
static void test_malformed(void)
{
	g_autoptr(Qemu) qemu = qemu_start();
	g_autoptr(QmpFixture) fixture = NULL;
	g_autoptr(GString) deep = g_string_new(NULL);

	if (!qemu)
		return;
	fixture = qmp_fixture_new(NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(same_rubbish); i++)
		compare_rubbish(qemu, fixture, same_rubbish[i], true);
	for (unsigned i = 0; i < G_N_ELEMENTS(other_rubbish); i++)
		compare_rubbish(qemu, fixture, other_rubbish[i], false);
	/* QEMU's limit is 1024. */
	while (deep->len < 1100)
		g_string_append_c(deep, '[');
	compare_rubbish(qemu, fixture, deep->str, false);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/qmp/qemu/greeting", test_greeting);
	g_test_add_func("/protocol/qmp/qemu/before", test_before);
	g_test_add_func("/protocol/qmp/qemu/requests", test_requests);
	g_test_add_func("/protocol/qmp/qemu/malformed", test_malformed);
	return g_test_run();
}
