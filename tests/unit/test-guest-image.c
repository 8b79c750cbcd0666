/* SPDX-License-Identifier: BSD-3-Clause */
/* What guests boot: kernels found in made-up trees, modules in order, archives taken apart again.
 */

#include "machine/guest/cpio.h"
#include "machine/guest/image.h"
#include "machine/guest/kernel.h"
#include "machine/guest/program.h"

#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

typedef struct Tree {
	char *root;
} Tree;

static void set_up(Tree *tree, gconstpointer unused)
{
	tree->root = g_dir_make_tmp("softdcd-guest-XXXXXX", NULL);
	g_assert_nonnull(tree->root);
}

static void remove_tree(const char *path)
{
	GDir *dir = g_dir_open(path, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir))) {
		g_autofree char *below = g_build_filename(path, name, NULL);

		remove_tree(below);
	}
	g_clear_pointer(&dir, g_dir_close);
	g_remove(path);
}

static void tear_down(Tree *tree, gconstpointer unused)
{
	remove_tree(tree->root);
	g_free(tree->root);
}

static char *path_of(const Tree *tree, const char *path)
{
	return g_build_filename(tree->root, path, NULL);
}

static void put(const Tree *tree, const char *path, const char *data, gssize len)
{
	g_autofree char *file = path_of(tree, path);
	g_autofree char *dir = g_path_get_dirname(file);

	g_assert_cmpint(g_mkdir_with_parents(dir, 0755), ==, 0);
	g_assert_true(g_file_set_contents(file, data, len, NULL));
}

/* ---- kernels ---- */

static void put_kernel(const Tree *tree, const char *path, const char *version)
{
	char image[1024] = { 0 };

	memcpy(image + 0x202, "HdrS", 4);
	image[0x20e] = 0x40;
	image[0x20f] = 0x01; /* 340h in the file */
	g_snprintf(image + 0x340, 256, "%s (builder@host) #1 SMP", version);
	put(tree, path, image, sizeof(image));
}

static void check_found(const Tree *tree, const char *named, const char *path, const char *modules)
{
	g_auto(GuestKernel) kernel = { 0 };
	g_autoptr(GError) error = NULL;
	g_autofree char *named_path = named ? path_of(tree, named) : NULL;
	g_autofree char *want_path = path_of(tree, path);
	g_autofree char *want_modules = modules ? path_of(tree, modules) : NULL;
	bool ok = guest_kernel_find(tree->root, named_path, &kernel, &error);

	g_assert_no_error(error);
	g_assert_true(ok);
	g_assert_cmpstr(kernel.path, ==, want_path);
	g_assert_cmpstr(kernel.modules_dir, ==, want_modules);
}

static void check_not_found(const Tree *tree, const char *named, int code, const char *text)
{
	g_auto(GuestKernel) kernel = { 0 };
	g_autoptr(GError) error = NULL;
	g_autofree char *named_path = named ? path_of(tree, named) : NULL;

	g_assert_false(guest_kernel_find(tree->root, named_path, &kernel, &error));
	g_assert_error(error, G_IO_ERROR, code);
	if (!strstr(error->message, text))
		g_error("\"%s\" does not say \"%s\"", error->message, text);
	g_assert_null(kernel.path);
}

static void test_kernels(Tree *tree, gconstpointer unused)
{
	struct utsname host;
	g_autofree char *running = NULL, *running_modules = NULL, *running_file = NULL;

	check_not_found(tree, NULL, G_IO_ERROR_NOT_FOUND, "no kernel in");
	put_kernel(tree, "boot/vmlinuz-6.9.0-1-amd64", "6.9.0-1-amd64");
	check_found(tree, NULL, "boot/vmlinuz-6.9.0-1-amd64", NULL);
	/* one with modules comes first, and of these the newest */
	put_kernel(tree, "boot/vmlinuz-6.1.0-9-amd64", "6.1.0-9-amd64");
	put(tree, "lib/modules/6.1.0-9-amd64/modules.builtin", "", 0);
	check_found(tree, NULL, "boot/vmlinuz-6.1.0-9-amd64", "lib/modules/6.1.0-9-amd64");
	put_kernel(tree, "boot/vmlinuz-6.1.0-10-amd64", "6.1.0-10-amd64");
	put(tree, "usr/lib/modules/6.1.0-10-amd64/modules.builtin", "", 0);
	check_found(tree, NULL, "boot/vmlinuz-6.1.0-10-amd64", "usr/lib/modules/6.1.0-10-amd64");
	/* the running one before all others */
	uname(&host);
	running = g_strconcat("boot/vmlinuz-", host.release, NULL);
	running_modules = g_strconcat("lib/modules/", host.release, NULL);
	running_file = g_strconcat(running_modules, "/modules.dep", NULL);
	put_kernel(tree, running, host.release);
	put(tree, running_file, "", 0);
	check_found(tree, NULL, running, running_modules);
}

