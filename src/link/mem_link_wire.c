/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory link messages: the table of formats and the checks that both ends share. */
#include "link/mem_link_wire.h"

#define H sizeof(MemLinkHeader)

static const MemLinkFormat formats[] = {
	/* type, name, from host, id, fixed, entry, min and max count, fds */
	{ MEM_LINK_HELLO, "hello", true, false, sizeof(MemLinkHelloMessage), 0, 0, 0, 0 },
	{ MEM_LINK_HELD, "held", true, false, H, sizeof(MemLinkHeld), 1, MEM_LINK_MAX_HELD_HERE,
	  0 },
	{ MEM_LINK_DONE, "done", true, true, sizeof(MemLinkDoneMessage), 0, 0, 0, 0 },
	{ MEM_LINK_MISSES, "misses", true, false, sizeof(MemLinkMissesMessage), 0, 0, 0, 0 },
	{ MEM_LINK_WELCOME, "welcome", false, false, sizeof(MemLinkWelcomeMessage), 0, 0, 0, 0 },
	{ MEM_LINK_DECODER, "decoder", false, true, H, sizeof(MemLinkDecoderEntry), 1, 1, 0 },
	{ MEM_LINK_PREPARE, "prepare", false, true, H, sizeof(MemLinkPrepareEntry), 1,
	  MEM_LINK_MAX_PREPARE, 1 },
	{ MEM_LINK_EXPOSE, "expose", false, true, H, sizeof(MemLinkIdEntry), 1, MEM_LINK_MAX_IDS,
	  0 },
	{ MEM_LINK_REVOKE, "revoke", false, true, H, sizeof(MemLinkRevokeEntry), 1,
	  MEM_LINK_MAX_PARTS, 0 },
	{ MEM_LINK_DROP, "drop", false, true, H, sizeof(MemLinkIdEntry), 1, MEM_LINK_MAX_IDS, 0 },
};

CXL_STATIC_ASSERT(H + MEM_LINK_MAX_HELD_HERE * sizeof(MemLinkHeld) <= MEM_LINK_MAX_MESSAGE);
CXL_STATIC_ASSERT(H + MEM_LINK_MAX_IDS * sizeof(MemLinkIdEntry) <= MEM_LINK_MAX_MESSAGE);
CXL_STATIC_ASSERT(H + MEM_LINK_MAX_PARTS * sizeof(MemLinkRevokeEntry) <= MEM_LINK_MAX_MESSAGE);

const MemLinkFormat *mem_link_format(unsigned type)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		if (formats[i].type == type)
			return &formats[i];
	}
	return NULL;
}

const MemLinkFormat *mem_link_check_message(const void *buf, size_t len, unsigned n_fds,
					    bool from_host)
{
	const MemLinkHeader *header = buf;
	const MemLinkFormat *format;
	unsigned count;

	if (len < sizeof(*header) || le32_get(header->len) != len)
		return NULL;
	format = mem_link_format(le16_get(header->type));
	if (format == NULL || format->from_host != from_host)
		return NULL;
	count = le16_get(header->count);
	if (count < format->min_count || count > format->max_count)
		return NULL;
	if (len != format->fixed_len + (size_t)count * format->entry_len)
		return NULL;
	if (n_fds != count * format->fds_per_entry)
		return NULL;
	if ((le64_get(header->id) != 0) != format->has_id)
		return NULL;
	return format;
}

size_t mem_link_put_header(MemLinkHeader *header, MemLinkType type, unsigned count, uint64_t id)
{
	const MemLinkFormat *format = mem_link_format(type);
	size_t len = format->fixed_len + (size_t)count * format->entry_len;

	header->len = le32_put((uint32_t)len);
	header->type = le16_put((uint16_t)type);
	header->count = le16_put((uint16_t)count);
	header->id = le64_put(id);
	return len;
}

bool mem_link_range_is_valid(uint64_t start, uint64_t len)
{
	if (len == 0 || len % MEM_LINK_PAGE != 0 || start % MEM_LINK_PAGE != 0)
		return false;
	return len <= UINT64_MAX - start;
}
