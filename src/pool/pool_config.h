/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration file of `softdcd serve`: which backends and devices a pool is to have. */
#ifndef POOL_POOL_CONFIG_H
#define POOL_POOL_CONFIG_H

#include "pool/pool_spec.h"

typedef struct PoolFile {
	GPtrArray *backends; /* BackendSpec, in the file's order */
	GPtrArray *devices;  /* DeviceSpec, in the file's order */
	char *group;         /* may open the sockets; NULL = nobody else */
} PoolFile;

/*
 * Reads and checks all of PATH. Errors name file, section, key, value and what is allowed. Regions'
 * sizes, and whether files can be opened, are checked by whoever makes the objects.
 */
PoolFile *pool_file_load(const char *path, GError **error);
PoolFile *pool_file_new(void); /* an empty one */
void pool_file_free(PoolFile *file);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PoolFile, pool_file_free)

/* The device that device_spec_format() has described. */
DeviceSpec *pool_file_parse_device(const char *name, const char *settings, GError **error);

/* Every key there is. SECTION is "pool", "backend" or "device". softdcd-serve(1) describes them. */
typedef struct PoolFileKey {
	const char *section;
	const char *key;
} PoolFileKey;
/* Row INDEX, NULL after the last. */
const PoolFileKey *pool_file_key(size_t index);

#endif
