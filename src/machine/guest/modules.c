/* SPDX-License-Identifier: BSD-3-Clause */
/* Kernel modules for a guest: found, unpacked, each after what it needs. */
#include "machine/guest/modules.h"

#include <gio/gio.h>
#include <string.h>

#define MAX_DEPTH 16 /* of directories, and of modules that need modules */

struct GuestModules {
	GHashTable *paths;   /* by name; owned */
	GHashTable *builtin; /* set of names */
	GHashTable *visited; /* set of names: on the list, or on its way there */
	GPtrArray *list;
};

/* What unpacks a module to its standard output; Debian: none, later .xz. */
static const struct {
	const char *suffix;
	const char *program;
} packings[] = {
	{ ".ko", NULL },
	{ ".ko.xz", "xz" },
	{ ".ko.zst", "zstd" },
	{ ".ko.gz", "gzip" },
};

static void free_module(void *pointer)
{
	GuestModule *module = pointer;

	g_free(module->name);
	g_bytes_unref(module->code);
	g_ptr_array_unref(module->needs);
	g_strfreev(module->aliases);
	g_free(module);
}

/* The name a file of modules stands for; NULL if it is none. */
static char *module_name(const char *file)
{
	g_autofree char *base = g_path_get_basename(file);

	for (unsigned i = 0; i < G_N_ELEMENTS(packings); i++) {
		if (g_str_has_suffix(base, packings[i].suffix)) {
			base[strlen(base) - strlen(packings[i].suffix)] = '\0';
			return g_strdelimit(g_steal_pointer(&base), "-", '_');
		}
	}
	return NULL;
}

static char *normal_name(const char *name)
{
	return g_strdelimit(g_strdup(name), "-", '_');
}

/* ---- what there is ---- */

static void index_tree(GuestModules *modules, const char *path, unsigned depth)
{
	g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir))) {
		g_autofree char *below = g_build_filename(path, name, NULL);
		char *module = module_name(name);

		if (module)
			g_hash_table_insert(modules->paths, module, g_steal_pointer(&below));
		else if (depth < MAX_DEPTH && !g_file_test(below, G_FILE_TEST_IS_SYMLINK) &&
			 g_file_test(below, G_FILE_TEST_IS_DIR))
			index_tree(modules, below, depth + 1);
	}
}

/* modules.dep is one file instead of hundreds of directories, but a package's modules that were
 * only unpacked have none. */
static bool index_list(GuestModules *modules, const char *dir)
{
	g_autofree char *path = g_build_filename(dir, "modules.dep", NULL);
	g_autofree char *text = NULL;
	g_auto(GStrv) lines = NULL;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return false;
	lines = g_strsplit(text, "\n", -1);
	for (char **line = lines; *line; line++) {
		char *colon = strchr(*line, ':');
		char *module;

		if (!colon)
			continue;
		*colon = '\0';
		module = module_name(*line);
		if (module)
			g_hash_table_insert(modules->paths, module,
					    **line == '/' ? g_strdup(*line)
							  : g_build_filename(dir, *line, NULL));
	}
	return true;
}

static void index_builtin(GuestModules *modules, const char *dir)
{
	g_autofree char *path = g_build_filename(dir, "modules.builtin", NULL);
	g_autofree char *text = NULL;
	g_auto(GStrv) lines = NULL;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return;
	lines = g_strsplit(text, "\n", -1);
	for (char **line = lines; *line; line++) {
		char *module = module_name(*line);

		if (module)
			g_hash_table_add(modules->builtin, module);
	}
}

GuestModules *guest_modules_new(const char *dir)
{
	GuestModules *modules = g_new0(GuestModules, 1);

	modules->paths = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	modules->builtin = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	modules->visited = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	modules->list = g_ptr_array_new_with_free_func(free_module);
	if (dir) {
		if (!index_list(modules, dir))
			index_tree(modules, dir, 0);
		index_builtin(modules, dir);
	}
	return modules;
}

void guest_modules_free(GuestModules *modules)
{
	if (!modules)
		return;
	g_hash_table_unref(modules->paths);
	g_hash_table_unref(modules->builtin);
	g_hash_table_unref(modules->visited);
	g_ptr_array_unref(modules->list);
	g_free(modules);
}

GuestModuleState guest_modules_look(const GuestModules *modules, const char *name)
{
	g_autofree char *normal = normal_name(name);

	if (g_hash_table_contains(modules->paths, normal))
		return GUEST_MODULE_FOUND;
	if (g_hash_table_contains(modules->builtin, normal))
		return GUEST_MODULE_BUILTIN;
	return GUEST_MODULE_ABSENT;
}

