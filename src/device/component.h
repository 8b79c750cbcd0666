/* SPDX-License-Identifier: BSD-3-Clause */
/* Component register block: 64 KiB with the RAS and HDM decoder capabilities. */
#ifndef DEVICE_COMPONENT_H
#define DEVICE_COMPONENT_H

#include "cxl/component.h"
#include "device/hdm.h"

/*
 * Every register is a dword. An access of any width and alignment is cut into dwords with a mask of
 * the bytes it really touches, low address first: half a write changes half a register, and a bit
 * that acts (COMMIT, write-one-to-clear) acts only if its own byte was written. The rest of the
 * block reads as zero and drops writes.
 */
typedef struct Component Component;

Component *component_new(unsigned n_decoders, uint64_t dpa_len, const HdmOps *ops, void *opaque);
void component_free(Component *component);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Component, component_free)

/* offset + len <= CXL_COMPONENT_LEN is the caller's duty */
void component_read(const Component *component, uint32_t offset, void *buf, uint32_t len);
void component_write(Component *component, uint32_t offset, const void *buf, uint32_t len);

Hdm *component_peek_hdm(Component *component);
/* Sets RAS status bits, as an error of that kind would */
void component_raise_ras(Component *component, uint32_t uncorrectable, uint32_t correctable);
/* Everything but an FLR, which leaves this block alone */
void component_reset(Component *component, bool new_host);

void component_save(const Component *component, GByteArray *out);
bool component_load(Component *component, StateReader *in, bool apply);

#endif
