/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration file at the start and on SIGHUP: the difference is applied, all or nothing. */
#include "serve_fixture.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#define DEV0 "[device dev0]\ndc-regions = 256M\nhold = off\n"
#define MEM0 "[backend mem0]\nsize = 4M\ntag = " TAG_A "\n"
#define MEM1 "[backend mem1]\nsize = 4M\ntag = " TAG_B "\n"

/* The event's "refused", or NULL. Caller frees. */
static char *hang_up(Serve *serve, const char *config)
{
	g_autoptr(JsonObject) data = NULL;

	serve_write_config(serve, config);
	g_assert_cmpint(kill(serve->pid, SIGHUP), ==, 0);
	data = serve_event(serve, "CONFIG_APPLIED");
	return json_object_get_null_member(data, "refused")
		       ? NULL
		       : g_strdup(json_object_get_string_member(data, "refused"));
}

static void assert_applied(Serve *serve, const char *config)
{
	g_autofree char *refused = hang_up(serve, config);

	g_assert_cmpstr(refused, ==, NULL);
}

static void assert_refused(Serve *serve, const char *config, const char *pattern)
{
	g_autoptr(JsonNode) before = serve_call(serve, "query-backends", NULL);
	g_autofree char *refused = hang_up(serve, config);
	g_autoptr(JsonNode) after = serve_call(serve, "query-backends", NULL);
	g_autofree char *x = json_to_string(before, FALSE), *y = json_to_string(after, FALSE);

	g_assert_nonnull(refused);
	if (!g_pattern_match_simple(pattern, refused))
		g_error("\"%s\" is not \"%s\"", refused, pattern);
	g_assert_cmpstr(x, ==, y);
}

static gint64 size_of(Serve *serve, const char *name)
{
	g_autoptr(JsonObject) backend = serve_first(serve, "query-backends", "'id': '%s'", name);

	return json_object_get_int_member(backend, "size");
}

static void test_hang_up(void)
{
	g_autoptr(Serve) serve = serve_new();

	serve_write_config(serve, DEV0 MEM0);
	serve_start(serve, NULL);
	serve_do(serve, "object-add",
		 "'qom-type': 'memory-backend-ram', 'id': 'own', 'size': 4096");
	/* Nothing, more, other, less. */
	assert_applied(serve, DEV0 MEM0);
	assert_applied(serve, DEV0 MEM0 MEM1 "[device dev1]\nram = 256M\n");
	g_assert_cmpuint(serve_count(serve, "query-backends", NULL), ==, 3);
	g_assert_cmpuint(serve_count(serve, "query-devices", NULL), ==, 2);
	assert_applied(serve, DEV0 MEM0 "[backend mem1]\nsize = 8M\ntag = " TAG_B "\n");
	g_assert_cmpint(size_of(serve, "mem1"), ==, 8 * MIB);
	g_assert_cmpuint(serve_count(serve, "query-devices", NULL), ==, 1);
	/* A tag moves from one to another. */
	assert_applied(serve, DEV0 MEM1 "[backend mem2]\nsize = 4M\ntag = " TAG_A "\n");
	/* What was made by QMP stays. */
	assert_applied(serve, "");
	g_assert_cmpuint(serve_count(serve, "query-backends", NULL), ==, 1);
	g_assert_cmpuint(serve_count(serve, "query-devices", NULL), ==, 0);
	g_assert_cmpint(serve_stop(serve), ==, 0);
}

static void test_refused(void)
{
	g_autoptr(Serve) serve = serve_new();

	serve_write_config(serve, DEV0 MEM0);
	serve_start(serve, NULL);
	assert_refused(serve, DEV0 MEM0 "[backend mem1]\nsize = 5000\n", "*mem1*size*5000*");
	assert_refused(serve, DEV0 MEM0 MEM1 "[device dev1]\ndc-regions = 1M\n", "*dev1*256 MiB*");
	assert_refused(serve, DEV0 MEM0 MEM1 "[backend bad]\ntype = file\npath = /nonexistent/x\n",
		       "*bad*/nonexistent/x*");
	assert_refused(serve, "[colour]\n", "*colour*no such section*");
	/* In use: neither gone nor changed, nor anything else. */
	serve_do(serve, "cxl-add-dynamic-capacity",
		 "'path': 'dev0', 'host-id': 0, 'region': 0, 'selection-policy': 'free', "
		 "'tag': '" TAG_A "'");
	assert_refused(serve, DEV0 MEM1, "*mem0*not free*");
	assert_refused(serve, DEV0 MEM1 "[backend mem0]\nsize = 8M\ntag = " TAG_A "\n",
		       "*mem0*not free*");
	assert_refused(serve, MEM0 MEM1, "*dev0*not free*");
	g_assert_cmpuint(serve_count(serve, "query-devices", NULL), ==, 1);
	g_assert_cmpuint(serve_count(serve, "query-offers", NULL), ==, 1);
}

/* A device with a host does not go, and its host notices nothing. */
static void test_host_connected(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(ServeHost) host = NULL;

	serve_write_config(serve, DEV0);
	serve_start(serve, NULL);
	host = serve_host(serve, "dev0", NULL);
	assert_refused(serve, "", "*dev0*connected*");
	g_assert_cmpint(serve_host_end(host, SIGTERM), ==, 0);
	serve_pass_event(serve, "HOST_DISCONNECTED");
	assert_applied(serve, "");
}

