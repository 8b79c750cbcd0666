/* SPDX-License-Identifier: BSD-3-Clause */
/* A bzImage that is nothing but its 64-bit entry. */
#ifndef TINY_KERNEL_H
#define TINY_KERNEL_H

#include <glib.h>
#include <stdint.h>
#include <string.h>

/* CODE is run in long mode from its first byte; zeros follow it. */
static inline GBytes *tiny_kernel_new(const uint8_t *code, size_t len)
{
	enum {
		SETUP_LEN = 1024,
		ENTRY = 0x200,
		LOAD_AT = 0x1000000,
		TAIL_LEN = 8192, /* with which it is as long as a kernel is at least */
	};
	const uint64_t load_at = GUINT64_TO_LE(LOAD_AT);
	size_t image_len = SETUP_LEN + ENTRY + len + TAIL_LEN;
	uint8_t *image = g_malloc0(image_len);

	image[0x1f1] = SETUP_LEN / 512 - 1;
	image[0x201] = 0x6a;
	memcpy(image + 0x202, "HdrS", 4);
	image[0x206] = 0x0f; /* protocol version 2.15 */
	image[0x207] = 0x02;
	image[0x236] = 1; /* XLF_KERNEL_64 */
	image[0x239] = 7; /* cmdline_size: 0x0700 */
	memcpy(image + 0x258, &load_at, sizeof(load_at));
	image[0x262] = 0x10; /* init_size: 1 MiB */
	memcpy(image + SETUP_LEN + ENTRY, code, len);
	return g_bytes_new_take(image, image_len);
}

#endif
