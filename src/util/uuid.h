/* SPDX-License-Identifier: BSD-3-Clause */
/* UUIDs: text at the border, 16 bytes everywhere else (RFC 9562 byte order, as on the wire). */
#pragma once

#include <glib.h>
#include <stdint.h>

#define UUID_TEXT_SIZE 37 /* with the terminating zero */

typedef struct Uuid {
	uint8_t b[16];
} Uuid;

/* Accepts the canonical form in either case, in {braces}, or after urn:uuid: */
gboolean uuid_parse(const char *text, Uuid *ret_uuid, GError **error);
/* Writes the canonical lower-case form. */
void uuid_format(const Uuid *uuid, char ret_text[UUID_TEXT_SIZE]);
gboolean uuid_is_null(const Uuid *uuid);
gboolean uuid_equal(const Uuid *a, const Uuid *b);
guint uuid_hash(const Uuid *uuid);
void uuid_random(Uuid *ret_uuid);

/* The same as GHashFunc and GEqualFunc, for tables keyed by Uuid *. */
guint uuid_key_hash(gconstpointer key);
gboolean uuid_key_equal(gconstpointer a, gconstpointer b);