/* Modules beside the kernel: as a package is unpacked, or as Fedora has it. */
static void test_named_kernels(Tree *tree, gconstpointer unused)
{
	put_kernel(tree, "deb/boot/vmlinuz-7.3", "7.3");
	put(tree, "deb/lib/modules/7.3/modules.builtin", "", 0);
	check_found(tree, "deb/boot/vmlinuz-7.3", "deb/boot/vmlinuz-7.3", "deb/lib/modules/7.3");
	put_kernel(tree, "flat/vmlinuz", "7.3");
	put(tree, "flat/usr/lib/modules/7.3/modules.builtin", "", 0);
	check_found(tree, "flat/vmlinuz", "flat/vmlinuz", "flat/usr/lib/modules/7.3");
	put_kernel(tree, "lib/modules/6.8.5/vmlinuz", "6.8.5");
	put(tree, "lib/modules/6.8.5/kernel/x.ko", "", 0);
	check_found(tree, "lib/modules/6.8.5/vmlinuz", "lib/modules/6.8.5/vmlinuz",
		    "lib/modules/6.8.5");
	check_found(tree, NULL, "lib/modules/6.8.5/vmlinuz", "lib/modules/6.8.5");

	put(tree, "text", "not a kernel", -1);
	put_kernel(tree, "mute", "");
	check_not_found(tree, "text", G_IO_ERROR_INVALID_DATA, "is not a Linux kernel");
	check_not_found(tree, "mute", G_IO_ERROR_INVALID_DATA, "");
	check_not_found(tree, "deb", G_IO_ERROR_INVALID_DATA, "not a regular file");
	check_not_found(tree, "absent", G_IO_ERROR_NOT_FOUND, "absent");
}

/* A version that is beyond the file, that has no end, or is no name for a directory. */
static void test_hostile_kernel(Tree *tree, gconstpointer unused)
{
	char image[0x400];

	memset(image, 'x', sizeof(image));
	memcpy(image + 0x202, "HdrS", 4);
	put(tree, "beyond", image, sizeof(image));
	check_not_found(tree, "beyond", G_IO_ERROR_INVALID_DATA, "does not say its version");
	image[0x20e] = 0x40;
	image[0x20f] = 0x01;
	put(tree, "endless", image, sizeof(image));
	check_not_found(tree, "endless", G_IO_ERROR_INVALID_DATA, "does not say its version");
	memcpy(image + 0x340, "../../etc ", 10);
	put(tree, "path", image, sizeof(image));
	check_not_found(tree, "path", G_IO_ERROR_INVALID_DATA, "does not say its version");
	put(tree, "short", image, 0x20f);
	check_not_found(tree, "short", G_IO_ERROR_INVALID_DATA, "is not a Linux kernel");
}

/* ---- modules ---- */

static void put_module(const Tree *tree, const char *path, const char *depends)
{
	g_autoptr(GString) code = g_string_new("ELF");

	g_string_append_c(code, '\0');
	g_string_append(code, "xdepends=wrong"); /* not at the start of a text */
	g_string_append_c(code, '\0');
	g_string_append_printf(code, "depends=%s", depends);
	g_string_append_c(code, '\0');
	g_string_append(code, "alias=also-one");
	g_string_append_c(code, '\0');
	g_string_append(code, "alias=also-two");
	g_string_append_c(code, '\0');
	put(tree, path, code->str, (gssize)code->len);
}

