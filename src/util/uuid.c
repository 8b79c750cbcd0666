/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads, writes, compares and makes UUIDs. */
#include "util/uuid.h"

#include <errno.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/random.h>

#define CANONICAL_LEN (UUID_TEXT_SIZE - 1)

/* Returns where the canonical part of text begins, or NULL if its wrapping is not one we know. */
static const char *unwrap(const char *text)
{
	static const char urn[] = "urn:uuid:";
	size_t len = strlen(text);

	if (g_ascii_strncasecmp(text, urn, strlen(urn)) == 0) {
		text += strlen(urn);
		len -= strlen(urn);
	} else if (len == CANONICAL_LEN + 2 && text[0] == '{' && text[len - 1] == '}') {
		text++;
		len -= 2;
	}
	return len == CANONICAL_LEN ? text : NULL;
}

gboolean uuid_parse(const char *text, Uuid *ret_uuid, GError **error)
{
	const char *pos = unwrap(text);
	char canonical[UUID_TEXT_SIZE];

	if (pos != NULL)
		g_strlcpy(canonical, pos, sizeof(canonical));
	if (pos == NULL || !g_uuid_string_is_valid(canonical)) {
		g_autofree char *shown = g_strescape(text, NULL);

		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
			    "UUID \"%s\": must look like 5be13fe4-0f5f-4b8e-9c52-3a1c0c9ad7f1, "
			    "optionally in {braces} or after urn:uuid:",
			    shown);
		return FALSE;
	}
	pos = canonical;
	for (guint i = 0; i < sizeof(ret_uuid->b); i++) {
		if (*pos == '-')
			pos++;
		ret_uuid->b[i] = (uint8_t)(g_ascii_xdigit_value(pos[0]) << 4 |
					   g_ascii_xdigit_value(pos[1]));
		pos += 2;
	}
	return TRUE;
}

void uuid_format(const Uuid *uuid, char ret_text[UUID_TEXT_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	char *pos = ret_text;

	for (guint i = 0; i < sizeof(uuid->b); i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*pos++ = '-';
		*pos++ = digits[uuid->b[i] >> 4];
		*pos++ = digits[uuid->b[i] & 0xf];
	}
	*pos = '\0';
}

gboolean uuid_is_null(const Uuid *uuid)
{
	static const Uuid null_uuid;

	return uuid_equal(uuid, &null_uuid);
}

gboolean uuid_equal(const Uuid *a, const Uuid *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

guint uuid_hash(const Uuid *uuid)
{
	guint hash = 5381;

	for (guint i = 0; i < sizeof(uuid->b); i++)
		hash = hash * 33 + uuid->b[i];
	return hash;
}

void uuid_random(Uuid *ret_uuid)
{
	ssize_t got;

	do {
		got = getrandom(ret_uuid->b, sizeof(ret_uuid->b), 0);
	} while (got < 0 && errno == EINTR);
	/* Up to 256 bytes come whole once the kernel's pool is seeded (getrandom(2)). */
	g_assert(got == sizeof(ret_uuid->b));
	ret_uuid->b[6] = (ret_uuid->b[6] & 0x0f) | 0x40; /* version 4: random */
	ret_uuid->b[8] = (ret_uuid->b[8] & 0x3f) | 0x80; /* the RFC's variant */
}

guint uuid_key_hash(gconstpointer key)
{
	return uuid_hash(key);
}

gboolean uuid_key_equal(gconstpointer a, gconstpointer b)
{
	return uuid_equal(a, b);
}
