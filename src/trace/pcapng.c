/* SPDX-License-Identifier: BSD-3-Clause */
/* Trace entries as a pcapng capture, for Wireshark and its like; docs/trace.md says what is in it.
 */
#include "trace/pcapng.h"

#include "trace/trace_decode.h"

#include <errno.h>
#include <string.h>

#define BLOCK_SECTION   0x0a0d0d0au
#define BLOCK_INTERFACE 0x00000001u
#define BLOCK_PACKET    0x00000006u

#define BYTE_ORDER_MAGIC 0x1a2b3c4du
#define LEN_UNKNOWN      UINT64_MAX

#define OPTION_END        0
#define OPTION_COMMENT    1
#define SECTION_USERAPPL  4
#define INTERFACE_NAME    2
#define INTERFACE_DESCR   3
#define INTERFACE_TSRESOL 9 /* its absence means microseconds, but some readers want it */
#define PACKET_FLAGS      2
#define PACKET_DROPCOUNT  4
#define FLAGS_INBOUND     1u /* a command: from the host */
#define FLAGS_OUTBOUND    2u /* a record: from the device */
#define MAX_OPTION_LEN    UINT16_MAX

struct Pcapng {
	FILE *file;
	GHashTable *interfaces; /* device -> index */
	GByteArray *block;
};

/* ---- blocks: type, length, body, options, length again; all padded to four bytes ---- */

static void put(Pcapng *pcapng, const void *data, size_t len)
{
	static const uint8_t zeros[4] = { 0 };

	g_byte_array_append(pcapng->block, data, (guint)len);
	g_byte_array_append(pcapng->block, zeros, (4 - len % 4) % 4);
}

static void put32(Pcapng *pcapng, uint32_t value)
{
	le32 wire = le32_put(value);

	put(pcapng, &wire, sizeof(wire));
}

static void begin(Pcapng *pcapng, uint32_t type)
{
	g_byte_array_set_size(pcapng->block, 0);
	put32(pcapng, type);
	put32(pcapng, 0); /* its length, by end() */
}

static void put_option(Pcapng *pcapng, uint16_t code, const void *data, size_t len)
{
	struct {
		le16 code, len;
	} head = { le16_put(code), le16_put((uint16_t)MIN(len, MAX_OPTION_LEN)) };

	put(pcapng, &head, sizeof(head));
	put(pcapng, data, MIN(len, MAX_OPTION_LEN));
}

static void put_text(Pcapng *pcapng, uint16_t code, const char *text)
{
	size_t len = strlen(text);

	/* Not in the middle of a character. */
	if (len > MAX_OPTION_LEN)
		len = (size_t)(g_utf8_find_prev_char(text, text + MAX_OPTION_LEN + 1) - text);
	put_option(pcapng, code, text, len);
}

static bool end(Pcapng *pcapng)
{
	uint32_t len;

	put_option(pcapng, OPTION_END, NULL, 0);
	len = pcapng->block->len + 4;
	put32(pcapng, len);
	le32_store(pcapng->block->data + 4, len);
	return fwrite(pcapng->block->data, 1, len, pcapng->file) == len;
}

static bool put_section(Pcapng *pcapng)
{
	struct {
		le32 magic;
		le16 major, minor;
		le64 len;
	} body = {
		.magic = le32_put(BYTE_ORDER_MAGIC),
		.major = le16_put(1),
		.len = le64_put(LEN_UNKNOWN),
	};

	begin(pcapng, BLOCK_SECTION);
	put(pcapng, &body, sizeof(body));
	put_text(pcapng, SECTION_USERAPPL, "softdcd " SOFTDCD_VERSION);
	return end(pcapng);
}

static bool put_interface(Pcapng *pcapng, const char *device)
{
	struct {
		le16 linktype, reserved;
		le32 snaplen; /* 0 = no limit */
	} body = { .linktype = le16_put(PCAPNG_LINKTYPE) };
	uint8_t microseconds = 6;

	begin(pcapng, BLOCK_INTERFACE);
	put(pcapng, &body, sizeof(body));
	put_text(pcapng, INTERFACE_NAME, device);
	put_text(pcapng, INTERFACE_DESCR, "CXL device: mailbox commands and event records");
	put_option(pcapng, INTERFACE_TSRESOL, &microseconds, 1);
	return end(pcapng);
}

