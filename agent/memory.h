/* SPDX-License-Identifier: BSD-3-Clause */
/* Physical memory through /dev/mem: registers uncached, windows write-back. */
#ifndef AGENT_MEMORY_H
#define AGENT_MEMORY_H

#include "agent/error.h"

#include <stdint.h>

typedef enum MemoryKind {
	MEMORY_REGISTERS, /* uncached */
	MEMORY_WINDOW,    /* write-back */
} MemoryKind;

/*
 * Maps [HPA, HPA + LEN), page aligned, for reading and writing: in place of what is mapped AT, or
 * anywhere if that is NULL. NULL with an error that names WHAT and, if somebody in the kernel has
 * it, whom. Undo with munmap().
 */
void *memory_map(const char *root, MemoryKind kind, uint64_t hpa, uint64_t len, void *at,
		 const char *what, AgentError *error);
/*
 * How the kernel caches what memory_map() has mapped there: "write-back", "uncached-minus" and so
 * on, as it is called in debugfs; "unknown" if debugfs is not there to tell. The kernel does not
 * refuse to map memory write-back that the MTRRs say is not, it just does not do it. Static text.
 */
const char *memory_caching(const char *root, uint64_t hpa, uint64_t len);

#endif
