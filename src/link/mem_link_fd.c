/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether a descriptor from an untrusted device can be mapped without a surprise. */
#include "link/mem_link_book.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Device files do all sorts of things when mapped; only DAX is memory. */
static bool is_dax(dev_t dev, uint64_t *ret_len)
{
	g_autofree char *dir = g_strdup_printf("/sys/dev/char/%u:%u", major(dev), minor(dev));
	g_autofree char *subsystem = g_build_filename(dir, "subsystem", NULL);
	g_autofree char *size = g_build_filename(dir, "size", NULL);
	g_autofree char *target = g_file_read_link(subsystem, NULL);
	g_autofree char *name = target != NULL ? g_path_get_basename(target) : NULL;
	g_autofree char *text = NULL;

	if (g_strcmp0(name, "dax") != 0 || !g_file_get_contents(size, &text, NULL, NULL))
		return false;
	*ret_len = g_ascii_strtoull(text, NULL, 0);
	return true;
}

bool mem_link_fd_is_safe(int fd, uint64_t offset, uint64_t len)
{
	struct stat st;
	uint64_t file_len;
	int seals;

	if (fstat(fd, &st) < 0)
		return false;
	if (S_ISCHR(st.st_mode)) {
		if (!is_dax(st.st_rdev, &file_len))
			return false;
	} else if (S_ISREG(st.st_mode)) {
		file_len = (uint64_t)st.st_size;
		seals = fcntl(fd, F_GET_SEALS);
		if (seals < 0 && errno != EINVAL)
			return false;
		/* tmpfs and hugetlbfs answer for named files too, which nobody can seal. */
		if (seals >= 0 && st.st_nlink == 0 && (seals & F_SEAL_SHRINK) == 0)
			return false;
	} else {
		return false;
	}
	return offset <= file_len && len <= file_len - offset;
}
