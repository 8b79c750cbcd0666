/* SPDX-License-Identifier: BSD-3-Clause */
/* Every client verb: what it asks, what it prints, what it ends with, and what it says when not. */
#include "cli_fake.h"

#include "cli/cli.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* ---- reaching the daemon ---- */

static void test_nobody_there(void)
{
	g_autoptr(Fake) fake = fake_new();

	fake_run_as_it_is(fake, "list --socket /nowhere/qmp.sock");
	g_assert_cmpint(fake_end(fake), ==, EXIT_NO_DAEMON);
	g_assert_cmpstr(fake->out, ==, "");
	fake_assert_err(fake, "softdcd list: /nowhere/qmp.sock: ");
	fake_assert_err(fake, "softdcd serve");
}

static void test_pool_names_the_socket(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autofree char *pool_dir = g_build_filename(fake->dir, "softdcd", "red", NULL);
	g_autofree char *path = g_build_filename(pool_dir, "qmp.sock", NULL);
	g_autofree char *parent = g_build_filename(fake->dir, "softdcd", NULL);

	g_setenv("XDG_RUNTIME_DIR", fake->dir, TRUE);
	g_assert_cmpint(g_mkdir_with_parents(pool_dir, 0700), ==, 0);
	g_assert_cmpint(link(fake->path, path), ==, 0);
	fake_run_as_it_is(fake, "qmp query-version --pool red");
	fake_accept(fake);
	fake_answer(fake, "query-version", "{\"package\": \"x\"}");
	g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
	g_assert_nonnull(strstr(fake->out, "\"package\""));
	unlink(path);
	rmdir(pool_dir);
	rmdir(parent);
	g_unsetenv("XDG_RUNTIME_DIR");
}

static void test_daemon_dies(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autofree char *arguments = NULL;

	fake_run(fake, "backend remove kv0");
	fake_accept(fake);
	arguments = fake_expect(fake, "object-del");
	fake_hang_up(fake);
	g_assert_cmpint(fake_end(fake), ==, EXIT_NO_DAEMON);
	g_assert_cmpstr(fake->out, ==, "");
	g_assert_cmpstr(fake->err, !=, "");
}

static void test_not_qmp(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autofree char *arguments = NULL;

	fake_run(fake, "list -D");
	fake_accept(fake);
	arguments = fake_expect(fake, "query-devices");
	fake_say(fake, "]");
	g_assert_cmpint(fake_end(fake), ==, EXIT_NO_DAEMON);
}

static void test_not_what_was_asked(void)
{
	static const char *const answers[] = { "{}", "7", "null", "[1]", "[[]]" };

	for (unsigned i = 0; i < G_N_ELEMENTS(answers); i++) {
		g_autoptr(Fake) fake = fake_new();

		fake_run(fake, "list -D");
		fake_accept(fake);
		fake_answer(fake, "query-devices", answers[i]);
		g_assert_cmpint(fake_end(fake), ==, EXIT_REFUSED);
		fake_assert_err(fake, "the daemon's answer to query-devices is no");
		g_assert_cmpstr(fake->out, ==, "");
	}
}

/* ---- refusals ---- */

static void test_refused(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autofree char *arguments = NULL;

	fake_run(fake, "offer dev0 --tag " FAKE_TAG);
	fake_accept(fake);
	arguments = fake_expect(fake, "cxl-add-dynamic-capacity");
	fake_refuse(fake, "GenericError", "backend kv0: in use");
	/* Was it the device or the tag that is not there? Neither. */
	fake_answer(fake, "query-devices", "[{\"id\": \"dev0\"}]");
	fake_answer(fake, "query-backends", "[{\"id\": \"kv0\", \"tag\": \"" FAKE_TAG "\"}]");
	g_assert_cmpint(fake_end(fake), ==, EXIT_REFUSED);
	g_assert_cmpstr(fake->err, ==, "softdcd offer: backend kv0: in use\n");
	g_assert_cmpstr(fake->out, ==, "");
}

static void test_no_such_tag(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autofree char *arguments = NULL;

	fake_run(fake, "offer dev0 --tag " FAKE_TAG);
	fake_accept(fake);
	arguments = fake_expect(fake, "cxl-add-dynamic-capacity");
	fake_refuse(fake, "GenericError", "no such tag");
	fake_answer(fake, "query-devices", "[{\"id\": \"dev0\"}]");
	fake_answer(fake, "query-backends", "[{\"id\": \"kv0\", \"tag\": null}]");
	g_assert_cmpint(fake_end(fake), ==, EXIT_NO_OBJECT);
}

