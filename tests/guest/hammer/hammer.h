/* SPDX-License-Identifier: BSD-3-Clause */
/* The ways in which a guest may mistreat its device. */
#ifndef HAMMER_H
#define HAMMER_H

#include "device.h"
#include "random.h"

/*
 * Reads and writes at random for so many seconds: configuration space and both BARs, every width
 * and misalignment, and now and then what looks like a driver: an exchange over DOE, a decoder, a
 * command, a reset. Returns how many accesses there were. Mailbox and BARs are as a mess
 * afterwards.
 */
uint64_t hammer_registers(const GuestDevice *dev, Random *random, unsigned seconds);

/*
 * So many bad commands: any opcode, any length, nonsense in 4802h and 4803h, the doorbell while it
 * is set, a payload that changes. Fails if an answer is none of the specification's, or if the
 * extent list or its generation is another afterwards.
 */
void hammer_mailbox(const GuestDevice *dev, Random *random, unsigned rounds);

/*
 * Accepts the next offer and gives it back, while payload and command register change and the
 * doorbell is rung again. What the device was given before that must have happened, as a whole.
 */
void hammer_disturb(const GuestDevice *dev, Random *random);

#endif
