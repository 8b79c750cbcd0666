/* SPDX-License-Identifier: BSD-3-Clause */
/* The device register block: status, mailbox and memory device registers, and all behind them. */
#ifndef DEVICE_DEVICE_REGS_H
#define DEVICE_DEVICE_REGS_H

#include "device/device.h"
#include "device/state_io.h"

#define DEVICE_REGS_BAR_OFFSET 0x10000u /* where the block begins in BAR0 */

/* MSI-X vectors this block raises; they are below DEVICE_N_VECTORS and below 16. */
#define DEVICE_VECTOR_MAILBOX 0
#define DEVICE_VECTOR_EVENTS  1
#define DEVICE_VECTOR_DC      2

typedef struct DeviceRegs DeviceRegs;

/*
 * Only irq, now_us, deadline_changed, state_changed and trace of OPS are called, with OPAQUE.
 * CONFIG is copied (its lsa stays the caller's), OPS is copied; DC must outlive the block. Errors
 * name the option.
 */
DeviceRegs *device_regs_new(const DeviceConfig *config, DcDevice *dc, const DeviceOps *ops,
			    void *opaque, GError **error);
/* A command still open with DC may complete later: its completion is then ignored. */
void device_regs_free(DeviceRegs *regs);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DeviceRegs, device_regs_free)

/* Bytes of BAR0 the block takes from DEVICE_REGS_BAR_OFFSET on; a multiple of the page size. */
uint64_t device_regs_len(const DeviceRegs *regs);
/*
 * OFFSET is within the block. Any offset and length inside the block is legal: 0; else -EINVAL.
 * What is not a register reads as 0 and ignores writes.
 */
int device_regs_read(DeviceRegs *regs, uint64_t offset, void *buf, uint32_t len);
int device_regs_write(DeviceRegs *regs, uint64_t offset, const void *buf, uint32_t len);

/*
 * Resets what this block owns; to be called before dc_device_reset(), which stays the caller's.
 * All kinds: the command in flight is aborted, the doorbell clears. All but FLR: interrupt policy
 * and alert settings go back to their defaults, the DC log is emptied (told to DC as cleared), so
 * that DC can deliver again what it re-queues. NEW_SESSION: also a fresh payload file; the
 * descriptor borrowed before is dead. NEW_SESSION and FORGET: the device clock is unset.
 * FORGET: also the other logs are emptied.
 */
void device_regs_reset(DeviceRegs *regs, DeviceReset kind);

void device_regs_tick(DeviceRegs *regs);
uint64_t device_regs_next_deadline_us(const DeviceRegs *regs); /* UINT64_MAX = nothing due */

/* The mailbox payload, within the block, page aligned; see device.h. */
uint64_t device_regs_payload_offset(const DeviceRegs *regs);
uint64_t device_regs_payload_len(const DeviceRegs *regs); /* a multiple of the page size, or 0 */
/*
 * The file is laid out like BAR0, holes everywhere but in the payload. -1 when there is none to
 * map: the payload is then reached by trapped access only.
 */
int device_regs_peek_payload_fd(const DeviceRegs *regs);

/* What a session resumes with after a restart of the daemon; state_io.h says how. Loaded into a
 * block that no host has used. */
void device_regs_save(const DeviceRegs *regs, GByteArray *out);
bool device_regs_load(DeviceRegs *regs, StateReader *in, bool apply);
/* Fires every vector that has something to tell: for a host that may have missed it. */
void device_regs_renew_irqs(DeviceRegs *regs);

void device_regs_set_tracing(DeviceRegs *regs, bool on);
/* Fills in logs and mailbox counters. */
void device_regs_get_info(const DeviceRegs *regs, DeviceInfo *ret);

/* Shapes of device.h: device_inject_event() and device_dc_log_*(). */
bool device_regs_inject_event(DeviceRegs *regs, unsigned log, const CxlEventRecord *record);
bool device_regs_dc_log_reserve(DeviceRegs *regs, uint32_t n);
void device_regs_dc_log_unreserve(DeviceRegs *regs, uint32_t n);
void device_regs_dc_log_post(DeviceRegs *regs, const DcEvent *event);
void device_regs_dc_log_withdraw(DeviceRegs *regs, uint64_t cookie);

#endif
