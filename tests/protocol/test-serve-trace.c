/* SPDX-License-Identifier: BSD-3-Clause */
/* A device's trace: over the control socket, by softdcd trace, and into a capture file. */
#include "cxl/endian.h"
#include "serve_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONFIG              \
	"[device dev0]\n"   \
	"dc-regions = 1G\n" \
	"hold = off\n"
#define PATH    "'path': 'dev0', 'host-id': 0, 'region': 0"
#define BACKEND "'qom-type': 'memory-backend-ram', 'id': 'kv', 'size': 4194304, 'tag': '" TAG_A "'"

static void offer_and_release(Serve *serve, ServeHost *host)
{
	serve_do(serve, "object-add", BACKEND);
	serve_do(serve, "cxl-add-dynamic-capacity",
		 PATH ", 'selection-policy': 'contiguous', 'tag': '" TAG_A "'");
	serve_host_pass(host, "accepted");
	serve_do(serve, "cxl-release-dynamic-capacity",
		 PATH ", 'removal-policy': 'tag-based', 'tag': '" TAG_A "'");
	serve_host_pass(host, "released");
	serve_wait_backend(serve, "kv", "free");
}

/* ---- softdcd trace, its output in a file ---- */

typedef struct Tracer {
	char *out;
	GPid pid;
} Tracer;

static Tracer trace_start(Serve *serve, const char *const *more)
{
	g_autofree char *socket = g_build_filename(serve->runtime, "qmp.sock", NULL);
	g_autoptr(GPtrArray) argv = g_ptr_array_new();
	g_autoptr(GError) error = NULL;
	Tracer tracer = { .out = g_build_filename(serve->dir, "trace.XXXXXX", NULL) };
	int out = g_mkstemp_full(tracer.out, O_RDWR | O_CLOEXEC, 0600);

	g_ptr_array_add(argv, (void *)g_getenv("SOFTDCD"));
	g_ptr_array_add(argv, (void *)"trace");
	g_ptr_array_add(argv, (void *)"dev0");
	g_ptr_array_add(argv, (void *)"--socket");
	g_ptr_array_add(argv, socket);
	for (; *more; more++)
		g_ptr_array_add(argv, (void *)*more);
	g_ptr_array_add(argv, NULL);
	g_spawn_async_with_fds(NULL, (char **)argv->pdata, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL,
			       NULL, &tracer.pid, -1, out, -1, &error);
	g_assert_no_error(error);
	close(out);
	return tracer;
}

static char *trace_text(const Tracer *tracer)
{
	char *text;

	g_assert_true(g_file_get_contents(tracer->out, &text, NULL, NULL));
	return text;
}

static void trace_wait(const Tracer *tracer, const char *part)
{
	gint64 give_up = g_get_monotonic_time() + WAIT_US;

	for (;;) {
		g_autofree char *text = trace_text(tracer);

		if (strstr(text, part))
			return;
		g_assert_cmpint(g_get_monotonic_time(), <, give_up);
		g_usleep(2000);
	}
}

static int trace_end(Tracer *tracer)
{
	int status;

	g_assert_cmpint(waitpid(tracer->pid, &status, 0), ==, tracer->pid);
	g_assert_cmphex((unsigned)status & 0x7f, ==, 0);
	g_free(tracer->out);
	return WEXITSTATUS(status);
}

/* It traces once a host's commands show up in it. */
static void poke(Serve *serve, Tracer *tracer)
{
	gint64 give_up = g_get_monotonic_time() + WAIT_US;

	for (unsigned i = 0;; i++) {
		g_autofree char *text = trace_text(tracer);

		if (*text)
			return;
		g_assert_cmpint(g_get_monotonic_time(), <, give_up);
		serve_do(serve, "cxl-inject-general-media-event",
			 "'path': 'dev0', 'log': 'warning', 'flags': 0, 'dpa': 4096, 'descriptor': "
			 "0,"
			 " 'type': 0, 'transaction-type': 0, 'sub-type': 0");
		g_usleep(50000);
	}
}

/* ---- tests ---- */

static int find_line(char **lines, int from, const char *a, const char *b)
{
	for (int i = from; lines[i]; i++) {
		if (strstr(lines[i], a) && strstr(lines[i], b))
			return i;
	}
	g_assert_not_reached();
}

