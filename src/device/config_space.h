/* SPDX-License-Identifier: BSD-3-Clause */
/* 4 KiB of PCI configuration space as data: values, masks, and hooks for what has side effects. */
#ifndef DEVICE_CONFIG_SPACE_H
#define DEVICE_CONFIG_SPACE_H

#include "cxl/pci.h"
#include "device/state_io.h"
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Design. A register is a row: its value after reset and, bit by bit, who may change it. Bits no
 * row mentions read as zero and cannot be written. An access of any width is cut into aligned
 * dwords with a mask of the bytes it really touches, as a PCIe request with byte enables is; hooks
 * see those. Reading never changes anything, so the one 4096-byte read some clients do is harmless.
 */
typedef struct ConfigSpace ConfigSpace;

typedef struct ConfigReg {
	uint16_t offset; /* from the base given to config_space_add() */
	uint8_t len;     /* 1, 2, 3 or 4 bytes */
	uint32_t value;  /* after reset */
	uint32_t writable;
	uint32_t write_clear; /* a written 1 clears the bit */
	uint32_t kept;        /* not changed by an FLR */
	uint32_t lockable;    /* not writable while the space is locked */
} ConfigReg;

/* A run of dwords with side effects; offsets handed to the functions count from its start. */
typedef struct ConfigHook {
	uint16_t offset; /* in configuration space, a multiple of 4 */
	uint16_t len;
	/* The dword's value; NULL: what the rows say */
	uint32_t (*read)(void *opaque, unsigned offset);
	/* MASK has all bits of the bytes written set; called after the rows took the value */
	void (*write)(void *opaque, unsigned offset, uint32_t value, uint32_t mask);
	void *opaque;
} ConfigHook;

ConfigSpace *config_space_new(void);
void config_space_free(ConfigSpace *space);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ConfigSpace, config_space_free)

void config_space_add(ConfigSpace *space, unsigned base, const ConfigReg *regs, size_t n);
void config_space_add_hook(ConfigSpace *space, const ConfigHook *hook);

/* offset + len <= PCI_CONFIG_LEN is the caller's duty */
void config_space_read(const ConfigSpace *space, unsigned offset, void *buf, unsigned len);
/* True if a value that config_space_save() saves is another now. */
bool config_space_write(ConfigSpace *space, unsigned offset, const void *buf, unsigned len);

void config_space_set_locked(ConfigSpace *space, bool locked);
/* Values as after reset; with FLR all but the kept bits. A lock is left as it is. */
void config_space_reset(ConfigSpace *space, bool flr);

/* What a host has written, not what hooks or the lock hold: that is the caller's. */
void config_space_save(const ConfigSpace *space, GByteArray *out);
bool config_space_load(ConfigSpace *space, StateReader *in, bool apply);

#endif
