/* SPDX-License-Identifier: BSD-3-Clause */
/* Serial port: a 16550A whose other end are two queues of bytes. */
#ifndef MACHINE_SERIAL_H
#define MACHINE_SERIAL_H

/*
 * What the guest sends waits in a queue for serial_receive(); when that is full the transmitter is
 * busy, so nothing is lost and the guest is never stopped. What serial_send() is given waits until
 * the guest takes it; none is handed over while the guest does not ask for it (RTS).
 */

#include "machine/bus.h"
#include "machine/vm.h"

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct Serial Serial;

/* NUMBER: 0 = COM1; its ports and interrupt are in layout.h. NULL if its ports are taken. */
Serial *serial_new(KvmVm *vm, MachineBus *bus, unsigned number);
/* No vCPU runs, nobody waits any more. */
void serial_free(Serial *serial);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Serial, serial_free)

/* Waits for something the guest has sent. Returns the bytes, 0 when closed and none are left. */
size_t serial_receive(Serial *serial, void *buf, size_t len);
/* Waits until the queue to the guest has taken all. False when closed. */
bool serial_send(Serial *serial, const void *buf, size_t len);
/* All or nothing, without waiting. */
bool serial_try_send(Serial *serial, const void *buf, size_t len);
/* Nobody receives: what the guest sends is gone at once. */
void serial_discard(Serial *serial);
/* Ends both; those that wait return. What the guest sends from now on is gone. */
void serial_close(Serial *serial);

#endif
