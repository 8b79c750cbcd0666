/* SPDX-License-Identifier: BSD-3-Clause */
/* Little-endian registers as bytes: values, and bit by bit whether a write sets or clears. */

#include "fabric/reg_block.h"
#include <glib.h>
#include <string.h>

void reg_block_init(RegBlock *regs, uint32_t len)
{
	regs->len = len;
	regs->value = g_malloc0(len);
	regs->writable = g_malloc0(len);
	regs->write_clear = g_malloc0(len);
}

void reg_block_clear(RegBlock *regs)
{
	g_free(regs->value);
	g_free(regs->writable);
	g_free(regs->write_clear);
}

void reg_block_define(RegBlock *regs, uint32_t offset, unsigned width, uint32_t value,
		      uint32_t writable, uint32_t write_clear)
{
	for (unsigned i = 0; i < width; i++) {
		regs->value[offset + i] = (uint8_t)(value >> 8 * i);
		regs->writable[offset + i] = (uint8_t)(writable >> 8 * i);
		regs->write_clear[offset + i] = (uint8_t)(write_clear >> 8 * i);
	}
}

uint32_t reg_block_get(const RegBlock *regs, uint32_t offset, unsigned width)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < width; i++)
		value |= (uint32_t)regs->value[offset + i] << 8 * i;
	return value;
}

void reg_block_read(const RegBlock *regs, uint64_t offset, void *buf, uint32_t len)
{
	uint32_t n = offset >= regs->len ? 0 : (uint32_t)MIN(len, regs->len - offset);

	if (n > 0)
		memcpy(buf, regs->value + offset, n);
	memset((uint8_t *)buf + n, 0, len - n);
}

void reg_block_write(RegBlock *regs, uint64_t offset, const void *buf, uint32_t len)
{
	const uint8_t *from = buf;
	uint32_t n = offset >= regs->len ? 0 : (uint32_t)MIN(len, regs->len - offset);

	for (uint32_t i = 0; i < n; i++) {
		uint8_t *value = &regs->value[offset + i];
		uint8_t writable = regs->writable[offset + i];

		*value = (uint8_t)((*value & ~writable) | (from[i] & writable));
		*value &= (uint8_t) ~(from[i] & regs->write_clear[offset + i]);
	}
}
