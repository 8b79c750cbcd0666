/* SPDX-License-Identifier: BSD-3-Clause */
/* Files the kernel makes: read whole and checked, below a root that tests replace. */
#include "agent/sysfs.h"

#include "agent/error.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool agent_fail(AgentError *error, const char *format, ...)
{
	va_list args;

	if (error->text[0])
		return false;
	va_start(args, format);
	vsnprintf(error->text, sizeof(error->text), format, args);
	va_end(args);
	return false;
}

/* ---- files ---- */

static int make_path(char path[SYS_PATH_LEN], const char *root, const char *format, va_list args)
{
	int n = snprintf(path, SYS_PATH_LEN, "%s", root);
	int m;

	if (n < 0 || n >= SYS_PATH_LEN)
		return -ENAMETOOLONG;
	m = vsnprintf(path + n, SYS_PATH_LEN - (size_t)n, format, args);
	return m < 0 || m >= SYS_PATH_LEN - n ? -ENAMETOOLONG : 0;
}

/* For functions whose last named argument is FORMAT */
#define MAKE_PATH(path, root, format, ret_err)                    \
	do {                                                      \
		va_list args_;                                    \
		va_start(args_, format);                          \
		(ret_err) = make_path(path, root, format, args_); \
		va_end(args_);                                    \
	} while (0)

/* At most MAX bytes; more is an error. */
static int read_all(int fd, char **ret_data, size_t *ret_len, size_t max)
{
	size_t room = 4096;
	size_t len = 0;
	char *data = malloc(room);

	while (data) {
		ssize_t n;

		if (len + 1 >= room) {
			char *more = realloc(data, room * 2);

			if (!more)
				break;
			data = more;
			room *= 2;
		}
		n = read(fd, data + len, room - len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || len + (size_t)n > max) {
			int err = n < 0 ? -errno : -EFBIG;

			free(data);
			return err;
		}
		len += (size_t)n;
		if (n == 0) {
			data[len] = '\0';
			*ret_data = data;
			*ret_len = len;
			return 0;
		}
	}
	free(data);
	return -ENOMEM;
}

static int read_path(const char *path, char **ret_data, size_t *ret_len, size_t max)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int err;

	if (fd < 0)
		return -errno;
	err = read_all(fd, ret_data, ret_len, max);
	close(fd);
	return err;
}

int sys_read_file(char **ret_data, size_t *ret_len, size_t max, const char *root,
		  const char *format, ...)
{
	char path[SYS_PATH_LEN];
	int err;

	MAKE_PATH(path, root, format, err);
	return err < 0 ? err : read_path(path, ret_data, ret_len, max);
}

static int read_line(const char *path, char *ret_line, size_t len)
{
	char *data;
	size_t n;
	int err = read_path(path, &data, &n, 64 * 1024);

	if (err < 0)
		return err;
	data[strcspn(data, "\n")] = '\0';
	snprintf(ret_line, len, "%s", data);
	free(data);
	return 0;
}

int sys_read_line(char *ret_line, size_t len, const char *root, const char *format, ...)
{
	char path[SYS_PATH_LEN];
	int err;

	MAKE_PATH(path, root, format, err);
	return err < 0 ? err : read_line(path, ret_line, len);
}

int sys_read_number(uint64_t *ret_number, const char *root, const char *format, ...)
{
	char path[SYS_PATH_LEN];
	char line[64];
	int err;

	MAKE_PATH(path, root, format, err);
	if (err >= 0)
		err = read_line(path, line, sizeof(line));
	if (err < 0)
		return err;
	return parse_number(line, ret_number) ? 0 : -EINVAL;
}

int sys_open(int flags, const char *root, const char *format, ...)
{
	char path[SYS_PATH_LEN];
	int err;

	MAKE_PATH(path, root, format, err);
	if (err >= 0)
		err = open(path, flags | O_CLOEXEC, 0600);
	return err < 0 && err != -ENAMETOOLONG ? -errno : err;
}

int sys_real_path(char ret_path[SYS_PATH_LEN], const char *root, const char *format, ...)
{
	char path[SYS_PATH_LEN];
	char real[PATH_MAX];
	int err;

	MAKE_PATH(path, root, format, err);
	if (err < 0)
		return err;
	if (!realpath(path, real))
		return -errno;
	if (strlen(real) >= SYS_PATH_LEN)
		return -ENAMETOOLONG;
	memcpy(ret_path, real, strlen(real) + 1);
	return 0;
}

int sys_each_name(bool (*func)(void *opaque, const char *name), void *opaque, const char *root,
		  const char *format, ...)
{
	char path[SYS_PATH_LEN];
	struct dirent **names;
	bool goes_on = true;
	int n;

	MAKE_PATH(path, root, format, n);
	if (n < 0)
		return n;
	n = scandir(path, &names, NULL, alphasort);
	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		if (goes_on && names[i]->d_name[0] != '.')
			goes_on = func(opaque, names[i]->d_name);
		free(names[i]);
	}
	free(names);
	return 0;
}

/* ---- texts ---- */

bool parse_number(const char *text, uint64_t *ret_number)
{
	bool is_hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	const char *digits = is_hex ? text + 2 : text;
	unsigned long long number;
	char *end;

	/* strtoull() would take spaces and signs. */
	if (!(digits[0] >= '0' && digits[0] <= '9') &&
	    !(is_hex &&
	      ((digits[0] >= 'a' && digits[0] <= 'f') || (digits[0] >= 'A' && digits[0] <= 'F'))))
		return false;
	errno = 0;
	number = strtoull(digits, &end, is_hex ? 16 : 10);
	if (errno || *end)
		return false;
	*ret_number = number;
	return true;
}

/* Exactly N hexadecimal digits at TEXT */
static bool parse_hex(const char *text, unsigned n, uint32_t *ret_value)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < n; i++) {
		const char *digits = "0123456789abcdef";
		char c = (char)(text[i] >= 'A' && text[i] <= 'F' ? text[i] + 32 : text[i]);
		const char *digit = c ? strchr(digits, c) : NULL;

		if (!digit)
			return false;
		value = value << 4 | (uint32_t)(digit - digits);
	}
	*ret_value = value;
	return true;
}

bool parse_bdf(const char *text, bool domain_optional, uint32_t *ret_domain, uint32_t *ret_bdf)
{
	size_t len = strlen(text);
	uint32_t domain = 0;
	uint32_t bus;
	uint32_t dev;
	uint32_t fn;

	if (len == 12) {
		if (!parse_hex(text, 4, &domain) || text[4] != ':')
			return false;
		text += 5;
	} else if (len != 7 || !domain_optional) {
		return false;
	}
	if (!parse_hex(text, 2, &bus) || text[2] != ':' || !parse_hex(text + 3, 2, &dev) ||
	    text[5] != '.' || !parse_hex(text + 6, 1, &fn) || dev > 31 || fn > 7)
		return false;
	*ret_domain = domain;
	*ret_bdf = bus << 8 | dev << 3 | fn;
	return true;
}

void format_bdf(uint32_t domain, uint32_t bdf, char text[BDF_TEXT_LEN])
{
	snprintf(text, BDF_TEXT_LEN, "%04x:%02x:%02x.%x", domain & 0xffff, bdf >> 8 & 0xff,
		 bdf >> 3 & 0x1f, bdf & 7);
}