/* The whole life of an offer as the device sees it, in its order. */
static void test_json(void)
{
	static const char *const json[] = { "--json", NULL };
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(ServeHost) host = NULL;
	g_autofree char *text = NULL;
	g_auto(GStrv) lines = NULL;
	Tracer tracer;
	int at;

	serve_write_config(serve, CONFIG);
	serve_start(serve, NULL);
	tracer = trace_start(serve, json);
	poke(serve, &tracer);
	host = serve_host(serve, "dev0", NULL);
	offer_and_release(serve, host);
	trace_wait(&tracer, "release-dc");
	g_assert_cmpint(serve_host_end(host, SIGTERM), ==, 0);
	text = trace_text(&tracer);
	lines = g_strsplit(text, "\n", -1);
	for (guint i = 0; lines[i] && *lines[i]; i++) {
		g_autoptr(JsonParser) parser = json_parser_new();

		g_assert_true(json_parser_load_from_data(parser, lines[i], -1, NULL));
		g_assert_cmpint(json_object_get_int_member(
					json_node_get_object(json_parser_get_root(parser)), "lost"),
				==, 0);
	}
	at = find_line(lines, 0, "\"warning\"", "\"general-media\"");
	at = find_line(lines, at, "\"posted\"", TAG_A);
	at = find_line(lines, at, "\"read\"", TAG_A);
	at = find_line(lines, at, "\"add-dc-response\"",
		       "\"extents\": [{\"dpa\": 0, \"len\": 4194304}]");
	at = find_line(lines, at, "\"cleared\"", TAG_A);
	at = find_line(lines, at, "\"posted\"", "\"release\"");
	at = find_line(lines, at, "\"release-dc\"", "\"rc-name\": \"Success\"");
	/* With the daemon it ends. */
	g_assert_cmpint(serve_stop(serve), ==, 0);
	g_assert_cmpint(trace_end(&tracer), ==, 5);
}

static void test_ends(void)
{
	static const char *const three[] = { "-H", "-n", "3", NULL };
	static const char *const soon[] = { "--timeout", "50ms", NULL };
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(ServeHost) host = NULL;
	g_autofree char *text = NULL;
	g_auto(GStrv) lines = NULL;
	Tracer tracer;

	serve_write_config(serve, CONFIG);
	serve_start(serve, NULL);
	tracer = trace_start(serve, three);
	poke(serve, &tracer);
	host = serve_host(serve, "dev0", NULL);
	trace_wait(&tracer, "h ");
	text = g_strdup(tracer.out);
	g_assert_cmpint(trace_end(&tracer), ==, 0);
	tracer.out = g_steal_pointer(&text);
	text = trace_text(&tracer);
	lines = g_strsplit(text, "\n", -1);
	g_assert_cmpuint(g_strv_length(lines), ==, 4);
	g_free(tracer.out);
	tracer = trace_start(serve, soon);
	g_assert_cmpint(trace_end(&tracer), ==, 0);
}

static void test_capture(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autofree char *path = g_build_filename(serve->dir, "dev0.pcapng", NULL);
	const char *const capture[] = { "--pcapng", path, "--json", "-n", "20", NULL };
	const char *const nowhere[] = { "--pcapng", "/proc/none/dev0.pcapng", NULL };
	g_autoptr(ServeHost) host = NULL;
	g_autofree char *bytes = NULL;
	unsigned n_packets = 0, n_devices = 0;
	Tracer tracer;
	gsize len;

	serve_write_config(serve, CONFIG);
	serve_start(serve, NULL);
	tracer = trace_start(serve, capture);
	poke(serve, &tracer);
	host = serve_host(serve, "dev0", NULL);
	offer_and_release(serve, host);
	g_assert_cmpint(trace_end(&tracer), ==, 0);
	g_assert_true(g_file_get_contents(path, &bytes, &len, NULL));
	for (gsize at = 0; at < len; at += le32_load(bytes + at + 4)) {
		g_assert_cmpuint(le32_load(bytes + at + 4), >=, 12);
		n_packets += le32_load(bytes + at) == 6;
		n_devices += le32_load(bytes + at) == 1;
	}
	g_assert_cmpuint(n_packets, ==, 20);
	g_assert_cmpuint(n_devices, ==, 1);
	tracer = trace_start(serve, nowhere);
	g_assert_cmpint(trace_end(&tracer), ==, 1);
}

