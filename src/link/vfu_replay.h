/* SPDX-License-Identifier: BSD-3-Clause */
/* What a client has written into a device and must write again when the device comes back. */
#ifndef LINK_VFU_REPLAY_H
#define LINK_VFU_REPLAY_H

/*
 * Of configuration space what an operating system sets once: command, BARs, interrupt line, and the
 * control registers of power management, PCI Express, MSI-X and AER. Never what starts something
 * (resets, DOE, link training) or belongs to CXL: the device keeps that with the session. Of BARs
 * what vfu_replay_keep() names. And the eventfds of interrupts. May be used by any thread.
 */
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct VfuReplay VfuReplay;
typedef struct VfuClient VfuClient;

VfuReplay *vfu_replay_new(void);
void vfu_replay_free(VfuReplay *replay);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfuReplay, vfu_replay_free)

/* From now on what is written to [OFFSET, OFFSET + LEN) of a region is remembered. */
void vfu_replay_keep(VfuReplay *replay, unsigned index, uint64_t offset, uint64_t len);
void vfu_replay_note_write(VfuReplay *replay, unsigned index, uint64_t offset, const void *buf,
			   uint32_t count);
/* Duplicates the descriptors; -1 unbinds. One that cannot be duplicated is not replayed. */
void vfu_replay_note_irqs(VfuReplay *replay, unsigned index, unsigned start, const int *fds,
			  unsigned n);
void vfu_replay_note_irqs_off(VfuReplay *replay, unsigned index);
/* A reset: registers are at their defaults, interrupts stay bound. */
void vfu_replay_note_reset(VfuReplay *replay);

/* Writes it all to CLIENT: 0 or the first failure. */
int vfu_replay_run(VfuReplay *replay, VfuClient *client);

#endif