static void test_no_such_device(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autofree char *arguments = NULL;

	fake_run(fake, "device remove dev9");
	fake_accept(fake);
	arguments = fake_expect(fake, "device-del");
	fake_refuse(fake, "DeviceNotFound", "device dev9: not found");
	g_assert_cmpint(fake_end(fake), ==, EXIT_NO_OBJECT);
	g_assert_cmpstr(fake->err, ==, "softdcd device remove: device dev9: not found\n");
}

static void test_no_such_offer(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autofree char *arguments = NULL;

	fake_run(fake, "withdraw dev0 --offer 12");
	fake_accept(fake);
	arguments = fake_expect(fake, "x-withdraw-offer");
	g_assert_cmpstr(arguments, ==, "{\"path\":\"dev0\",\"offer\":12}");
	fake_refuse(fake, "GenericError", "offer 12: not found");
	fake_answer(fake, "query-devices", "[{\"id\": \"dev0\"}]");
	fake_answer(fake, "query-offers", "[{\"id\": 13}, {\"id\": \"12x\"}]");
	g_assert_cmpint(fake_end(fake), ==, EXIT_NO_OBJECT);
}

/* ---- what each verb asks ---- */

static void test_requests(void)
{
	static const struct {
		const char *line, *command, *arguments;
	} cases[] = {
		{ "backend add kv0 --size 1G --tag " FAKE_TAG, "object-add",
		  "{\"id\":\"kv0\",\"size\":1073741824,\"tag\":\"" FAKE_TAG
		  "\",\"qom-type\":\"memory-backend-memfd\"}" },
		{ "backend add kv0 --size 2M --type hugetlb --page-size 2M --prealloc",
		  "object-add",
		  "{\"id\":\"kv0\",\"size\":2097152,\"hugetlbsize\":2097152,\"prealloc\":true,"
		  "\"qom-type\":\"memory-backend-memfd\",\"hugetlb\":true}" },
		{ "backend add f --type file --path /a/../b --readonly --shareable "
		  "--on-release wipe",
		  "object-add",
		  "{\"id\":\"f\",\"mem-path\":\"/b\",\"shareable\":true,\"readonly\":true,"
		  "\"on-release\":\"wipe\",\"qom-type\":\"memory-backend-file\"}" },
		{ "backend add d --type devdax --path /dev/dax0.0", "object-add",
		  "{\"id\":\"d\",\"mem-path\":\"/dev/dax0.0\","
		  "\"qom-type\":\"memory-backend-devdax\"}" },
		{ "backend remove kv0", "object-del", "{\"id\":\"kv0\"}" },
		{ "backend reclaim kv0", "x-reclaim-backend", "{\"id\":\"kv0\"}" },
		{ "device add dev0 --dc 1G,block=4M --ram 256M --serial 0x63 --hold off",
		  "device-add",
		  "{\"id\":\"dev0\",\"dc-regions\":[{\"size\":1073741824,\"block-size\":4194304}],"
		  "\"ram\":268435456,\"serial\":99,\"hold\":\"off\"}" },
		{ "device remove dev0 --force", "device-del", "{\"id\":\"dev0\",\"force\":true}" },
		{ "device reset dev0", "x-device-reset", "{\"id\":\"dev0\"}" },
		{ "device reset dev0 --forget", "x-device-reset",
		  "{\"id\":\"dev0\",\"forget\":true}" },
		{ "offer dev0 --tag " FAKE_TAG, "cxl-add-dynamic-capacity",
		  "{\"path\":\"dev0\",\"region\":0,\"tag\":\"" FAKE_TAG
		  "\",\"host-id\":0,\"selection-policy\":\"free\"}" },
		{ "offer dev0 --size 4M --policy contiguous --region 3", "cxl-add-dynamic-capacity",
		  "{\"path\":\"dev0\",\"region\":3,\"host-id\":0,"
		  "\"selection-policy\":\"contiguous\",\"length\":4194304}" },
		{ "offer dev0 --size 4M --extent 0:2M --extent 8M:2M", "cxl-add-dynamic-capacity",
		  "{\"path\":\"dev0\",\"region\":0,\"extents\":[{\"offset\":0,\"len\":2097152},"
		  "{\"offset\":8388608,\"len\":2097152}],\"host-id\":0,"
		  "\"selection-policy\":\"prescriptive\"}" },
		{ "release dev0 --tag " FAKE_TAG " --force --sanitize --timeout 2s",
		  "cxl-release-dynamic-capacity",
		  "{\"path\":\"dev0\",\"region\":0,\"tag\":\"" FAKE_TAG
		  "\",\"forced-removal\":true,\"sanitize-on-release\":true,\"host-id\":0,"
		  "\"removal-policy\":\"tag-based\",\"timeout\":2000000}" },
		{ "release dev0 --extent 2M:4M", "cxl-release-dynamic-capacity",
		  "{\"path\":\"dev0\",\"region\":0,\"extents\":[{\"offset\":2097152,"
		  "\"len\":4194304}],\"host-id\":0,\"removal-policy\":\"prescriptive\"}" },
		{ "withdraw dev0 --tag " FAKE_TAG, "x-withdraw-offer",
		  "{\"path\":\"dev0\",\"tag\":\"" FAKE_TAG "\"}" },
		{ "inject general-media dev0 --log fatal --dpa 512M --channel 2",
		  "cxl-inject-general-media-event",
		  "{\"path\":\"dev0\",\"log\":\"fatal\",\"flags\":0,\"dpa\":536870912,"
		  "\"descriptor\":0,\"type\":0,\"transaction-type\":0,\"sub-type\":0,"
		  "\"channel\":2}" },
		{ "inject dram dev0 --log warning --correction-mask 1 --correction-mask 2",
		  "cxl-inject-dram-event",
		  "{\"path\":\"dev0\",\"log\":\"warning\",\"flags\":0,\"dpa\":0,\"descriptor\":0,"
		  "\"type\":0,\"transaction-type\":0,\"sub-type\":0,\"correction-mask\":[1,2]}" },
		{ "inject memory-module dev0 --log informational --temperature -5 "
		  "--component-id abc --is-comp-id-pldm",
		  "cxl-inject-memory-module-event",
		  "{\"path\":\"dev0\",\"log\":\"informational\",\"flags\":0,\"type\":0,"
		  "\"health-status\":0,\"media-status\":0,\"additional-status\":0,\"life-used\":0,"
		  "\"temperature\":-5,\"dirty-shutdown-count\":0,"
		  "\"corrected-volatile-error-count\":0,\"corrected-persistent-error-count\":0,"
		  "\"sub-type\":0,\"component-id\":\"abc\",\"is-comp-id-pldm\":true}" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(Fake) fake = fake_new();

		g_test_message("%s", cases[i].line);
		fake_run(fake, cases[i].line);
		fake_accept(fake);
		fake_expect_with(fake, cases[i].command, cases[i].arguments);
		fake_refuse(fake, "DeviceNotFound", "no");
		g_assert_cmpint(fake_end(fake), ==, EXIT_NO_OBJECT);
	}
}

static void test_usage(void)
{
	static const struct {
		const char *line, *says;
	} cases[] = {
		{ "backend add x --type file --size 1G", "--type file needs --path" },
		{ "backend add x --size 1G --path f", "--path needs --type file or" },
		{ "backend add x", "--type memfd needs --size" },
		{ "backend add x --size 1G --page-size 2M", "--page-size needs --type hugetlb" },
		{ "backend add x --size 0", "must be at least 1 B" },
		{ "device add x", "--dc, --ram or --pmem must be given" },
		{ "device add x --dc 1G --dc 1G --dc 1G --dc 1G --dc 1G --dc 1G --dc 1G --dc 1G "
		  "--dc 1G",
		  "--dc was given 9 times, a device has at most 8" },
		{ "offer dev0 --size 1G --policy prescriptive", "needs --extent" },
		{ "offer dev0 --size 1G --policy free --extent 0:1G", "--extent needs --policy" },
		{ "offer dev0 --size 1G --extent 0:512M", "but the extents are 536870912 in all" },
		{ "offer dev0 --size 1G --policy enable-shared-access", "needs --tag" },
		{ "offer dev0 --size 1G --timeout 1s", "--timeout needs --wait" },
		{ "offer dev0 --size 16E", "size \"16E\"" },
		{ "release dev0", "--tag or --extent must be given" },
		{ "wait dev0 " FAKE_TAG " gone", "must be one of offered, accepted" },
		{ "qmp '[]'", "must be a JSON object with \"execute\"" },
		{ "qmp '{\"execute\":'", "argument REQUEST: " },
		{ "inject dram dev0", "option --log LOG is missing" },
		{ "backend", "usage: softdcd backend VERB" },
		{ "backend eat", "no verb \"backend eat\"" },
		{ "eat", "no verb \"eat\"" },
		{ "help eat", "no verb \"eat\"" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(Fake) fake = fake_new();

		g_test_message("%s", cases[i].line);
		fake_run_as_it_is(fake, cases[i].line);
		g_assert_cmpint(fake_end(fake), ==, EXIT_USAGE);
		g_assert_cmpstr(fake->out, ==, "");
		fake_assert_err(fake, cases[i].says);
	}
}

static void test_help(void)
{
	static const char *const lines[] = { "--help",         "help",          "-h",
					     "backend --help", "help backend",  "help backend add",
					     "offer --help",   "offer dev0 -h", "--version" };

	for (unsigned i = 0; i < G_N_ELEMENTS(lines); i++) {
		g_autoptr(Fake) fake = fake_new();

		fake_run_as_it_is(fake, lines[i]);
		g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
		g_assert_cmpstr(fake->out, !=, "");
		g_assert_cmpstr(fake->err, ==, "");
	}
}

/* ---- what they print ---- */

static void test_backend_add(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(JsonNode) out = NULL;

	fake_run(fake, "backend add kv0 --size 4K");
	fake_accept(fake);
	fake_answer(fake, "object-add", "{}");
	fake_expect_with(fake, "query-backends", "{\"id\":\"kv0\"}");
	fake_return(fake, "[{\"id\": \"kv0\", \"size\": 4096, \"tag\": null}]");
	g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
	out = fake_out_json(fake);
	g_assert_cmpint(json_object_get_int_member(json_node_get_object(out), "size"), ==, 4096);
	g_assert_cmpstr(fake->err, ==, "backend kv0 added\n");
}

static void test_done(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(JsonNode) out = NULL;

	fake_run(fake, "device reset dev0 --forget");
	fake_accept(fake);
	fake_answer(fake, "x-device-reset", "{}");
	g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
	out = fake_out_json(fake);
	g_assert_cmpstr(json_object_get_string_member(json_node_get_object(out), "state"), ==,
			"forgotten");
	fake_run(fake, "device reset dev0 -H");
	fake_accept(fake);
	fake_answer(fake, "x-device-reset", "{}");
	g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
	g_assert_cmpstr(fake->out, ==, "");
	g_assert_cmpstr(fake->err, ==, "device dev0 reset\n");
}

#define POOL                                                                    \
	"{\"name\": \"default\", \"pid\": 7, \"ledger\": {\"state\": \"ok\"}, " \
	"\"keeper\": {\"state\": \"ok\"}, \"n-hosts\": 0, \"bytes\": {\"total\": 4096}}"
#define EXTENT                                                                                   \
	"{\"device\": \"dev0\", \"region\": 0, \"dpa\": 4096, \"len\": 2097152, \"tag\": "       \
	"\"" FAKE_TAG                                                                            \
	"\", \"seq\": 0, \"state\": \"accepted\", \"backend\": \"kv0\", \"backend-offset\": 0, " \
	"\"offer\": 1}"

static void test_list_all(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(JsonNode) out = NULL;
	g_autofree char *text = NULL;

	fake_run(fake, "list");
	fake_accept(fake);
	fake_answer(fake, "query-pool", POOL);
	fake_answer(fake, "query-devices", "[]");
	fake_answer(fake, "query-backends", "[]");
	fake_answer(fake, "query-extents", "[" EXTENT "]");
	fake_answer(fake, "query-offers", "[]");
	fake_answer(fake, "query-releases", "[]");
	g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
	out = fake_out_json(fake);
	json_object_remove_member(json_node_get_object(out), "pool");
	text = json_to_string(out, FALSE);
	g_assert_cmpstr(text, ==,
			"{\"devices\":[],\"backends\":[],\"extents\":[{\"device\":\"dev0\","
			"\"region\":0,\"dpa\":4096,\"len\":2097152,\"tag\":\"" FAKE_TAG
			"\",\"seq\":0,\"state\":\"accepted\",\"backend\":\"kv0\","
			"\"backend-offset\":0,\"offer\":1}],\"offers\":[],\"releases\":[]}");
}

static void test_list_some(void)
{
	g_autoptr(Fake) fake = fake_new();

	fake_run(fake, "list -HXO --device dev0 --tag " FAKE_TAG);
	fake_accept(fake);
	fake_expect_with(fake, "query-extents", "{\"device\":\"dev0\",\"tag\":\"" FAKE_TAG "\"}");
	fake_return(fake, "[" EXTENT "]");
	fake_answer(fake, "query-offers",
		    "[{\"id\": 5, \"device\": \"dev1\", \"tag\": \"" FAKE_TAG "\"}]");
	g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
	g_assert_cmpstr(fake->out, ==,
			"DEVICE  REGION     DPA    LEN  TAG                                   SEQ  "
			"STATE     "
			"BACKEND  OFFSET  OFFER\n"
			"dev0         0  0x1000  2 MiB  " FAKE_TAG
			"    0  accepted  kv0         0 B      1\n"
			"\n"
			"no offers\n");
}

static void test_qmp(void)
{
	g_autoptr(Fake) fake = fake_new();

	fake_run(fake, "qmp '{\"execute\": \"query-version\", \"id\": [1, null]}'");
	fake_accept(fake);
	fake_answer(fake, "query-version", "{\"x\": 18446744073709551615}");
	g_assert_cmpint(fake_end(fake), ==, EXIT_DONE);
	g_assert_nonnull(strstr(fake->out, "18446744073709551615"));
	g_assert_nonnull(strstr(fake->out, "null]"));
	fake_run(fake, "qmp query-bogus");
	fake_accept(fake);
	fake_expect_with(fake, "query-bogus", "{}");
	fake_refuse(fake, "CommandNotFound", "no");
	g_assert_cmpint(fake_end(fake), ==, EXIT_REFUSED);
	g_assert_nonnull(strstr(fake->out, "CommandNotFound"));
}

static void test_full_disk(void)
{
	g_autofree char *command = NULL;
	g_autofree char *err = NULL;
	int status;

	if (access("/dev/full", W_OK) != 0) {
		g_test_skip("there is no /dev/full");
		return;
	}
	command = g_strdup_printf("/bin/sh -c \"%s help > /dev/full\"", g_getenv("SOFTDCD"));
	g_assert_true(g_spawn_command_line_sync(command, NULL, &err, &status, NULL));
	g_assert_false(g_spawn_check_wait_status(status, NULL));
	g_assert_nonnull(strstr(err, "cannot write the result"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/cli/client/nobody-there", test_nobody_there);
	g_test_add_func("/protocol/cli/client/pool-names-the-socket", test_pool_names_the_socket);
	g_test_add_func("/protocol/cli/client/daemon-dies", test_daemon_dies);
	g_test_add_func("/protocol/cli/client/not-qmp", test_not_qmp);
	g_test_add_func("/protocol/cli/client/not-what-was-asked", test_not_what_was_asked);
	g_test_add_func("/protocol/cli/client/refused", test_refused);
	g_test_add_func("/protocol/cli/client/no-such-tag", test_no_such_tag);
	g_test_add_func("/protocol/cli/client/no-such-device", test_no_such_device);
	g_test_add_func("/protocol/cli/client/no-such-offer", test_no_such_offer);
	g_test_add_func("/protocol/cli/client/requests", test_requests);
	g_test_add_func("/protocol/cli/client/usage", test_usage);
	g_test_add_func("/protocol/cli/client/help", test_help);
	g_test_add_func("/protocol/cli/client/backend-add", test_backend_add);
	g_test_add_func("/protocol/cli/client/done", test_done);
	g_test_add_func("/protocol/cli/client/list-all", test_list_all);
	g_test_add_func("/protocol/cli/client/list-some", test_list_some);
	g_test_add_func("/protocol/cli/client/qmp", test_qmp);
	g_test_add_func("/protocol/cli/client/full-disk", test_full_disk);
	return g_test_run();
}