/* ---- life ---- */

Pcapng *pcapng_new(FILE *file)
{
	Pcapng *pcapng = g_new0(Pcapng, 1);

	pcapng->file = file;
	pcapng->interfaces = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	pcapng->block = g_byte_array_new();
	if (put_section(pcapng) && fflush(file) == 0)
		return pcapng;
	pcapng_free(pcapng);
	return NULL;
}

void pcapng_free(Pcapng *pcapng)
{
	int error = errno;

	if (!pcapng)
		return;
	g_hash_table_unref(pcapng->interfaces);
	g_byte_array_unref(pcapng->block);
	g_free(pcapng);
	errno = error;
}

static bool find_interface(Pcapng *pcapng, const char *device, uint32_t *ret_index)
{
	gpointer known;

	if (g_hash_table_lookup_extended(pcapng->interfaces, device, NULL, &known)) {
		*ret_index = GPOINTER_TO_UINT(known);
		return true;
	}
	*ret_index = g_hash_table_size(pcapng->interfaces);
	g_hash_table_insert(pcapng->interfaces, g_strdup(device), GUINT_TO_POINTER(*ret_index));
	return put_interface(pcapng, device);
}

static void put_frame(Pcapng *pcapng, const TraceEntry *entry)
{
	bool is_command = entry->kind == TRACE_COMMAND;
	PcapngFrame frame = {
		.version = 1,
		.kind = (uint8_t)entry->kind,
		.log = entry->log,
		.opcode = le16_put(entry->opcode),
		.rc = le16_put(entry->rc),
		.took_us = le32_put((uint32_t)MIN(entry->took_us, UINT32_MAX)),
		.in_len = le32_put(entry->in_len),
		.out_len = le32_put(entry->out_len),
		.in_kept = le32_put(entry->in_kept),
		.out_kept = le32_put(entry->out_kept),
		.n_lost = le32_put((uint32_t)MIN(entry->n_lost, UINT32_MAX)),
	};
	g_autoptr(GByteArray) packet = g_byte_array_new();

	g_byte_array_append(packet, (const uint8_t *)&frame, sizeof(frame));
	if (is_command) {
		g_byte_array_append(packet, entry->in, entry->in_kept);
		g_byte_array_append(packet, entry->out, entry->out_kept);
	} else {
		g_byte_array_append(packet, (const uint8_t *)&entry->record, sizeof(entry->record));
	}
	put32(pcapng, packet->len);
	put32(pcapng,
	      packet->len + (entry->in_len - entry->in_kept) + (entry->out_len - entry->out_kept));
	put(pcapng, packet->data, packet->len);
}

bool pcapng_write(Pcapng *pcapng, const char *device, const TraceEntry *entry)
{
	bool is_command = entry->kind == TRACE_COMMAND;
	g_autofree char *text = trace_decode_text(entry);
	le32 flags = le32_put(is_command ? FLAGS_INBOUND : FLAGS_OUTBOUND);
	le64 n_lost = le64_put(entry->n_lost);
	uint32_t interface;

	if (!find_interface(pcapng, device, &interface))
		return false;
	begin(pcapng, BLOCK_PACKET);
	put32(pcapng, interface);
	put32(pcapng, (uint32_t)(entry->time_us >> 32));
	put32(pcapng, (uint32_t)entry->time_us);
	put_frame(pcapng, entry);
	put_text(pcapng, OPTION_COMMENT, text);
	put_option(pcapng, PACKET_FLAGS, &flags, sizeof(flags));
	if (entry->n_lost > 0)
		put_option(pcapng, PACKET_DROPCOUNT, &n_lost, sizeof(n_lost));
	return end(pcapng) && fflush(pcapng->file) == 0;
}
