/* SPDX-License-Identifier: BSD-3-Clause */
/* The agent's records and locks, and how it keeps the kernel's drivers off, in files of our own. */
#include "agent/agent.h"

#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#define CHBCR  UINT64_C(0x100000000)
#define DEVICE "/sys/bus/pci/devices/0000:0d:00.0"
#define PORTS  "/sys/bus/cxl/drivers/cxl_port"

typedef struct Fixture {
	char *root, *state;
	Platform *platform;
	PlatformDevice info[2];
	Agent agent;
} Fixture;

static void write_file(const Fixture *fixture, const char *name, const char *text)
{
	g_autofree char *path = g_strconcat(fixture->root, name, NULL);
	g_autofree char *dir = g_path_get_dirname(path);

	g_assert_cmpint(g_mkdir_with_parents(dir, 0700), ==, 0);
	g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void check_file(const Fixture *fixture, const char *name, const char *text)
{
	g_autofree char *path = g_strconcat(fixture->root, name, NULL);
	g_autofree char *found = NULL;

	g_assert_true(g_file_get_contents(path, &found, NULL, NULL));
	g_assert_cmpstr(found, ==, text);
}

static void setup(Fixture *fixture)
{
	memset(fixture, 0, sizeof(*fixture));
	fixture->root = g_dir_make_tmp("agent-XXXXXX", NULL);
	fixture->state = g_strconcat(fixture->root, "/state", NULL);
	fixture->platform = g_new0(Platform, 1);
	fixture->platform->n_bridges = 1;
	fixture->platform->bridges[0] = (PlatformBridge){ .uid = 12, .chbcr = CHBCR };
	g_strlcpy(fixture->info[0].name, "0000:0d:00.0", BDF_TEXT_LEN);
	g_strlcpy(fixture->info[1].name, "0000:0e:00.0", BDF_TEXT_LEN);
	fixture->agent = (Agent){
		.options = { .root = fixture->root, .state_dir = fixture->state },
		.platform = fixture->platform,
	};
	write_file(fixture, "/proc/sys/kernel/random/boot_id",
		   "11111111-2222-3333-4444-555555555555\n");
}

static AgentDevice *add(Agent *agent, const PlatformDevice *info)
{
	AgentDevice *device = &agent->devices[agent->n_devices++];

	*device = (AgentDevice){ .agent = agent, .info = info, .record_fd = -1, .bridge_fd = -1 };
	return device;
}

static void teardown(Fixture *fixture)
{
	g_autofree char *command = g_strdup_printf("rm -rf '%s'", fixture->root);

	for (unsigned i = 0; i < fixture->agent.n_devices; i++)
		record_close(&fixture->agent.devices[i]);
	g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
	g_free(fixture->root);
	g_free(fixture->state);
	g_free(fixture->platform);
}

/* ---- records ---- */

static void test_record(void)
{
	Fixture fixture;
	AgentError error = { "" };
	Record record = { .serial = 0x5dcd0001, .hpa = UINT64_C(16) << 30, .len = 1 << 30 };
	Record found;
	AgentDevice *device;

	setup(&fixture);
	device = add(&fixture.agent, &fixture.info[0]);
	g_assert_true(record_open(device, &error));
	g_assert_false(record_read(device, &found));
	g_assert_true(record_write(device, &record, &error));
	record_close(device);
	/* The next agent of this boot knows it, one after a boot does not. */
	g_assert_true(record_open(device, &error));
	g_assert_true(record_read(device, &found));
	g_assert_cmphex(found.serial, ==, record.serial);
	g_assert_cmphex(found.hpa, ==, record.hpa);
	g_assert_cmphex(found.len, ==, record.len);
	write_file(&fixture, "/proc/sys/kernel/random/boot_id",
		   "11111111-2222-3333-4444-666666666666\n");
	g_assert_false(record_read(device, &found));
	g_assert_true(record_write(device, &record, &error));
	g_assert_true(record_read(device, &found));
	record_drop(device);
	g_assert_false(record_read(device, &found));
	teardown(&fixture);
}

static void test_bad_record(void)
{
	static const char *const bad[] = {
		"",
		"\n",
		"nonsense",
		"11111111-2222-3333-4444-555555555555",
		"11111111-2222-3333-4444-555555555555 1 2",
		"x 1 2 3",
		"11111111-2222-3333-4444-555555555555 1 2 x",
	};
	g_autofree char *longest = g_strnfill(100000, 'a');
	Fixture fixture;
	AgentError error = { "" };
	Record found;
	AgentDevice *device;

	setup(&fixture);
	device = add(&fixture.agent, &fixture.info[0]);
	for (gsize i = 0; i <= G_N_ELEMENTS(bad); i++) {
		const char *text = i < G_N_ELEMENTS(bad) ? bad[i] : longest;

		write_file(&fixture, "/state/0000:0d:00.0", text);
		g_assert_true(record_open(device, &error));
		g_assert_false(record_read(device, &found));
		record_close(device);
	}
	teardown(&fixture);
}

/* A device and a host bridge have one agent; an agent may have several devices below a bridge. */
static void test_locks(void)
{
	Fixture fixture;
	Agent other;
	AgentError error = { "" };
	AgentDevice *first;
	AgentDevice *second;
	AgentDevice *rival;

	setup(&fixture);
	other = fixture.agent;
	first = add(&fixture.agent, &fixture.info[0]);
	g_assert_true(record_open(first, &error));
	second = add(&fixture.agent, &fixture.info[1]);
	g_assert_true(record_open(second, &error));
	g_assert_cmpint(second->bridge_fd, <, 0);
	rival = add(&other, &fixture.info[1]);
	g_assert_false(record_open(rival, &error));
	g_assert_nonnull(strstr(error.text, "another softdcd-agent has it"));
	g_assert_nonnull(strstr(error.text, "bridge-12"));
	record_close(rival);
	record_close(first);
	record_close(second);
	error.text[0] = '\0';
	g_assert_true(record_open(rival, &error));
	record_close(rival);
	teardown(&fixture);
}

/* ---- the kernel's drivers ---- */

static void test_override(void)
{
	Fixture fixture;
	AgentError error = { "" };
	AgentDevice *device;

	setup(&fixture);
	device = add(&fixture.agent, &fixture.info[0]);
	write_file(&fixture, DEVICE "/driver_override", "(null)\n");
	g_assert_true(kernel_keep_off(device, &error));
	g_assert_true(device->has_override);
	/* A file keeps the rest of what was there, as sysfs does not. */
	check_file(&fixture, DEVICE "/driver_override", "softdcd-agent");
	kernel_let_in(device);
	check_file(&fixture, DEVICE "/driver_override", "\noftdcd-agent");
	/* What somebody else has set stays. */
	device->has_override = false;
	write_file(&fixture, DEVICE "/driver_override", "vfio-pci\n");
	g_assert_true(kernel_keep_off(device, &error));
	g_assert_false(device->has_override);
	kernel_let_in(device);
	check_file(&fixture, DEVICE "/driver_override", "vfio-pci\n");
	/* A driver came just before. */
	write_file(&fixture, DEVICE "/driver_override", "(null)\n");
	write_file(&fixture, DEVICE "/driver/bind", "");
	g_assert_false(kernel_keep_off(device, &error));
	g_assert_nonnull(strstr(error.text, "has just taken it"));
	teardown(&fixture);
}

static void test_port(void)
{
	Fixture fixture;
	AgentError error = { "" };
	AgentDevice *device;

	setup(&fixture);
	device = add(&fixture.agent, &fixture.info[0]);
	write_file(&fixture, PORTS "/unbind", "");
	write_file(&fixture, PORTS "/bind", "");
	/* Only a port is asked to let go. */
	write_file(&fixture, "/proc/iomem", "100000000-10000ffff : portal\n");
	g_assert_true(kernel_keep_off(device, &error));
	check_file(&fixture, PORTS "/unbind", "");
	write_file(&fixture, "/proc/iomem", "100000000-10000ffff : port2\n");
	g_assert_true(kernel_keep_off(device, &error));
	check_file(&fixture, PORTS "/unbind", "port2");
	check_file(&fixture, PORTS "/bind", "");
	kernel_let_in(device);
	check_file(&fixture, PORTS "/bind", "port2");
	teardown(&fixture);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/agent/record/plain", test_record);
	g_test_add_func("/agent/record/bad", test_bad_record);
	g_test_add_func("/agent/record/locks", test_locks);
	g_test_add_func("/agent/kernel/override", test_override);
	g_test_add_func("/agent/kernel/port", test_port);
	return g_test_run();
}
