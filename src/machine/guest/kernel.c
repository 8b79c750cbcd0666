/* SPDX-License-Identifier: BSD-3-Clause */
/* Finds a Linux kernel on this machine for guests to boot, and its modules. */
#include "machine/guest/kernel.h"

#include "cxl/endian.h"
#include "util/autofd.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

/* Linux: Documentation/arch/x86/boot.rst; offsets in the file */
#define BOOT_MAGIC       0x202
#define BOOT_VERSION     0x20e /* le16: where the text of the version is, less 200h */
#define BOOT_VERSION_ADD 0x200
#define HEAD_LEN         0x10400 /* that field can reach no farther, and the text behind it */
#define MAX_VERSION      64

void guest_kernel_clear(GuestKernel *kernel)
{
	g_clear_pointer(&kernel->path, g_free);
	g_clear_pointer(&kernel->version, g_free);
	g_clear_pointer(&kernel->modules_dir, g_free);
}

static bool read_head(const char *file, char *head, size_t *ret_len, GError **error)
{
	AUTOFD int fd = open(file, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) != 0) {
		int why = errno;

		g_set_error(error, G_IO_ERROR, g_io_error_from_errno(why), "kernel %s: %s%s", file,
			    g_strerror(why),
			    why == EACCES ? "; make it readable, or name another with --kernel"
					  : "");
		return false;
	}
	if (!S_ISREG(st.st_mode)) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
			    "kernel %s is not a regular file", file);
		return false;
	}
	n = pread(fd, head, HEAD_LEN, 0);
	if (n < 0) {
		g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno), "kernel %s: %s", file,
			    g_strerror(errno));
		return false;
	}
	*ret_len = (size_t)n;
	return true;
}

char *guest_kernel_version(const char *file, GError **error)
{
	g_autofree char *head = g_malloc0(HEAD_LEN);
	size_t len, at, text_len;

	if (!read_head(file, head, &len, error))
		return NULL;
	if (len < BOOT_VERSION + 2 || memcmp(head + BOOT_MAGIC, "HdrS", 4) != 0) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
			    "%s is not a Linux kernel for x86 (bzImage)", file);
		return NULL;
	}
	at = (size_t)le16_load(head + BOOT_VERSION) + BOOT_VERSION_ADD;
	for (text_len = 0; at + text_len < len && g_ascii_isgraph(head[at + text_len]) &&
			   head[at + text_len] != '/';
	     text_len++)
		;
	if (at == BOOT_VERSION_ADD || text_len == 0 || text_len > MAX_VERSION || head[at] == '.') {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
			    "kernel %s does not say its version", file);
		return NULL;
	}
	return g_strndup(head + at, text_len);
}

/* ---- modules ---- */

/* Below a system's root, which is what ROOT or a directory above the kernel may be. */
static char *modules_below(const char *root, const char *version)
{
	static const char *const places[] = { "lib/modules", "usr/lib/modules" };

	for (unsigned i = 0; i < G_N_ELEMENTS(places); i++) {
		g_autofree char *dir = g_build_filename(root, places[i], version, NULL);

		if (g_file_test(dir, G_FILE_TEST_IS_DIR))
			return g_steal_pointer(&dir);
	}
	return NULL;
}

static char *find_modules(const char *root, const char *path, const char *version)
{
	g_autofree char *beside = g_path_get_dirname(path);
	g_autofree char *above = g_path_get_dirname(beside);
	g_autofree char *inside = g_build_filename(beside, "kernel", NULL);
	char *dir = modules_below(beside, version);

	if (!dir && g_file_test(inside, G_FILE_TEST_IS_DIR))
		return g_strdup(beside); /* /lib/modules/VERSION/vmlinuz */
	if (!dir)
		dir = modules_below(above, version);
	if (!dir)
		dir = modules_below(*root ? root : "/", version);
	return dir;
}

static bool take(const char *root, const char *path, GuestKernel *ret, GError **error)
{
	g_autofree char *version = guest_kernel_version(path, error);

	if (!version)
		return false;
	*ret = (GuestKernel){
		.path = g_strdup(path),
		.version = g_steal_pointer(&version),
	};
	ret->modules_dir = find_modules(root, path, ret->version);
	return true;
}

/* ---- which one ---- */

static int newest_first(const void *a, const void *b)
{
	const char *const *left = a, *const *right = b;

	return strverscmp(*right, *left);
}

/* Those of a directory whose names begin like kernels', and those of each release of modules. */
static void list_kernels(const char *root, GPtrArray *paths)
{
	static const struct {
		const char *dir, *name;
	} places[] = {
		{ "boot", NULL },
		{ "lib/modules", "vmlinuz" },
		{ "usr/lib/modules", "vmlinuz" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(places); i++) {
		g_autofree char *dir_path = g_build_filename(*root ? root : "/", places[i].dir,
							     NULL);
		g_autoptr(GDir) dir = g_dir_open(dir_path, 0, NULL);
		guint first = paths->len;
		const char *name;

		while (dir && (name = g_dir_read_name(dir))) {
			g_autofree char *path = g_build_filename(dir_path, name, places[i].name,
								 NULL);

			if ((places[i].name || g_str_has_prefix(name, "vmlinuz-")) &&
			    g_file_test(path, G_FILE_TEST_IS_REGULAR))
				g_ptr_array_add(paths, g_steal_pointer(&path));
		}
		if (paths->len > first)
			qsort(paths->pdata + first, paths->len - first, sizeof(*paths->pdata),
			      newest_first);
	}
}

static bool find_any(const char *root, GuestKernel *ret, GError **error)
{
	g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GError) first = NULL;
	g_auto(GuestKernel) bare = { 0 };

	list_kernels(root, paths);
	for (guint i = 0; i < paths->len; i++) {
		GuestKernel kernel = { 0 };

		if (!take(root, paths->pdata[i], &kernel, first ? NULL : &first))
			continue;
		if (kernel.modules_dir) {
			*ret = kernel;
			return true;
		}
		if (bare.path)
			guest_kernel_clear(&kernel);
		else
			bare = kernel;
	}
	if (bare.path) {
		*ret = bare;
		memset(&bare, 0, sizeof(bare));
		return true;
	}
	if (first)
		g_propagate_error(error, g_steal_pointer(&first));
	else
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
			    "no kernel in %s/boot: install one (on Debian: apt-get install "
			    "linux-image-amd64), or name one with --kernel",
			    root);
	return false;
}

bool guest_kernel_find(const char *root, const char *path, GuestKernel *ret, GError **error)
{
	struct utsname host;
	g_autofree char *running = NULL;

	if (path) {
		g_autofree char *whole = g_canonicalize_filename(path, NULL);

		return take(root, whole, ret, error);
	}
	uname(&host);
	running = g_strdup_printf("%s/boot/vmlinuz-%s", root, host.release);
	if (access(running, R_OK) == 0 && take(root, running, ret, NULL)) {
		if (ret->modules_dir)
			return true;
		guest_kernel_clear(ret);
	}
	return find_any(root, ret, error);
}
