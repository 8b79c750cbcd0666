/* SPDX-License-Identifier: BSD-3-Clause */
/* An access to [OFFSET, OFFSET + LEN) of configuration space, and a register it may touch. */
#ifndef MACHINE_CONFIG_ACCESS_H
#define MACHINE_CONFIG_ACCESS_H

#include <stdbool.h>
#include <stdint.h>

/* Whether any of WIDTH bytes at REG is in it. */
static inline bool config_touches(uint32_t offset, uint32_t len, uint32_t reg, uint32_t width)
{
	return offset < reg + width && reg < offset + len;
}

/* BUF is what was read: puts VALUE over what of WIDTH bytes at REG is in it. */
static inline void config_overlay(uint32_t offset, uint8_t *buf, uint32_t len, uint32_t reg,
				  uint32_t width, uint32_t value)
{
	for (uint32_t i = 0; i < width; i++) {
		if (config_touches(offset, len, reg + i, 1))
			buf[reg + i - offset] = (uint8_t)(value >> 8 * i);
	}
}

#endif
