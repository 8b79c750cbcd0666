/* SPDX-License-Identifier: BSD-3-Clause */
/* A CXL device as a guest's root reaches it in sysfs: configuration space, BARs, mailbox. */
#ifndef HAMMER_DEVICE_H
#define HAMMER_DEVICE_H

#include "cxl/dcd.h"

#include <stdbool.h>
#include <stddef.h>

/* Where the device register block stands in BAR0: docs/device.md. */
#define REGS_OFFSET 0x10000u
#define N_BARS      6
#define MAX_EXTENTS 4096u

/* No driver may be bound to it. Whatever goes wrong ends the program with a message: see fail(). */
typedef struct GuestDevice {
	const char *address; /* 0000:0d:00.0 */
	int config;
	volatile uint8_t *bars[N_BARS]; /* NULL: absent */
	size_t bar_lens[N_BARS];
	uint32_t bar_values[N_BARS]; /* as the kernel has assigned them */
	volatile uint8_t *mailbox;
	uint32_t payload_len;
} GuestDevice;

typedef struct ExtentList {
	uint32_t n;
	uint32_t generation;
	CxlDcExtent extents[MAX_EXTENTS];
} ExtentList;

__attribute__((format(printf, 1, 2), noreturn)) void fail(const char *format, ...);

void guest_device_open(GuestDevice *dev, const char *address);
uint32_t guest_device_config_read(const GuestDevice *dev, unsigned offset, unsigned len);
void guest_device_config_write(const GuestDevice *dev, unsigned offset, const void *buf,
			       unsigned len);
/* BARs and memory decoding as the kernel has set them up, bus mastering off. */
void guest_device_restore(const GuestDevice *dev);
/* A function level reset by the kernel, then the same. */
void guest_device_reset(const GuestDevice *dev);

uint32_t reg_read32(const GuestDevice *dev, uint32_t offset); /* of the mailbox capability */
void reg_write32(const GuestDevice *dev, uint32_t offset, uint32_t value);

/* ---- mailbox ---- */

/* The steps of a command, for those who mean to disturb it. */
void mailbox_put(const GuestDevice *dev, uint16_t opcode, const void *in, uint32_t in_len,
		 uint32_t told_len); /* payload and command register; TOLD_LEN is what it says */
void mailbox_ring(const GuestDevice *dev);
bool mailbox_is_busy(const GuestDevice *dev);
/* Waits until the doorbell is clear, for 2 s as Linux does; then the return code. */
unsigned mailbox_wait(const GuestDevice *dev);
/* The output of a command that succeeded: at most MAX bytes of it; returns its whole length. */
uint32_t mailbox_take(const GuestDevice *dev, void *out, uint32_t max);

/* One whole command. Returns the return code; *RET_LEN may be NULL. */
unsigned mailbox_run(const GuestDevice *dev, uint16_t opcode, const void *in, uint32_t in_len,
		     void *out, uint32_t max, uint32_t *ret_len);

/* ---- dynamic capacity ---- */

void dc_enable_events(const GuestDevice *dev);
void dc_read_list(const GuestDevice *dev, ExtentList *ret); /* 4801h, all */
void dc_read_state(const GuestDevice *dev, uint32_t *ret_n,
		   uint32_t *ret_gen); /* 4801h, no extent */
/* Waits for one whole chain of Add records, clears them; returns how many there were. */
uint32_t dc_wait_for_offer(const GuestDevice *dev, CxlDcExtent *ret, uint32_t max);
/* Builds the input of 4802h and 4803h; returns its length. */
uint32_t dc_response(void *buf, const CxlDcExtent *extents, uint32_t n);

#endif