/* An object that leaves the file while no daemon runs goes at the next start; what is in use
 * stays, and is told. */
static void test_changed_meanwhile(void)
{
	g_autoptr(Serve) serve = serve_new();
	size_t said;

	serve_write_config(serve, DEV0 MEM0 MEM1);
	serve_start(serve, NULL);
	serve_do(serve, "cxl-add-dynamic-capacity",
		 "'path': 'dev0', 'host-id': 0, 'region': 0, 'selection-policy': 'free', "
		 "'tag': '" TAG_A "'");
	serve_kill(serve);
	serve_write_config(serve, DEV0 "[backend mem2]\nsize = 4M\n");
	said = serve_log_len(serve);
	serve_start(serve, NULL);
	serve_assert_said(serve, said, "mem0");
	g_assert_cmpuint(serve_count(serve, "query-backends", NULL), ==, 2);
	g_assert_cmpint(size_of(serve, "mem0"), ==, 4 * MIB);
	/* It is the file's still. */
	serve_do(serve, "x-withdraw-offer", "'path': 'dev0', 'tag': '" TAG_A "'");
	serve_wait_backend(serve, "mem0", "free");
	g_assert_cmpint(serve_stop(serve), ==, 0);
	serve_start(serve, NULL);
	g_assert_cmpuint(serve_count(serve, "query-backends", NULL), ==, 1);
}

/* A daemon started without its file leaves alone what the file has made. */
static void test_without(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(JsonObject) data = NULL;

	serve_write_config(serve, DEV0 MEM0);
	serve_start(serve, NULL);
	g_assert_cmpint(serve_stop(serve), ==, 0);
	g_assert_cmpint(unlink(serve->config), ==, 0);
	serve_start(serve, NULL);
	g_assert_cmpuint(serve_count(serve, "query-backends", NULL), ==, 1);
	g_assert_cmpint(kill(serve->pid, SIGHUP), ==, 0);
	data = serve_event(serve, "CONFIG_APPLIED");
	g_assert_false(json_object_get_null_member(data, "refused"));
	g_assert_cmpuint(serve_count(serve, "query-backends", NULL), ==, 1);
	g_assert_cmpint(serve_stop(serve), ==, 0);
	/* It is the file's still. */
	serve_write_config(serve, DEV0);
	serve_start(serve, NULL);
	g_assert_cmpuint(serve_count(serve, "query-backends", NULL), ==, 0);
}

typedef struct BadFile {
	const char *text;
	const char *said[3]; /* each must be */
} BadFile;

/* clang-format off */
static const BadFile bad_files[] = {
	{ "colour = 1\n", { "test.conf" } },
	{ "[pool]\ncolour = red\n", { "test.conf", "[pool] colour", "group" } },
	{ "[backend x]\nsize = big\n", { "[backend x] size", "big" } },
	{ "[backend x]\ntype = tape\n", { "[backend x] type", "tape", "memfd" } },
	{ "[backend x]\n", { "[backend x]", "size is missing" } },
	{ "[backend x]\nsize = 4K\ntag = hello\n", { "[backend x] tag", "hello" } },
	{ "[backend x]\nsize = 4K\nshareable = yes\n", { "[backend x] shareable", "yes", "true or false" } },
	{ "[backend x]\nsize = 4K\npath = /tmp/x\n", { "[backend x]", "path" } },
	{ "[backend x]\ntype = file\npath = x\n", { "[backend x] path", "absolute" } },
	{ "[backend x]\nsize = 4K\ntag = " TAG_A "\n[backend y]\nsize = 4K\ntag = " TAG_A "\n", { "[backend y]", "[backend x]" } },
	{ "[device x]\n", { "[device x]", "no capacity" } },
	{ "[device ../x]\nram = 256M\n", { "[device ../x]", "name" } },
	{ "[device x]\nram = 1M\n", { "[device x] ram", "1M", "256 MiB" } },
	{ "[device x]\ndc-regions = 256M,green\n", { "[device x] dc-regions", "green" } },
	{ "[device x]\ndc-regions = 100M\n", { "[device x]", "256 MiB" } },
	{ "[device x]\ndc-regions = 256M;256M;256M;256M;256M;256M;256M;256M;256M\n", { "[device x] dc-regions", "8" } },
	{ "[device x]\nram = 256M\nmax-extents = 0\n", { "[device x] max-extents", "65536" } },
	{ "[device x]\nram = 256M\nhold = on\n", { "[device x] hold", "auto or off" } },
};
/* clang-format on */

static void test_bad_files(void)
{
	g_autoptr(Serve) serve = serve_new();

	for (size_t i = 0; i < G_N_ELEMENTS(bad_files); i++) {
		size_t said = serve_log_len(serve);

		serve_write_config(serve, bad_files[i].text);
		g_assert_cmpint(serve_fails(serve, NULL), ==, 1);
		for (unsigned j = 0; j < 3 && bad_files[i].said[j]; j++)
			serve_assert_said(serve, said, bad_files[i].said[j]);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/serve-config/hang-up", test_hang_up);
	g_test_add_func("/protocol/serve-config/refused", test_refused);
	g_test_add_func("/protocol/serve-config/host-connected", test_host_connected);
	g_test_add_func("/protocol/serve-config/changed-meanwhile", test_changed_meanwhile);
	g_test_add_func("/protocol/serve-config/without", test_without);
	g_test_add_func("/protocol/serve-config/bad-files", test_bad_files);
	return g_test_run();
}
