/* SPDX-License-Identifier: BSD-3-Clause */
/* The eventfds that a vfio-user client bound to interrupt vectors. */
#ifndef LINK_VFU_IRQ_H
#define LINK_VFU_IRQ_H

#include "link/vfu_wire.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Signalling must not block, but whether write() to an eventfd blocks is decided by a flag and a
 * counter that the client shares with us and may change at any instant. Linux AIO can signal an
 * eventfd upon completion of a read, from inside the kernel, where it never blocks. Where AIO is
 * missing (seccomp, ENOSYS) we set O_NONBLOCK before each write and live with the gap between.
 */
typedef struct VfuNotifier {
	unsigned long aio; /* aio_context_t; 0 = none */
	int read_fd;       /* empty file that the reads come from */
	bool tried;
} VfuNotifier;

#define VFU_NOTIFIER_INIT                               \
	{                                               \
		.aio = 0, .read_fd = -1, .tried = false \
	}
void vfu_notifier_signal(VfuNotifier *notifier, int eventfd);
void vfu_notifier_clear(VfuNotifier *notifier);

#define VFU_MAX_VECTORS 2048u /* of one index; as many as MSI-X can have */

typedef struct VfuIrqTable {
	VfuNotifier *notifier;
	struct {
		uint32_t n;
		int *fds; /* -1 = not bound */
	} index[VFU_N_IRQ_INDEXES];
} VfuIrqTable;

void vfu_irq_init(VfuIrqTable *table, VfuNotifier *notifier);
void vfu_irq_set_count(VfuIrqTable *table, unsigned index, uint32_t n);
void vfu_irq_clear(VfuIrqTable *table);
/*
 * DEVICE_SET_IRQS. DATA is what follows SET in the message. Returns 0 or a positive errno; all or
 * nothing. Descriptors it keeps are replaced by -1 in FDS, the others stay the caller's.
 */
int vfu_irq_apply(VfuIrqTable *table, const VfuIrqSet *set, const uint8_t *data, uint32_t data_len,
		  int *fds, unsigned n_fds);
void vfu_irq_signal(VfuIrqTable *table, unsigned index, unsigned vector);

#endif
