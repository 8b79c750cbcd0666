/* SPDX-License-Identifier: BSD-3-Clause */
/* An initramfs in the making: a cpio archive of format "newc", in memory. */
#include "machine/guest/cpio.h"

#include <string.h>
#include <sys/stat.h>

#define ALIGN     4
#define END_ENTRY "TRAILER!!!"
/* Linux unpacks what ends on any boundary; this one lets another archive follow. */
#define ARCHIVE_ALIGN 512

struct GuestCpio {
	GByteArray *bytes;
	GHashTable *paths; /* set of those added */
};

/* Linux: Documentation/driver-api/early-userspace/buffer-format.rst; each number is eight hex
 * digits. */
typedef struct CpioEntry {
	guint32 mode, len, major, minor;
} CpioEntry;

GuestCpio *guest_cpio_new(void)
{
	GuestCpio *cpio = g_new0(GuestCpio, 1);

	cpio->bytes = g_byte_array_new();
	cpio->paths = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	return cpio;
}

void guest_cpio_free(GuestCpio *cpio)
{
	if (!cpio)
		return;
	g_clear_pointer(&cpio->bytes, g_byte_array_unref);
	g_hash_table_unref(cpio->paths);
	g_free(cpio);
}

static void pad(GuestCpio *cpio, unsigned boundary)
{
	static const guint8 zeros[ARCHIVE_ALIGN];

	g_byte_array_append(cpio->bytes, zeros, -cpio->bytes->len % boundary);
}

/* NAME as it is in the archive. */
static void append(GuestCpio *cpio, const char *name, const CpioEntry *entry, const void *data)
{
	guint32 name_len = (guint32)strlen(name) + 1;
	char header[6 + 13 * 8 + 1];

	g_snprintf(header, sizeof(header),
		   "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		   g_hash_table_size(cpio->paths), /* inode */
		   entry->mode, 0, 0,              /* owner, group */
		   1, 0,                           /* links, time */
		   entry->len, 0, 0, entry->major, entry->minor, name_len, 0);
	g_byte_array_append(cpio->bytes, (const guint8 *)header, sizeof(header) - 1);
	g_byte_array_append(cpio->bytes, (const guint8 *)name, name_len);
	pad(cpio, ALIGN);
	g_byte_array_append(cpio->bytes, data, entry->len);
	pad(cpio, ALIGN);
}

static void add(GuestCpio *cpio, const char *path, const CpioEntry *entry, const void *data)
{
	g_autofree char *parent = g_path_get_dirname(path);

	g_assert(path[0] == '/' && path[1] != '\0' && cpio->bytes);
	if (guest_cpio_has(cpio, path))
		return;
	if (strcmp(parent, "/") != 0)
		guest_cpio_add_directory(cpio, parent);
	g_hash_table_add(cpio->paths, g_strdup(path));
	append(cpio, path + 1, entry, data);
}

bool guest_cpio_has(const GuestCpio *cpio, const char *path)
{
	return g_hash_table_contains(cpio->paths, path);
}

void guest_cpio_add_directory(GuestCpio *cpio, const char *path)
{
	add(cpio, path, &(CpioEntry){ .mode = S_IFDIR | 0755 }, NULL);
}

void guest_cpio_add_link(GuestCpio *cpio, const char *path, const char *target)
{
	add(cpio, path, &(CpioEntry){ .mode = S_IFLNK | 0777, .len = (guint32)strlen(target) },
	    target);
}

void guest_cpio_add_device(GuestCpio *cpio, const char *path, unsigned major, unsigned minor)
{
	add(cpio, path, &(CpioEntry){ .mode = S_IFCHR | 0600, .major = major, .minor = minor },
	    NULL);
}

bool guest_cpio_add_file(GuestCpio *cpio, const char *path, const void *data, gsize len,
			 bool executable)
{
	/* GByteArray, too, holds no more than this. */
	if (len > G_MAXUINT32 - G_MAXUINT16 - cpio->bytes->len)
		return false;
	add(cpio, path,
	    &(CpioEntry){ .mode = S_IFREG | (executable ? 0755 : 0644), .len = (guint32)len },
	    data);
	return true;
}

GBytes *guest_cpio_finish(GuestCpio *cpio)
{
	append(cpio, END_ENTRY, &(CpioEntry){ 0 }, NULL);
	pad(cpio, ARCHIVE_ALIGN);
	return g_byte_array_free_to_bytes(g_steal_pointer(&cpio->bytes));
}
