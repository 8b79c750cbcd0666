/* SPDX-License-Identifier: BSD-3-Clause */
/* The verbs against the real daemon and real hosts: results, exit codes, waiting. */
#include "cli_fake.h"
#include "serve_fixture.h"

#include "cli/cli.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

typedef struct Rig {
	Serve *serve;
	Fake *cli; /* only runs verbs */
} Rig;

static void rig_clear(Rig *rig)
{
	g_clear_pointer(&rig->cli, fake_free);
	g_clear_pointer(&rig->serve, serve_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Rig, rig_clear)

static void start_verb(Fake *cli, const char *line)
{
	g_autofree char *whole = g_strdup_printf("%s --pool test", line);

	g_test_message("softdcd %s", line);
	fake_run_as_it_is(cli, whole);
}

/* Runs a verb; it must end with CODE. */
static void run(Rig *rig, ExitCode code, const char *line)
{
	start_verb(rig->cli, line);
	g_assert_cmpint(fake_end(rig->cli), ==, (int)code);
}

/* A member of the object on stdout, as JSON: PATH is "a" or "a.0.b". */
static void assert_out(Rig *rig, const char *path, const char *value)
{
	g_autoptr(JsonNode) out = fake_out_json(rig->cli);
	g_auto(GStrv) steps = g_strsplit(path, ".", -1);
	g_autofree char *text = NULL;
	JsonNode *node = out;

	for (unsigned i = 0; steps[i] && node; i++) {
		if (JSON_NODE_HOLDS_ARRAY(node))
			node = json_array_get_element(json_node_get_array(node),
						      (guint)g_ascii_strtoull(steps[i], NULL, 10));
		else
			node = json_object_get_member(json_node_get_object(node), steps[i]);
	}
	g_assert_nonnull(node);
	text = json_to_string(node, FALSE);
	g_assert_cmpstr(text, ==, value);
}

/* A daemon with dev0 (1 GiB) and a backend kv0 of 64 MiB with tag A. */
static Rig rig_start(void)
{
	Rig rig = { .serve = serve_new(), .cli = fake_new() };

	serve_start(rig.serve, NULL);
	run(&rig, EXIT_DONE, "device add dev0 --dc 1G --hold off");
	assert_out(&rig, "id", "\"dev0\"");
	assert_out(&rig, "dc-regions.0.size", "1073741824");
	run(&rig, EXIT_DONE, "backend add kv0 --size 64M --tag " TAG_A);
	assert_out(&rig, "type", "\"memfd\"");
	assert_out(&rig, "tag", "\"" TAG_A "\"");
	return rig;
}

static void test_life(void)
{
	g_auto(Rig) rig = rig_start();
	g_autoptr(ServeHost) host = NULL;

	run(&rig, EXIT_DONE, "offer dev0 --tag " TAG_A);
	run(&rig, EXIT_TIMED_OUT, "wait dev0 " TAG_A " accepted --timeout 100ms");
	host = serve_host(rig.serve, "dev0", NULL);
	run(&rig, EXIT_DONE, "wait dev0 " TAG_A " accepted --timeout 60s");
	assert_out(&rig, "accepted", "67108864");
	run(&rig, EXIT_DONE, "wait dev0 " TAG_A " offered");
	run(&rig, EXIT_DONE, "list -X --tag " TAG_A);
	assert_out(&rig, "extents.0.state", "\"accepted\"");
	assert_out(&rig, "extents.0.backend", "\"kv0\"");
	run(&rig, EXIT_REFUSED, "backend remove kv0");
	run(&rig, EXIT_REFUSED, "device remove dev0");
	run(&rig, EXIT_DONE, "release dev0 --tag " TAG_A " --wait --timeout 60s");
	assert_out(&rig, "state", "\"done\"");
	assert_out(&rig, "left", "0");
	run(&rig, EXIT_DONE, "wait dev0 " TAG_A " released --timeout 60s");
	run(&rig, EXIT_DONE, "offer dev0 --size 8M --wait --timeout 60s");
	assert_out(&rig, "state", "\"accepted\"");
	assert_out(&rig, "accepted", "8388608");
	run(&rig, EXIT_DONE, "release dev0 --extent 0:4M --wait --timeout 60s");
	run(&rig, EXIT_DONE, "list -SDBXOR");
	assert_out(&rig, "pool.bytes.accepted", "4194304");
	assert_out(&rig, "devices.0.extents", "1");
	run(&rig, EXIT_DONE, "backend remove kv0");
	assert_out(&rig, "state", "\"removed\"");
	g_assert_cmpint(serve_host_end(host, SIGTERM), ==, 0);
	run(&rig, EXIT_DONE, "device remove dev0 --force");
	run(&rig, EXIT_DONE, "list -DB");
	assert_out(&rig, "devices", "[]");
	assert_out(&rig, "backends", "[]");
}

static void test_no_object(void)
{
	static const char *const lines[] = {
		"backend remove nope",
		"backend reclaim nope",
		"device remove nope",
		"device reset nope",
		"offer nope --size 4M",
		"offer dev0 --tag " TAG_B,
		"release nope --extent 0:4M",
		"release dev0 --tag " TAG_B,
		"withdraw nope --offer 1",
		"withdraw dev0 --offer 99",
		"withdraw dev0 --tag " TAG_B,
		"wait nope " TAG_A " accepted",
		"list -X --device nope",
		"trace nope",
		"inject dram nope --log fatal",
		"qmp '{\"execute\": \"device-del\", \"arguments\": {\"id\": \"nope\"}}'",
	};
	g_auto(Rig) rig = rig_start();

	for (unsigned i = 0; i < G_N_ELEMENTS(lines); i++)
		run(&rig, EXIT_NO_OBJECT, lines[i]);
}

static void test_refused(void)
{
	static const char *const lines[] = {
		"backend add kv0 --size 4M",
		"backend add kv1 --size 4M --tag " TAG_A,
		"backend add kv1 --size 4097",
		"backend add kv1 --type file --path /nowhere/file --size 4M",
		"backend reclaim kv0",
		"device add dev0 --dc 1G",
		"device add dev1 --dc 1M",
		"offer dev0 --tag " TAG_A " --region 1",
		"offer dev0 --size 4M --extent 1:4M",
		"offer dev0 --size 2G",
		"release dev0 --tag " TAG_A,
		"release dev0 --extent 0:4M",
		"withdraw dev0 --tag " TAG_A,
		"qmp no-such-command",
	};
	g_auto(Rig) rig = rig_start();

	for (unsigned i = 0; i < G_N_ELEMENTS(lines); i++) {
		run(&rig, EXIT_REFUSED, lines[i]);
		g_assert_true(rig.cli->err[0] || rig.cli->out[0]);
	}
}

static void test_declined(void)
{
	g_auto(Rig) rig = rig_start();
	G_GNUC_UNUSED g_autoptr(ServeHost)
		host = serve_host(rig.serve, "dev0", "--accept", "none", NULL);

	run(&rig, EXIT_REFUSED, "offer dev0 --tag " TAG_A " --wait --timeout 60s");
	assert_out(&rig, "state", "\"declined\"");
	/* Long over, and still known. */
	run(&rig, EXIT_DONE, "wait dev0 " TAG_A " declined --timeout 60s");
}

static void test_withdrawn(void)
{
	g_auto(Rig) rig = rig_start();
	g_autoptr(Fake) waiting = fake_new();

	run(&rig, EXIT_DONE, "offer dev0 --size 4M");
	start_verb(waiting, "offer dev0 --tag " TAG_A " --wait");
	/* For the one before it; until it is recorded it cannot be withdrawn. */
	fake_wait_err(waiting, "waits for");
	run(&rig, EXIT_DONE, "withdraw dev0 --tag " TAG_A);
	g_assert_cmpint(fake_end(waiting), ==, EXIT_REFUSED);
	g_assert_nonnull(strstr(waiting->out, "\"withdrawn\""));
}

static void test_daemon_ends(void)
{
	g_auto(Rig) rig = rig_start();
	g_autoptr(Fake) waiting = fake_new();
	g_autoptr(Fake) following = fake_new();

	start_verb(following, "events --follow");
	run(&rig, EXIT_DONE, "offer dev0 --size 4M");
	start_verb(waiting, "offer dev0 --tag " TAG_A " --wait");
	/* For the one before it: it has been answered, so it is durable. */
	fake_wait_err(waiting, "waits for");
	serve_kill(rig.serve);
	g_assert_cmpint(fake_end(waiting), ==, EXIT_NO_DAEMON);
	g_assert_cmpint(fake_end(following), ==, EXIT_NO_DAEMON);
	run(&rig, EXIT_NO_DAEMON, "list");
	/* What was said to be reserved is so after the restart. */
	serve_start(rig.serve, NULL);
	run(&rig, EXIT_DONE, "list -BO");
	assert_out(&rig, "backends.0.state", "\"reserved\"");
	assert_out(&rig, "offers.0.len", "4194304");
	assert_out(&rig, "offers.1.len", "67108864");
}

/* A host that is gone gives nothing back; what it had can be taken. */
static void test_force(void)
{
	g_auto(Rig) rig = rig_start();
	g_autoptr(ServeHost) host = serve_host(rig.serve, "dev0", NULL);

	run(&rig, EXIT_DONE, "offer dev0 --tag " TAG_A " --wait --timeout 60s");
	serve_host_end(host, SIGKILL);
	run(&rig, EXIT_TIMED_OUT, "release dev0 --tag " TAG_A " --wait --timeout 300ms");
	fake_assert_err(rig.cli, "has not given back 67108864 bytes");
	run(&rig, EXIT_DONE, "release dev0 --tag " TAG_A " --force --wait --timeout 60s");
	assert_out(&rig, "state", "\"forced\"");
	run(&rig, EXIT_DONE, "device reset dev0 --forget");
	run(&rig, EXIT_DONE, "list -X");
	assert_out(&rig, "extents", "[]");
}

static void test_audit(void)
{
	g_auto(Rig) rig = rig_start();
	g_auto(GStrv) lines = NULL;

	run(&rig, EXIT_DONE, "offer dev0 --tag " TAG_A);
	run(&rig, EXIT_DONE, "withdraw dev0 --tag " TAG_A);
	run(&rig, EXIT_DONE, "events --since 1h");
	lines = g_strsplit(rig.cli->out, "\n", -1);
	g_assert_cmpuint(g_strv_length(lines), >=, 5);
	g_assert_nonnull(strstr(rig.cli->out, "\"what\": \"offer\""));
	g_assert_nonnull(strstr(rig.cli->out, "\"what\": \"withdraw\""));
	run(&rig, EXIT_DONE, "events --since @4000000000");
	g_assert_cmpstr(rig.cli->out, ==, "");
}

static void test_trace(void)
{
	g_auto(Rig) rig = rig_start();
	g_autoptr(Fake) tracing = fake_new();
	G_GNUC_UNUSED g_autoptr(ServeHost) host = serve_host(rig.serve, "dev0", NULL);

	start_verb(tracing, "trace dev0 --count 1");
	/* Until it has been heard: nothing says when a trace has begun. */
	while (lseek(tracing->out_fd, 0, SEEK_END) == 0)
		run(&rig, EXIT_DONE, "inject memory-module dev0 --log warning --temperature 85");
	g_assert_cmpint(fake_end(tracing), ==, EXIT_DONE);
	g_assert_nonnull(strstr(tracing->out, "\"device\": \"dev0\""));
	run(&rig, EXIT_DONE, "inject general-media dev0 --log fatal --dpa 64 --rank 1");
	run(&rig, EXIT_DONE, "inject dram dev0 --log failure --correction-mask 1");
}

static void test_doctor(void)
{
	g_auto(Rig) rig = rig_start();
	g_autoptr(JsonNode) out = NULL;
	JsonArray *list;

	run(&rig, EXIT_DONE, "doctor");
	out = fake_out_json(rig.cli);
	list = json_node_get_array(out);
	for (guint i = 0; i < json_array_get_length(list); i++) {
		JsonObject *check = json_array_get_object_element(list, i);
		const char *name = json_object_get_string_member(check, "check");

		if (strcmp(name, "daemon") == 0 || strcmp(name, "keeper") == 0)
			g_assert_cmpstr(json_object_get_string_member(check, "state"), ==, "ok");
	}
}

static void test_completion(void)
{
	g_auto(Rig) rig = rig_start();

	run(&rig, EXIT_DONE, "device add dev-1 --ram 256M");
	fake_run_as_it_is(rig.cli, "__complete -- offer --pool test dev");
	g_assert_cmpint(fake_end(rig.cli), ==, EXIT_DONE);
	g_assert_cmpstr(rig.cli->out, ==, "dev-1\ndev0\n");
	fake_run_as_it_is(rig.cli, "__complete -- offer dev0 --pool test --tag ''");
	g_assert_cmpint(fake_end(rig.cli), ==, EXIT_DONE);
	g_assert_cmpstr(rig.cli->out, ==, TAG_A "\n");
	fake_run_as_it_is(rig.cli, "__complete -- list --pool ''");
	g_assert_cmpint(fake_end(rig.cli), ==, EXIT_DONE);
	g_assert_nonnull(strstr(rig.cli->out, "test\n"));
}

static void test_ephemeral(void)
{
	g_auto(Rig) rig = { .serve = serve_new(), .cli = fake_new() };

	serve_start(rig.serve, "--ephemeral", NULL);
	run(&rig, EXIT_REFUSED, "events");
	fake_assert_err(rig.cli, "ephemeral");
	run(&rig, EXIT_DONE, "list");
	assert_out(&rig, "pool.ledger.state", "\"none\"");
	run(&rig, EXIT_DONE, "qmp quit");
	g_assert_cmpint(serve_wait_end(rig.serve), ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/cli/serve/life", test_life);
	g_test_add_func("/protocol/cli/serve/no-object", test_no_object);
	g_test_add_func("/protocol/cli/serve/refused", test_refused);
	g_test_add_func("/protocol/cli/serve/declined", test_declined);
	g_test_add_func("/protocol/cli/serve/withdrawn", test_withdrawn);
	g_test_add_func("/protocol/cli/serve/daemon-ends", test_daemon_ends);
	g_test_add_func("/protocol/cli/serve/force", test_force);
	g_test_add_func("/protocol/cli/serve/audit", test_audit);
	g_test_add_func("/protocol/cli/serve/trace", test_trace);
	g_test_add_func("/protocol/cli/serve/doctor", test_doctor);
	g_test_add_func("/protocol/cli/serve/completion", test_completion);
	g_test_add_func("/protocol/cli/serve/ephemeral", test_ephemeral);
	return g_test_run();
}
