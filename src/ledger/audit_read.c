/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads the audit log back, over all its files, also while it is written. */
#include "ledger/audit_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <json-glib/json-glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_TRIES 100 /* to open all files between two rotations */

typedef struct AuditFile {
	char *path;
	FILE *stream;
	dev_t dev;
	ino_t ino;
} AuditFile;

static void audit_file_free(void *data)
{
	AuditFile *file = data;

	fclose(file->stream);
	g_free(file->path);
	g_free(file);
}

static bool is_known(const GPtrArray *files, const struct stat *st)
{
	for (guint i = 0; i < files->len; i++) {
		const AuditFile *file = files->pdata[i];

		if (file->dev == st->st_dev && file->ino == st->st_ino)
			return true;
	}
	return false;
}

static bool open_file(GPtrArray *files, const char *dir, unsigned index, GError **error)
{
	g_autofree char *path = audit_path(dir, index);
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	AuditFile *file;
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		return true;
	if (fd < 0 || fstat(fd, &st) != 0) {
		int errnum = errno;

		g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errnum),
			    "cannot read audit log %s: %s", path, g_strerror(errnum));
		if (fd >= 0)
			close(fd);
		return false;
	}
	if (!S_ISREG(st.st_mode) || is_known(files, &st)) {
		close(fd);
		return true;
	}
	file = g_new0(AuditFile, 1);
	file->path = g_steal_pointer(&path);
	file->stream = fdopen(fd, "r");
	file->dev = st.st_dev;
	file->ino = st.st_ino;
	g_ptr_array_add(files, file);
	return true;
}

/* From the newest to the oldest: files that move on meanwhile are met twice rather than never. */
static GPtrArray *open_once(const char *dir, GError **error)
{
	g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func(audit_file_free);

	for (unsigned i = 0; i <= AUDIT_MAX_OLD; i++) {
		if (!open_file(files, dir, i, error))
			return NULL;
	}
	return g_steal_pointer(&files);
}

/* Is the newest file still the one written to? If not, those opened may be in any order. */
static bool is_current(const GPtrArray *files, const char *dir)
{
	g_autofree char *path = audit_path(dir, 0);
	const AuditFile *newest = files->len > 0 ? files->pdata[0] : NULL;
	struct stat st;

	if (lstat(path, &st) != 0)
		return !newest;
	return newest && newest->dev == st.st_dev && newest->ino == st.st_ino;
}

static GPtrArray *open_files(const char *dir, GError **error)
{
	GPtrArray *files = open_once(dir, error);

	for (unsigned i = 0; files && !is_current(files, dir) && i < MAX_TRIES; i++) {
		g_ptr_array_unref(files);
		files = open_once(dir, error);
	}
	return files;
}

static bool is_object(JsonParser *parser, const char *line, size_t len)
{
	return json_parser_load_from_data(parser, line, (gssize)len, NULL) &&
	       JSON_NODE_HOLDS_OBJECT(json_parser_get_root(parser));
}

typedef struct Reader {
	char since[AUDIT_TIME_LEN + 1];
	AuditLineFunc func;
	void *opaque;
	JsonParser *parser;
	char *buffer; /* getline()'s */
	size_t buffer_len;
	bool stopped;
} Reader;

/* LINE without its newline. What is not whole, or not ours, is passed over. */
static void take_line(Reader *reader, const char *line, size_t len)
{
	size_t start = strlen(AUDIT_LINE_START);
	int64_t time_us;

	/* The times compare as text, which passes over old lines fast. */
	if (len < start + AUDIT_TIME_LEN ||
	    memcmp(line + start, reader->since, AUDIT_TIME_LEN) < 0 ||
	    !audit_line_time(line, len, &time_us) || !is_object(reader->parser, line, len))
		return;
	reader->stopped = !reader->func(line, len, time_us, reader->opaque);
}

static bool read_file(Reader *reader, const AuditFile *file, GError **error)
{
	ssize_t n = 0;

	while (!reader->stopped &&
	       (n = getline(&reader->buffer, &reader->buffer_len, file->stream)) > 0) {
		size_t len = (size_t)n - 1;

		if (reader->buffer[len] != '\n' || len > AUDIT_MAX_LINE)
			continue;
		reader->buffer[len] = '\0';
		take_line(reader, reader->buffer, len);
	}
	if (ferror(file->stream)) {
		g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno),
			    "cannot read audit log %s: %s", file->path, g_strerror(errno));
		return false;
	}
	return true;
}

bool audit_read(const char *dir, int64_t since_us, AuditLineFunc func, void *opaque, GError **error)
{
	g_autoptr(GPtrArray) files = open_files(dir, error);
	g_autoptr(JsonParser) parser = json_parser_new();
	Reader reader = { .func = func, .opaque = opaque, .parser = parser };
	bool ok = true;

	if (!files)
		return false;
	audit_format_time(since_us, reader.since);
	for (guint i = files->len; i > 0 && ok && !reader.stopped; i--)
		ok = read_file(&reader, files->pdata[i - 1], error);
	free(reader.buffer);
	return ok;
}
