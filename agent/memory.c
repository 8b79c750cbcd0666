/* SPDX-License-Identifier: BSD-3-Clause */
/* Physical memory through /dev/mem: registers uncached, windows write-back. */
#include "agent/memory.h"

#include "agent/platform.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAT_LIST "/sys/kernel/debug/x86/pat_memtype_list"

static void *fail(const char *root, uint64_t hpa, uint64_t len, const char *what, int err,
		  AgentError *error)
{
	char owner[64];

	/* Linux: CONFIG_IO_STRICT_DEVMEM keeps what a driver has requested from everybody else. */
	if (err != EPERM || !platform_busy_owner(root, hpa, len, owner))
		agent_fail(error, "%s at %#" PRIx64 " cannot be mapped: %s%s", what, hpa,
			   strerror(err), err == EACCES ? " (root can)" : "");
	else
		agent_fail(error,
			   "%s at %#" PRIx64 ": the kernel has it in use as '%s'; boot with "
			   "iomem=relaxed",
			   what, hpa, owner);
	return NULL;
}

void *memory_map(const char *root, MemoryKind kind, uint64_t hpa, uint64_t len, void *at,
		 const char *what, AgentError *error)
{
	/* Linux: O_SYNC makes such mappings uncached, without it they are write-back. */
	int fd = sys_open(O_RDWR | (kind == MEMORY_REGISTERS ? O_SYNC : 0), root, "/dev/mem");
	int flags = MAP_SHARED | (at ? MAP_FIXED : 0);
	int saved_errno;

	if (fd < 0) {
		agent_fail(error, "/dev/mem cannot be opened: %s%s", strerror(-fd),
			   fd == -EACCES || fd == -EPERM
				   ? " (root can, unless the kernel is locked "
				     "down)"
				   : "");
		return NULL;
	}
	at = mmap(at, len, PROT_READ | PROT_WRITE, flags, fd, (off_t)hpa);
	saved_errno = errno;
	close(fd);
	return at == MAP_FAILED ? fail(root, hpa, len, what, saved_errno, error) : at;
}

static const char *caching_name(const char *text)
{
	static const char *const names[] = {
		"write-back",      "uncached-minus", "uncached",
		"write-combining", "write-through",  "write-protected"
	};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strncmp(text, names[i], strlen(names[i])) == 0)
			return names[i];
	}
	return "unknown";
}

const char *memory_caching(const char *root, uint64_t hpa, uint64_t len)
{
	const char *found = "unknown";
	char *text;
	char *save;
	size_t text_len;

	if (sys_read_file(&text, &text_len, 16u << 20, root, PAT_LIST) < 0)
		return found;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		uint64_t start;
		uint64_t end; /* past the last byte */
		int name_at = 0;

		if (sscanf(line, "PAT: [mem %" SCNx64 "-%" SCNx64 "] %n", &start, &end, &name_at) <
			    2 ||
		    !name_at || start > hpa || end < hpa + len)
			continue;
		found = caching_name(line + name_at);
		break;
	}
	free(text);
	return found;
}
