/* SPDX-License-Identifier: BSD-3-Clause */
/* A small file whose contents change as a whole, for what must outlive a killed process. */
#include "pool/session_file.h"

#include "cxl/endian.h"
#include "util/autofd.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define N_PLACES 2

typedef struct PlaceHeader {
	uint8_t magic[8];
	le64 number; /* of the write; the higher one counts */
	le64 sum;    /* of number, len and contents */
	le32 len;
	le32 reserved;
} PlaceHeader;
CXL_STATIC_ASSERT(sizeof(PlaceHeader) == 32);

static const uint8_t magic[8] = { 's', 'd', 'c', 'd', 's', 'e', 's', '1' };

struct SessionFile {
	char *path;
	int fd;
	uint64_t number; /* of the last write */
	unsigned next;   /* place to be written */
	GByteArray *out;
};

/* FNV-1a: against cut writes, not against anyone. */
static uint64_t add_sum(uint64_t sum, const void *data, size_t len)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < len; i++)
		sum = (sum ^ bytes[i]) * UINT64_C(0x100000001b3);
	return sum;
}

static uint64_t sum_of(const PlaceHeader *header, const void *data, size_t len)
{
	uint64_t sum = UINT64_C(0xcbf29ce484222325);

	sum = add_sum(sum, &header->number, sizeof(header->number));
	sum = add_sum(sum, &header->len, sizeof(header->len));
	return add_sum(sum, data, len);
}

static off_t place_offset(unsigned place)
{
	return (off_t)(place * SESSION_FILE_MAX_LEN);
}

static bool check_file(int fd, const char *path, GError **error)
{
	struct stat status;

	if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_uid == geteuid() &&
	    (status.st_mode & (S_IRWXG | S_IRWXO)) == 0)
		return true;
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED,
		    "session file %s: not a file that only this user can open; remove it", path);
	return false;
}

SessionFile *session_file_open(const char *path, GError **error)
{
	AUTOFD int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	SessionFile *file;

	if (fd < 0) {
		g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno), "session file %s: %s",
			    path, g_strerror(errno));
		return NULL;
	}
	if (!check_file(fd, path, error))
		return NULL;
	file = g_new0(SessionFile, 1);
	file->path = g_strdup(path);
	file->fd = fd_steal(&fd);
	file->out = g_byte_array_new();
	return file;
}

void session_file_close(SessionFile *file)
{
	if (!file)
		return;
	if (file->fd >= 0)
		close(file->fd);
	g_byte_array_unref(file->out);
	g_free(file->path);
	g_free(file);
}

/* NULL: nothing whole is there. */
static GBytes *read_place(SessionFile *file, unsigned place, uint64_t *ret_number)
{
	g_autofree uint8_t *buf = g_malloc(SESSION_FILE_MAX_LEN);
	PlaceHeader header;
	ssize_t got = pread(file->fd, buf, SESSION_FILE_MAX_LEN, place_offset(place));
	uint32_t len;

	if (got < (ssize_t)sizeof(header))
		return NULL;
	memcpy(&header, buf, sizeof(header));
	len = le32_get(header.len);
	if (memcmp(header.magic, magic, sizeof(magic)) != 0 || len > (size_t)got - sizeof(header) ||
	    le64_get(header.sum) != sum_of(&header, buf + sizeof(header), len))
		return NULL;
	*ret_number = le64_get(header.number);
	return g_bytes_new(buf + sizeof(header), len);
}

GBytes *session_file_read(SessionFile *file)
{
	GBytes *newest = NULL;

	file->number = 0;
	file->next = 0;
	for (unsigned i = 0; i < N_PLACES; i++) {
		uint64_t number;
		GBytes *contents = read_place(file, i, &number);

		if (!contents)
			continue;
		if (newest && number <= file->number) {
			g_bytes_unref(contents);
			continue;
		}
		g_clear_pointer(&newest, g_bytes_unref);
		newest = contents;
		file->number = number;
		file->next = (i + 1) % N_PLACES;
	}
	return newest;
}

bool session_file_write(SessionFile *file, const void *data, size_t len)
{
	PlaceHeader header = { .number = le64_put(file->number + 1),
			       .len = le32_put((uint32_t)len) };
	ssize_t put;

	if (file->fd < 0 || len > SESSION_FILE_MAX_LEN - sizeof(header)) {
		errno = file->fd < 0 ? EBADF : EFBIG;
		return false;
	}
	memcpy(header.magic, magic, sizeof(magic));
	header.sum = le64_put(sum_of(&header, data, len));
	g_byte_array_set_size(file->out, 0);
	g_byte_array_append(file->out, (const uint8_t *)&header, sizeof(header));
	g_byte_array_append(file->out, data, (guint)len);
	put = pwrite(file->fd, file->out->data, file->out->len, place_offset(file->next));
	if (put != (ssize_t)file->out->len) {
		errno = put < 0 ? errno : ENOSPC;
		return false;
	}
	file->number++;
	file->next = (file->next + 1) % N_PLACES;
	return true;
}

void session_file_remove(SessionFile *file)
{
	unlink(file->path);
	close(file->fd);
	file->fd = -1;
}