static void pack(const Tree *tree, const char *program, const char *path)
{
	g_autofree char *file = path_of(tree, path);
	g_autoptr(GSubprocess)
		process = g_subprocess_new(G_SUBPROCESS_FLAGS_NONE, NULL, program, file, NULL);

	g_assert_true(g_subprocess_wait_check(process, NULL, NULL));
}

static void check_list(GuestModules *modules, const char *want)
{
	const GPtrArray *list = guest_modules_peek(modules);
	g_autoptr(GString) names = g_string_new(NULL);

	for (guint i = 0; i < list->len; i++)
		g_string_append_printf(names, "%s%s", i ? " " : "",
				       ((GuestModule *)list->pdata[i])->name);
	g_assert_cmpstr(names->str, ==, want);
}

static void test_modules(Tree *tree, gconstpointer unused)
{
	g_autofree char *dir = path_of(tree, "m");
	g_autoptr(GuestModules) modules = NULL;
	g_autoptr(GError) error = NULL;
	const GuestModule *module;

	put_module(tree, "m/kernel/a/top-one.ko", "mid,core-part");
	put_module(tree, "m/kernel/b/mid.ko", "base");
	put_module(tree, "m/kernel/b/base.ko", "");
	put_module(tree, "m/kernel/c/loop.ko", "loop");
	put_module(tree, "m/kernel/c/broken.ko.gz", "");
	put(tree, "m/modules.builtin", "kernel/x/core-part.ko\n", -1);
	pack(tree, "gzip", "m/kernel/b/base.ko");
	modules = guest_modules_new(dir);

	g_assert_cmpint(guest_modules_look(modules, "top_one"), ==, GUEST_MODULE_FOUND);
	g_assert_cmpint(guest_modules_look(modules, "base"), ==, GUEST_MODULE_FOUND);
	g_assert_cmpint(guest_modules_look(modules, "core_part"), ==, GUEST_MODULE_BUILTIN);
	g_assert_cmpint(guest_modules_look(modules, "absent"), ==, GUEST_MODULE_ABSENT);
	g_assert_true(guest_modules_add(modules, "top-one", &error));
	g_assert_true(guest_modules_add(modules, "base", &error));
	g_assert_true(guest_modules_add(modules, "core_part", &error));
	g_assert_true(guest_modules_add(modules, "absent", &error));
	g_assert_true(guest_modules_add(modules, "loop", &error));
	g_assert_no_error(error);
	check_list(modules, "base mid top_one loop");
	module = guest_modules_peek(modules)->pdata[2];
	g_assert_cmpuint(module->needs->len, ==, 2);
	g_assert_cmpstr(module->needs->pdata[0], ==, "base");
	g_assert_cmpstr(module->needs->pdata[1], ==, "mid");
	g_assert_cmpstr(module->aliases[1], ==, "also-two");
	g_assert_false(guest_modules_add(modules, "broken", &error));
	g_assert_nonnull(strstr(error->message, "broken.ko.gz"));
}

/* The list of an installed kernel is believed before the directories. */
static void test_listed_modules(Tree *tree, gconstpointer unused)
{
	g_autofree char *dir = path_of(tree, "m");
	g_autoptr(GuestModules) modules = NULL;
	g_autoptr(GError) error = NULL;

	put_module(tree, "m/kernel/here.ko", "");
	put_module(tree, "m/kernel/unlisted.ko", "");
	put(tree, "m/modules.dep", "kernel/here.ko: kernel/base.ko\nkernel/gone.ko:\nrubbish\n",
	    -1);
	modules = guest_modules_new(dir);
	g_assert_cmpint(guest_modules_look(modules, "here"), ==, GUEST_MODULE_FOUND);
	g_assert_cmpint(guest_modules_look(modules, "unlisted"), ==, GUEST_MODULE_ABSENT);
	g_assert_false(guest_modules_add(modules, "gone", &error));
	g_assert_nonnull(strstr(error->message, "gone.ko"));
}

static void test_no_modules(void)
{
	g_autoptr(GuestModules) modules = guest_modules_new(NULL);
	g_autofree char *missing = guest_image_missing_modules(modules);

	g_assert_cmpstr(missing, ==, "cxl_mem, cxl_acpi, cxl_pci");
	g_assert_true(guest_modules_add(modules, "cxl_mem", NULL));
	check_list(modules, "");
}

