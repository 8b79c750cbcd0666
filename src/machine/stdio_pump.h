/* SPDX-License-Identifier: BSD-3-Clause */
/* Pumps: threads that carry bytes between serial ports and descriptors. */
#ifndef MACHINE_STDIO_PUMP_H
#define MACHINE_STDIO_PUMP_H

#include "machine/serial.h"

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct PumpOut PumpOut;
typedef struct PumpIn PumpIn;

/* What the guest has sent, on the pump's thread. */
typedef void (*PumpOutFunc)(void *opaque, const uint8_t *bytes, size_t len);

/* Takes what SERIAL sends, until it is closed and empty. */
PumpOut *pump_out_new(Serial *serial, PumpOutFunc func, void *opaque, GError **error);
/* The port is closed before: waits until all it sent has been passed on. */
void pump_out_free(PumpOut *pump);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PumpOut, pump_out_free)

/* Writes all, waiting for a slow reader; false if there is none any more. */
bool pump_write(int fd, const uint8_t *bytes, size_t len);

typedef struct PumpInOps {
	/*
	 * Looks at, and may change, what has been read before it is sent; returns how much of it is
	 * left. May be NULL.
	 */
	size_t (*filter)(void *opaque, uint8_t *bytes, size_t len);
	/* FD has ended after LEN bytes, all of which have been sent. May be NULL. */
	void (*ended)(void *opaque, uint64_t len);
	/* What the guest has no room for is lost, and FD read on: keys that it does not take must
	 * not hide those that are not for it. */
	bool drops;
} PumpInOps;

/* Sends SERIAL what comes from FD, which stays the caller's and in its mode. */
PumpIn *pump_in_new(int fd, Serial *serial, const PumpInOps *ops, void *opaque, GError **error);
/* The port is closed before. Does not wait for FD. */
void pump_in_free(PumpIn *pump);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PumpIn, pump_in_free)

#endif
