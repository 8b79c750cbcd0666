/* SPDX-License-Identifier: BSD-3-Clause */
/* Saved register state: how the parts of a device write theirs and read it back. */
#ifndef DEVICE_STATE_IO_H
#define DEVICE_STATE_IO_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Each part has a x_save(), which appends fixed little-endian structures, and a x_load(), which
 * reads them with the cursor below. What is loaded comes from a file and is trusted with nothing:
 * x_load() runs twice, first with APPLY false, when it only judges, and if every part is content
 * with APPLY true. So a state is taken as a whole or not at all.
 */
typedef struct StateReader {
	const uint8_t *at;
	size_t left; /* bytes */
} StateReader;

/* The next LEN bytes, at any alignment; NULL if there are not as many. */
static inline const void *state_take(StateReader *in, size_t len)
{
	const uint8_t *start = in->at;

	if (len > in->left)
		return NULL;
	in->at += len;
	in->left -= len;
	return start;
}

static inline void state_put(GByteArray *out, const void *data, size_t len)
{
	g_byte_array_append(out, data, (guint)len);
}

#endif