/* ---- archives ---- */

typedef struct Entry {
	guint64 mode;
	GBytes *data;
} Entry;

static void free_entry(void *pointer)
{
	g_bytes_unref(((Entry *)pointer)->data);
	g_free(pointer);
}

static guint32 hex(const char *at)
{
	g_autofree char *text = g_strndup(at, 8);

	return (guint32)g_ascii_strtoull(text, NULL, 16);
}

/* Entry by path; every parent comes before what is in it. */
static GHashTable *unpack(GBytes *archive)
{
	GHashTable *entries = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_entry);
	gsize len, at = 0;
	const char *bytes = g_bytes_get_data(archive, &len);

	g_assert_cmpuint(len % 512, ==, 0);
	for (;;) {
		const char *name = bytes + at + 110;
		guint32 data_len, name_len;
		Entry *entry;
		char *slash;

		g_assert_cmpuint(at + 110, <, len);
		g_assert_cmpmem(bytes + at, 6, "070701", 6);
		data_len = hex(bytes + at + 6 + 8 * 6);
		name_len = hex(bytes + at + 6 + 8 * 11);
		if (strcmp(name, "TRAILER!!!") == 0)
			return entries;
		g_assert_cmpuint(strlen(name) + 1, ==, name_len);
		entry = g_new(Entry, 1);
		entry->mode = hex(bytes + at + 6 + 8);
		at = (at + 110 + name_len + 3) / 4 * 4;
		g_assert_cmpuint(at + data_len, <=, len);
		entry->data = g_bytes_new(bytes + at, data_len);
		at = (at + data_len + 3) / 4 * 4;
		slash = strrchr(name, '/');
		if (slash) {
			g_autofree char *parent = g_strndup(name, (gsize)(slash - name));

			g_assert_true(g_hash_table_contains(entries, parent));
		}
		g_assert_true(g_hash_table_insert(entries, g_strdup(name), entry));
	}
}

static const char *text_of(GHashTable *entries, const char *path)
{
	const Entry *entry = g_hash_table_lookup(entries, path);
	static char text[4096];
	gsize len;
	const char *data;

	g_assert_nonnull(entry);
	data = g_bytes_get_data(entry->data, &len);
	g_assert_cmpuint(len, <, sizeof(text));
	memcpy(text, data, len);
	text[len] = '\0';
	return text;
}

static guint64 mode_of(GHashTable *entries, const char *path)
{
	const Entry *entry = g_hash_table_lookup(entries, path);

	return entry ? entry->mode : 0;
}

static void test_cpio(void)
{
	g_autoptr(GuestCpio) cpio = guest_cpio_new();
	g_autoptr(GBytes) archive = NULL;
	g_autoptr(GHashTable) entries = NULL;

	g_assert_true(guest_cpio_add_file(cpio, "/a/b/c", "12345", 5, false));
	g_assert_true(guest_cpio_add_file(cpio, "/a/b/run", "", 0, true));
	g_assert_true(guest_cpio_add_file(cpio, "/a/b/c", "other", 5, true));
	guest_cpio_add_link(cpio, "/l", "a/b");
	guest_cpio_add_device(cpio, "/dev/console", 5, 1);
	g_assert_true(guest_cpio_has(cpio, "/a"));
	g_assert_false(guest_cpio_has(cpio, "/b"));
	g_assert_false(guest_cpio_add_file(cpio, "/big", NULL, G_MAXUINT32, false));
	archive = guest_cpio_finish(cpio);
	entries = unpack(archive);
	g_assert_cmpuint(g_hash_table_size(entries), ==, 7);
	g_assert_cmpstr(text_of(entries, "a/b/c"), ==, "12345");
	g_assert_cmpuint(mode_of(entries, "a/b/c"), ==, S_IFREG | 0644);
	g_assert_cmpuint(mode_of(entries, "a/b/run"), ==, S_IFREG | 0755);
	g_assert_cmpuint(mode_of(entries, "a/b"), ==, S_IFDIR | 0755);
	g_assert_cmpuint(mode_of(entries, "dev/console"), ==, S_IFCHR | 0600);
	g_assert_cmpuint(mode_of(entries, "l"), ==, S_IFLNK | 0777);
	g_assert_cmpstr(text_of(entries, "l"), ==, "a/b");
}

