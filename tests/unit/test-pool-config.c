/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon's configuration file and the descriptions made of it. What it refuses is tested with
 * the daemon (tests/protocol/test-serve-config.c). */
#include "cli/cmd.h"
#include "pool/pool_config.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#define TAG "5be1f00d-2a6b-4f43-9c1e-0d5f3ac0ffee"

static PoolFile *load(const char *text, GError **error)
{
	g_autofree char *path = NULL;
	PoolFile *file;
	int fd = g_file_open_tmp("pool-XXXXXX.conf", &path, NULL);

	g_assert_cmpint(fd, >=, 0);
	close(fd);
	g_assert_true(g_file_set_contents(path, text, -1, NULL));
	file = pool_file_load(path, error);
	g_unlink(path);
	return file;
}

static void test_every_key(void)
{
	static const char text[] = "# a comment\n"
				   "[pool]\n"
				   "group = wheel\n"
				   "[backend b0]\n"
				   "type = hugetlb\n"
				   "size = 0x40000000\n"
				   "page-size = 2MiB\n"
				   "tag = " TAG "\n"
				   "shareable = true\n"
				   "prealloc = true\n"
				   "on-release = keep\n"
				   "[backend b1]\n"
				   "type = file\n"
				   "path = /srv/b1\n"
				   "read-only = true\n"
				   "[device d0]\n"
				   "dc-regions = 1G,block=4K,sharable,sanitize; 256M, read-only,"
				   "non-volatile;\n"
				   "ram = 256M\n"
				   "pmem = 512M\n"
				   "lsa = 128K\n"
				   "serial = 0xdcd\n"
				   "max-extents = 17\n"
				   "max-chain = 18\n"
				   "log-depth = 19\n"
				   "read-latency = 200\nwrite-latency = 65534\n"
				   "bandwidth = 64000\n"
				   "hold = off\n";
	g_autoptr(GError) error = NULL;
	g_autoptr(PoolFile) file = load(text, &error);
	const BackendConfig *b0, *b1;
	const DeviceSpec *d0;
	Uuid tag;

	g_assert_no_error(error);
	g_assert_cmpstr(file->group, ==, "wheel");
	g_assert_cmpuint(file->backends->len, ==, 2);
	b0 = &((BackendSpec *)file->backends->pdata[0])->config;
	b1 = &((BackendSpec *)file->backends->pdata[1])->config;
	uuid_parse(TAG, &tag, NULL);
	g_assert_cmpstr(b0->name, ==, "b0");
	g_assert_cmpint(b0->type, ==, BACKEND_HUGETLB);
	g_assert_cmpuint(b0->size, ==, UINT64_C(1) << 30);
	g_assert_cmpuint(b0->page_size, ==, UINT64_C(2) << 20);
	g_assert_true(uuid_equal(&b0->tag, &tag));
	g_assert_true(b0->shareable && b0->prealloc && !b0->read_only);
	g_assert_cmpint(b0->on_release, ==, ON_RELEASE_KEEP);
	g_assert_cmpstr(b1->path, ==, "/srv/b1");
	g_assert_true(b1->read_only);
	g_assert_cmpuint(file->devices->len, ==, 1);
	d0 = file->devices->pdata[0];
	g_assert_cmpuint(d0->n_regions, ==, 2);
	g_assert_cmpuint(d0->regions[0].len, ==, UINT64_C(1) << 30);
	g_assert_cmpuint(d0->regions[0].block_size, ==, 4096);
	g_assert_true(d0->regions[0].sharable && d0->regions[0].sanitize_on_release);
	g_assert_false(d0->regions[0].read_only || d0->regions[0].non_volatile);
	g_assert_true(d0->regions[1].read_only && d0->regions[1].non_volatile);
	g_assert_cmpuint(d0->ram_len, ==, UINT64_C(256) << 20);
	g_assert_cmpuint(d0->pmem_len, ==, UINT64_C(512) << 20);
	g_assert_cmpuint(d0->lsa_len, ==, 128 * 1024);
	g_assert_cmpuint(d0->serial, ==, 0xdcd);
	g_assert_cmpuint(d0->max_extents, ==, 17);
	g_assert_cmpuint(d0->max_chain, ==, 18);
	g_assert_cmpuint(d0->dc_log_depth, ==, 19);
	g_assert_cmpuint(d0->read_latency_ns, ==, 200);
	g_assert_cmpuint(d0->write_latency_ns, ==, 65534);
	g_assert_cmpuint(d0->bandwidth_mbps, ==, 64000);
	g_assert_true(d0->hold_off);
}

/* What the ledger keeps of a device is what the device was. */
static void test_settings(void)
{
	static const char *const texts[] = {
		"[device d]\nram = 256M\n",
		"[device d]\ndc-regions = 256M\nserial = 5\n",
		"[device d]\nram = 256M\nread-latency = 1\nwrite-latency = 2\nbandwidth = 3\n",
		"[device d]\npmem = 256M\nlsa = 4K\nmax-extents = 1\nmax-chain = 2\nlog-depth = "
		"3\nhold = off\ndc-regions = 512M,block=1G;256M,sharable,read-only,sanitize,"
		"non-volatile\n",
	};

	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(PoolFile) file = load(texts[i], &error);
		g_autoptr(DeviceSpec) again = NULL;
		g_autofree char *settings = NULL;

		g_assert_no_error(error);
		settings = device_spec_format(file->devices->pdata[0]);
		again = pool_file_parse_device("d", settings, &error);
		g_assert_no_error(error);
		g_assert_true(device_spec_equal(file->devices->pdata[0], again));
		again->lsa_len += 4096;
		g_assert_false(device_spec_equal(file->devices->pdata[0], again));
	}
}

static void test_serial(void)
{
	g_autoptr(DeviceSpec) a = device_spec_new("dev0", SPEC_FROM_QMP);
	g_autoptr(DeviceSpec) b = device_spec_new("dev0", SPEC_FROM_CONFIG);
	g_autoptr(DeviceSpec) c = device_spec_new("dev1", SPEC_FROM_QMP);

	g_assert_cmpuint(device_spec_serial(a), ==, device_spec_serial(b));
	g_assert_cmpuint(device_spec_serial(a), !=, device_spec_serial(c));
	g_assert_cmpuint(device_spec_serial(a), <=, INT64_MAX);
	a->serial = 7;
	g_assert_cmpuint(device_spec_serial(a), ==, 7);
}

/* The manual describes every key, in its section. */
static void test_documented(void)
{
	const CliSection *section = verb_serve.sections;
	const PoolFileKey *key;

	while (strcmp(section->title, "Configuration file") != 0)
		section++;
	for (size_t i = 0; (key = pool_file_key(i)); i++) {
		g_autofree char *head = g_strdup_printf("[%s", key->section);
		g_autofree char *line = g_strdup_printf("\t%s=", key->key);
		const char *at = strstr(section->text, head);

		if (!at || !strstr(at, line))
			g_error("[%s] %s is not in softdcd-serve(1)", key->section, key->key);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/pool/config/every-key", test_every_key);
	g_test_add_func("/unit/pool/config/settings", test_settings);
	g_test_add_func("/unit/pool/config/serial", test_serial);
	g_test_add_func("/unit/pool/config/documented", test_documented);
	return g_test_run();
}