const GPtrArray *guest_modules_peek(const GuestModules *modules)
{
	return modules->list;
}

/* ---- one module ---- */

static GBytes *unpack(const char *program, const char *path, GError **error)
{
	g_autoptr(GSubprocess) process = NULL;
	g_autoptr(GBytes) out = NULL, err = NULL;

	process = g_subprocess_new(G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_PIPE,
				   error, program, "-dc", path, NULL);
	if (!process) {
		g_prefix_error(error, "module %s needs %s to be unpacked: ", path, program);
		return NULL;
	}
	if (!g_subprocess_communicate(process, NULL, NULL, &out, &err, error))
		return NULL;
	if (!g_subprocess_get_successful(process)) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "module %s: %.*s", path,
			    (int)g_bytes_get_size(err), (const char *)g_bytes_get_data(err, NULL));
		return NULL;
	}
	return g_steal_pointer(&out);
}

static GBytes *read_module(const char *path, GError **error)
{
	char *code = NULL;
	gsize len;

	for (unsigned i = 1; i < G_N_ELEMENTS(packings); i++) {
		if (g_str_has_suffix(path, packings[i].suffix))
			return unpack(packings[i].program, path, error);
	}
	if (!g_file_get_contents(path, &code, &len, error))
		return NULL;
	return g_bytes_new_take(code, len);
}

/* What a module says of itself, "KEY=VALUE", in its section .modinfo of NUL-ended texts: all values
 * of KEY, which has the "=". */
static char **values_of(GBytes *code, const char *key)
{
	g_autoptr(GPtrArray) values = g_ptr_array_new_with_free_func(g_free);
	gsize len;
	const char *start = g_bytes_get_data(code, &len);
	const char *end = start + len, *at = start;

	while ((at = memmem(at, (size_t)(end - at), key, strlen(key)))) {
		const char *value = at + strlen(key);
		const char *stop = memchr(value, '\0', (size_t)(end - value));

		if (stop && (at == start || at[-1] == '\0'))
			g_ptr_array_add(values, g_strdup(value));
		at = value;
	}
	g_ptr_array_add(values, NULL);
	return (char **)g_ptr_array_free(g_steal_pointer(&values), FALSE);
}

static const GuestModule *find_listed(const GuestModules *modules, const char *name)
{
	for (guint i = 0; i < modules->list->len; i++) {
		const GuestModule *module = modules->list->pdata[i];

		if (strcmp(module->name, name) == 0)
			return module;
	}
	return NULL;
}

static void add_need(GPtrArray *needs, const char *name)
{
	if (!g_ptr_array_find_with_equal_func(needs, name, g_str_equal, NULL))
		g_ptr_array_add(needs, g_strdup(name));
}

static bool add(GuestModules *modules, const char *name, unsigned depth, GError **error);

/* Puts those that CODE needs directly on the list, and all it needs into NEEDS. */
static bool add_needs(GuestModules *modules, GBytes *code, unsigned depth, GPtrArray *needs,
		      GError **error)
{
	g_auto(GStrv) values = values_of(code, "depends=");
	g_auto(GStrv) names = g_strsplit(values[0] ? values[0] : "", ",", -1);

	for (char **direct = names; *direct; direct++) {
		g_autofree char *normal = normal_name(*direct);
		const GuestModule *module;

		if (!add(modules, normal, depth, error))
			return false;
		module = find_listed(modules, normal);
		if (!module)
			continue; /* built in */
		for (guint i = 0; i < module->needs->len; i++)
			add_need(needs, module->needs->pdata[i]);
		add_need(needs, normal);
	}
	return true;
}

static bool add(GuestModules *modules, const char *name, unsigned depth, GError **error)
{
	const char *path = g_hash_table_lookup(modules->paths, name);
	g_autoptr(GPtrArray) needs = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GBytes) code = NULL;
	GuestModule *module;

	if (!path || g_hash_table_contains(modules->visited, name))
		return true;
	if (depth > MAX_DEPTH) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
			    "module %s: more than %d modules need each other", path, MAX_DEPTH);
		return false;
	}
	g_hash_table_add(modules->visited, g_strdup(name));
	code = read_module(path, error);
	if (!code || !add_needs(modules, code, depth + 1, needs, error))
		return false;
	module = g_new(GuestModule, 1);
	module->name = g_strdup(name);
	module->aliases = values_of(code, "alias=");
	module->code = g_steal_pointer(&code);
	module->needs = g_steal_pointer(&needs);
	g_ptr_array_add(modules->list, module);
	return true;
}

bool guest_modules_add(GuestModules *modules, const char *name, GError **error)
{
	g_autofree char *normal = normal_name(name);

	return add(modules, normal, 0, error);
}