/* ---- the whole image ---- */

static void put_program(const Tree *tree, const char *variable, const char *path)
{
	g_autofree char *file = path_of(tree, path);

	put(tree, path, path, -1);
	g_assert_cmpint(g_chmod(file, 0755), ==, 0);
	if (variable)
		g_setenv(variable, file, TRUE);
}

static void put_system(const Tree *tree)
{
	g_autofree char *bin = path_of(tree, "bin");

	put_program(tree, "SOFTDCD_GUEST_RUN", "our-run");
	put_program(tree, "SOFTDCD_AGENT", "our-agent");
	put_program(tree, NULL, "bin/busybox");
	g_setenv("PATH", bin, TRUE);
	put_module(tree, "m/kernel/cxl_pci.ko", "cxl-mem");
	put_module(tree, "m/kernel/cxl-mem.ko", "");
	put_module(tree, "m/kernel/ext4.ko", "");
	put(tree, "m/modules.builtin", "kernel/cxl_acpi.ko\n", -1);
}

static GHashTable *build_image(const Tree *tree, GuestImageConfig *config)
{
	g_autofree char *dir = path_of(tree, "m");
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) image = NULL;

	config->kernel_version = "7.3";
	config->modules_dir = dir;
	image = guest_image_build(config, &error);
	g_assert_no_error(error);
	return unpack(image);
}

static void test_image(Tree *tree, gconstpointer unused)
{
	static const char *const command[] = { "echo", "it's $HOME", NULL };
	static const GuestMount mounts[] = { { "data", "/srv/the data" } };
	static const GuestPort ports[] = { { 0x20, 1 } };
	GuestImageConfig config = {
		.command = command,
		.mounts = mounts,
		.n_mounts = 1,
		.agent_ports = ports,
		.n_agent_ports = 1,
		.agent_arguments = "--accept all",
		.directory = "/root",
	};
	g_autoptr(GHashTable) entries = NULL;

	put_system(tree);
	entries = build_image(tree, &config);
	g_assert_cmpuint(mode_of(entries, "init"), ==, S_IFREG | 0755);
	g_assert_true(g_str_has_prefix(text_of(entries, "init"), "#!/bin/busybox sh\n"));
	g_assert_cmpuint(mode_of(entries, "usr/bin/busybox"), ==, S_IFREG | 0755);
	g_assert_cmpstr(text_of(entries, "usr/libexec/softdcd/softdcd-agent"), ==, "our-agent");
	/* ext4 is there, but nobody loads it unasked */
	g_assert_cmpstr(text_of(entries, "etc/softdcd/modules"), ==, "cxl_mem\ncxl_pci\n");
	g_assert_cmpuint(mode_of(entries, "lib/modules/7.3/ext4.ko"), !=, 0);
	g_assert_nonnull(strstr(text_of(entries, "lib/modules/7.3/modules.dep"),
				"cxl_pci.ko: cxl_mem.ko\n"));
	g_assert_nonnull(
		strstr(text_of(entries, "lib/modules/7.3/modules.alias"), "alias also-one ext4\n"));
	g_assert_nonnull(strstr(text_of(entries, "etc/softdcd/settings"), "0000:20:01.0"));
}

/* What init reads is shell: whatever the words are, they come out as they went in. */
static void test_settings(Tree *tree, gconstpointer unused)
{
	static const char *const command[] = { "printf", "[%s]", "it's", "$HOME `id`", "a\nb",
					       "",       "\\",   "*",    NULL };
	static const GuestMount mounts[] = { { "t'ag", "/srv/the data" } };
	GuestImageConfig config = { .command = command, .mounts = mounts, .n_mounts = 1 };
	g_autoptr(GHashTable) entries = NULL;
	g_autofree char *script = NULL;
	const char *argv[] = { "/bin/sh", "-c", NULL, NULL };
	g_autofree char *out = NULL;

	put_system(tree);
	entries = build_image(tree, &config);
	script = g_strconcat("mount_share() { printf '<%s>' \"$@\"; }\n",
			     text_of(entries, "etc/softdcd/settings"),
			     "shares\ncommand_of_settings\n", NULL);
	argv[2] = script;
	g_assert_true(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, &out,
				   NULL, NULL, NULL));
	g_assert_cmpstr(out, ==, "<t'ag></srv/the data>[it's][$HOME `id`][a\nb][][\\][*]");
}

