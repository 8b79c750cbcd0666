/* SPDX-License-Identifier: BSD-3-Clause */
/* Programs of this machine for a guest: found, and copied with the libraries they need. */
#include "machine/guest/program.h"

#include <elf.h>
#include <gio/gio.h>
#include <string.h>

char *guest_program_find(const char *name)
{
	static const char *const places[] = { "/usr/local/sbin", "/usr/sbin", "/sbin" };
	char *path = g_find_program_in_path(name);

	for (unsigned i = 0; !path && i < G_N_ELEMENTS(places); i++) {
		g_autofree char *try = g_build_filename(places[i], name, NULL);

		if (g_file_test(try, G_FILE_TEST_IS_EXECUTABLE))
			path = g_steal_pointer(&try);
	}
	return path;
}

char *guest_program_find_ours(const char *name, const char *variable, GError **error)
{
	const char *named = g_getenv(variable);
	g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
	g_autofree char *dir = self ? g_path_get_dirname(self) : g_strdup("/");
	/* In a build directory, and its parts; as installed. */
	const char *const places[] = { ".", "agent", "../libexec/softdcd", "../sbin",
				       SOFTDCD_LIBEXECDIR };

	if (named && *named) {
		if (g_file_test(named, G_FILE_TEST_IS_EXECUTABLE))
			return g_strdup(named);
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND, "%s=%s names no program",
			    variable, named);
		return NULL;
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(places); i++) {
		g_autofree char *path = g_path_is_absolute(places[i])
						? g_build_filename(places[i], name, NULL)
						: g_build_filename(dir, places[i], name, NULL);

		if (g_file_test(path, G_FILE_TEST_IS_REGULAR) &&
		    g_file_test(path, G_FILE_TEST_IS_EXECUTABLE))
			return g_canonicalize_filename(path, NULL);
	}
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
		    "%s: found neither beside softdcd in %s nor in %s; install it, or name it in "
		    "%s",
		    name, dir, SOFTDCD_LIBEXECDIR, variable);
	return NULL;
}

/* ---- libraries ---- */

char *guest_program_linker(GBytes *program)
{
	gsize len;
	const char *bytes = g_bytes_get_data(program, &len);
	Elf64_Ehdr header;
	Elf64_Phdr part;

	if (len < sizeof(header))
		return NULL;
	memcpy(&header, bytes, sizeof(header));
	if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
	    header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64 ||
	    header.e_phentsize != sizeof(part) || header.e_phoff > len)
		return NULL;
	for (unsigned i = 0; i < header.e_phnum; i++) {
		gsize at = header.e_phoff + i * sizeof(part);

		if (len - header.e_phoff < (i + 1) * sizeof(part))
			return NULL;
		memcpy(&part, bytes + at, sizeof(part));
		if (part.p_type != PT_INTERP)
			continue;
		if (part.p_offset > len || part.p_filesz > len - part.p_offset)
			return NULL;
		return g_strndup(bytes + part.p_offset, part.p_filesz);
	}
	return NULL;
}

static bool add_file(GuestCpio *cpio, const char *guest_path, const char *path, GBytes *data,
		     GError **error)
{
	gsize len;
	const void *bytes = g_bytes_get_data(data, &len);

	if (guest_cpio_add_file(cpio, guest_path, bytes, len, true))
		return true;
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE,
		    "%s: %" G_GSIZE_FORMAT " bytes do not fit into an initramfs", path, len);
	return false;
}

static GBytes *read_file(const char *path, GError **error)
{
	char *data = NULL;
	gsize len;

	if (!g_file_get_contents(path, &data, &len, error))
		return NULL;
	return g_bytes_new_take(data, len);
}

static bool add_library(GuestCpio *cpio, const char *path, GError **error)
{
	g_autoptr(GBytes) data = NULL;

	if (guest_cpio_has(cpio, path))
		return true;
	data = read_file(path, error);
	return data && add_file(cpio, path, path, data, error);
}

/* The linker says what it would load: "NAME => /PATH (0x...)", or "/PATH (0x...)". */
static char *path_in_line(const char *line)
{
	const char *start = strchr(line, '/');
	const char *end = start ? strstr(start, " (0x") : NULL;

	return end ? g_strndup(start, (gsize)(end - start)) : NULL;
}

static bool add_libraries(GuestCpio *cpio, const char *linker, const char *path, GError **error)
{
	g_autoptr(GSubprocess) process = NULL;
	g_autofree char *out = NULL;
	g_auto(GStrv) lines = NULL;

	process = g_subprocess_new(G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_MERGE,
				   error, linker, "--list", path, NULL);
	if (!process || !g_subprocess_communicate_utf8(process, NULL, NULL, &out, NULL, error))
		return false;
	if (!g_subprocess_get_successful(process)) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
			    "the libraries of %s cannot be found: %s", path, g_strstrip(out));
		return false;
	}
	lines = g_strsplit(out, "\n", -1);
	for (char **line = lines; *line; line++) {
		g_autofree char *library = path_in_line(*line);

		if (library && !add_library(cpio, library, error))
			return false;
	}
	return add_library(cpio, linker, error);
}

bool guest_program_add(GuestCpio *cpio, const char *guest_path, const char *path, GError **error)
{
	g_autoptr(GBytes) data = read_file(path, error);
	g_autofree char *linker = data ? guest_program_linker(data) : NULL;

	return data && add_file(cpio, guest_path, path, data, error) &&
	       (!linker || add_libraries(cpio, linker, path, error));
}