/* One client's wish is no other's, and payloads only come when asked for. */
static void test_command(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(ServeHost) host = NULL;
	g_autoptr(JsonObject) event = NULL, second = NULL;
	g_autofree char *refused = NULL;

	serve_write_config(serve, CONFIG);
	serve_start(serve, NULL);
	refused = serve_refused(serve, "x-trace", "'device': 'dev9', 'enable': true");
	g_assert_true(g_str_has_prefix(refused, "DeviceNotFound "));
	serve_do(serve, "x-trace", "'device': 'dev0', 'enable': false");
	serve_do(serve, "x-trace", "'device': 'dev0', 'enable': true");
	host = serve_host(serve, "dev0", NULL);
	event = serve_event(serve, "X_TRACE");
	g_assert_cmpstr(json_object_get_string_member(event, "device"), ==, "dev0");
	g_assert_cmpstr(json_object_get_string_member(event, "kind"), ==, "command");
	g_assert_true(json_object_get_null_member(event, "in"));
	g_assert_cmpint(json_object_get_int_member(event, "time"), >,
			1600000000 * (gint64)G_USEC_PER_SEC);
	serve_do(serve, "x-trace", "'device': 'dev0', 'enable': true, 'payloads': true");
	serve_do(serve, "object-add", BACKEND);
	serve_do(serve, "cxl-add-dynamic-capacity",
		 PATH ", 'selection-policy': 'contiguous', 'tag': '" TAG_A "'");
	serve_host_pass(host, "accepted");
	do {
		g_clear_pointer(&second, json_object_unref);
		second = serve_event(serve, "X_TRACE");
	} while (!json_object_has_member(second, "opcode") ||
		 json_object_get_int_member(second, "opcode") != 0x4802);
	g_assert_cmpint(json_object_get_int_member(second, "in-len"), ==, 32);
	g_assert_cmpuint(strlen(json_object_get_string_member(second, "in")), ==, 64);
	/* A device may go while it is traced, and come again under its name. */
	g_assert_cmpint(serve_host_end(host, SIGKILL), ==, -SIGKILL);
	serve_do(serve, "x-device-reset", "'id': 'dev0', 'forget': true");
	serve_wait_backend(serve, "kv", "free");
	serve_do(serve, "device-del", "'id': 'dev0'");
	serve_do(serve, "device-add", "'id': 'dev0', 'dc-regions': [{'size': 1073741824}]");
	serve_do(serve, "x-trace", "'device': 'dev0', 'enable': true");
	serve_do(serve, "x-trace", "'device': 'dev0', 'enable': false");
	serve_do(serve, "device-del", "'id': 'dev0'");
	g_assert_cmpint(serve_stop(serve), ==, 0);
}

/* What the registers say, without looking at them. */
static void test_query(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(ServeHost) host = NULL;
	g_autoptr(JsonObject) before = NULL, after = NULL;
	JsonArray *decoders, *logs;

	serve_write_config(serve, CONFIG);
	serve_start(serve, NULL);
	before = serve_first(serve, "query-devices", NULL);
	g_assert_cmpstr(json_object_get_string_member(before, "link"), ==, "none");
	g_assert_cmpint(json_object_get_int_member(before, "commands"), ==, 0);
	host = serve_host(serve, "dev0", NULL);
	offer_and_release(serve, host);
	serve_do(serve, "cxl-inject-general-media-event",
		 "'path': 'dev0', 'log': 'fatal', 'flags': 0, 'dpa': 4096, 'descriptor': 0,"
		 " 'type': 0, 'transaction-type': 0, 'sub-type': 0");
	after = serve_first(serve, "query-devices", "'id': 'dev0'");
	g_assert_cmpstr(json_object_get_string_member(after, "link"), ==, "up");
	g_assert_false(json_object_get_boolean_member(after, "resumed"));
	g_assert_cmpint(json_object_get_int_member(after, "commands"), >, 5);
	g_assert_cmpint(json_object_get_int_member(after, "messages"), >,
			json_object_get_int_member(after, "commands"));
	decoders = json_object_get_array_member(after, "decoders");
	g_assert_cmpuint(json_array_get_length(decoders), ==, 1);
	g_assert_cmpint(
		json_object_get_int_member(json_array_get_object_element(decoders, 0), "len"), ==,
		(gint64)GIB);
	logs = json_object_get_array_member(after, "logs");
	g_assert_cmpuint(json_array_get_length(logs), ==, 5);
	g_assert_cmpstr(
		json_object_get_string_member(json_array_get_object_element(logs, 4), "log"), ==,
		"dc");
	g_assert_true(json_object_get_boolean_member(json_array_get_object_element(logs, 4),
						     "interrupts"));
	g_assert_cmpint(json_object_get_int_member(json_array_get_object_element(logs, 3), "depth"),
			==, 64);
	serve_kill(serve);
	serve_start(serve, NULL);
	serve_host_pass(host, "resumed");
	g_clear_pointer(&after, json_object_unref);
	after = serve_first(serve, "query-devices", NULL);
	g_assert_cmpstr(json_object_get_string_member(after, "link"), ==, "up");
	g_assert_true(json_object_get_boolean_member(after, "resumed"));
}

#define P "/protocol/serve/trace/"

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func(P "json", test_json);
	g_test_add_func(P "ends", test_ends);
	g_test_add_func(P "capture", test_capture);
	g_test_add_func(P "command", test_command);
	g_test_add_func(P "query", test_query);
	return g_test_run();
}
