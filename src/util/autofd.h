/* SPDX-License-Identifier: BSD-3-Clause */
/* File descriptors that close themselves at the end of their scope; libc only. */
#pragma once

#include <errno.h>
#include <unistd.h>

/* Leaves errno alone, so that "return -errno" is right whatever goes out of scope after it. */
static inline void fd_close_auto(int *fd)
{
	int saved_errno = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -EBADF;
	errno = saved_errno;
}

/* AUTOFD int fd = -EBADF; */
#define AUTOFD __attribute__((cleanup(fd_close_auto)))

static inline int fd_steal(int *fd)
{
	int stolen = *fd;

	*fd = -EBADF;
	return stolen;
}