static void test_what_is_missing(Tree *tree, gconstpointer unused)
{
	GuestImageConfig config = { .kernel_version = "7.3" };
	g_autofree char *dir = path_of(tree, "m");
	g_autofree char *busybox = path_of(tree, "bin/busybox");
	g_autoptr(GError) error = NULL;

	put_system(tree);
	g_assert_null(guest_image_build(&config, &error));
	g_assert_nonnull(strstr(error->message, "kernel 7.3 has no CXL"));
	g_clear_error(&error);
	config.modules_dir = dir;
	g_setenv("SOFTDCD_AGENT", "/nowhere", TRUE);
	g_assert_null(guest_image_build(&config, &error));
	g_assert_nonnull(strstr(error->message, "SOFTDCD_AGENT=/nowhere"));
	g_clear_error(&error);
	g_remove(busybox);
	if (guest_program_find("busybox"))
		return;
	g_assert_null(guest_image_build(&config, &error));
	g_assert_nonnull(strstr(error->message, "busybox-static"));
}

/* A program that is not static comes with its libraries; this test is one. */
static void test_libraries(void)
{
	g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
	g_autoptr(GuestCpio) cpio = guest_cpio_new();
	g_autoptr(GBytes) archive = NULL, program = NULL;
	g_autoptr(GHashTable) entries = NULL;
	g_autoptr(GError) error = NULL;
	g_autofree char *linker = NULL, *code = NULL;
	gsize len;

	g_assert_true(g_file_get_contents(self, &code, &len, NULL));
	program = g_bytes_new_take(g_steal_pointer(&code), len);
	linker = guest_program_linker(program);
	g_assert_nonnull(linker);
	g_assert_true(guest_program_add(cpio, "/usr/bin/it", self, &error));
	g_assert_no_error(error);
	g_assert_true(guest_cpio_has(cpio, "/usr/bin/it"));
	archive = guest_cpio_finish(cpio);
	entries = unpack(archive);
	g_assert_cmpuint(g_hash_table_size(entries), >, 5);
}

/* Every prefix, and programs whose tables lead out of the file. */
static void test_hostile_program(void)
{
	g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
	g_autofree char *code = NULL;
	gsize len;

	g_assert_true(g_file_get_contents(self, &code, &len, NULL));
	for (gsize n = 0; n < 4096; n++) {
		g_autofree char *copy = g_memdup2(code, n);
		g_autoptr(GBytes) part = g_bytes_new_take(g_steal_pointer(&copy), n);
		g_autofree char *linker = guest_program_linker(part);

		g_assert_true(!linker || *linker == '/');
	}
	for (int i = 0; i < 20000; i++) {
		g_autofree char *copy = g_memdup2(code, 4096);
		g_autoptr(GBytes) part = NULL;
		g_autofree char *linker = NULL;

		for (int j = 0; j < 4; j++)
			copy[g_test_rand_int_range(0, 1024)] = (char)g_test_rand_int();
		part = g_bytes_new_take(g_steal_pointer(&copy), 4096);
		linker = guest_program_linker(part);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define ADD(path, test) g_test_add(path, Tree, NULL, set_up, test, tear_down)
	ADD("/guest/kernels", test_kernels);
	ADD("/guest/named-kernels", test_named_kernels);
	ADD("/guest/hostile-kernel", test_hostile_kernel);
	ADD("/guest/modules", test_modules);
	ADD("/guest/listed-modules", test_listed_modules);
	g_test_add_func("/guest/no-modules", test_no_modules);
	g_test_add_func("/guest/cpio", test_cpio);
	g_test_add_func("/guest/libraries", test_libraries);
	g_test_add_func("/guest/hostile-program", test_hostile_program);
	ADD("/guest/image", test_image);
	ADD("/guest/settings", test_settings);
	ADD("/guest/what-is-missing", test_what_is_missing);
	return g_test_run();
}
