/* SPDX-License-Identifier: BSD-3-Clause */
/* Little-endian registers as bytes: values, and bit by bit whether a write sets or clears. */
#ifndef FABRIC_REG_BLOCK_H
#define FABRIC_REG_BLOCK_H

#include <stdint.h>

/* Bits nobody defined read as zero and cannot be written. No locking. */
typedef struct RegBlock {
	uint32_t len;
	uint8_t *value;
	uint8_t *writable;
	uint8_t *write_clear; /* a written 1 clears the bit */
} RegBlock;

void reg_block_init(RegBlock *regs, uint32_t len);
void reg_block_clear(RegBlock *regs);
/* WIDTH bytes (1..4) at OFFSET */
void reg_block_define(RegBlock *regs, uint32_t offset, unsigned width, uint32_t value,
		      uint32_t writable, uint32_t write_clear);
uint32_t reg_block_get(const RegBlock *regs, uint32_t offset, unsigned width);
/* Any range; beyond the block reads are zero and writes are dropped. */
void reg_block_read(const RegBlock *regs, uint64_t offset, void *buf, uint32_t len);
void reg_block_write(RegBlock *regs, uint64_t offset, const void *buf, uint32_t len);

#endif
