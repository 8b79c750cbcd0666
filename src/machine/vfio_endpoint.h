/* SPDX-License-Identifier: BSD-3-Clause */
/* Remote endpoint: a PCI function behind a root port that another process serves over vfio-user. */
#ifndef MACHINE_VFIO_ENDPOINT_H
#define MACHINE_VFIO_ENDPOINT_H

/*
 * Design. What must be this machine's is kept here and never asked of the device: BARs, interrupt
 * pin, expansion ROM, the MSI-X table and its control register, which the device gets to know too.
 * All else of configuration space and BARs is forwarded, one message per access. The device has the
 * eventfds of KVM's interrupts while MSI-X is on. Areas that it lets us map (the mailbox payload)
 * are memory slots, so that a payload of 64 KiB is not sixteen thousand exits.
 *
 * While the device is away reads are all-ones; what is written to its configuration space is
 * written again when it is back.
 */

#include "fabric/fabric.h"
#include "machine/bus.h"
#include "machine/pci_bars.h"
#include "machine/vm.h"

typedef struct VfioEndpoint VfioEndpoint;

/*
 * Owns FD (also on failure). Connecting, now and again, a device has TIMEOUT_MS for each request.
 * Then it has all the time it likes: one that stands still is not gone, and with the connection its
 * decoders would be, and so the guest's memory.
 */
VfioEndpoint *vfio_endpoint_new(KvmVm *vm, MachineBus *bus, const PciWindows *windows, int fd,
				unsigned timeout_ms, GError **error);
/* No vCPU runs any more, and no port leads here. */
void vfio_endpoint_free(VfioEndpoint *ep);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfioEndpoint, vfio_endpoint_free)

/* For fabric_plug(), with the endpoint as its opaque. */
extern const FabricFunction vfio_endpoint_function;

/* A conventional reset, here and there; one that is away has it when it is back. */
void vfio_endpoint_reset(VfioEndpoint *ep);

bool vfio_endpoint_is_connected(VfioEndpoint *ep);
/* Ends the connection at once, also for accesses that wait. For who cannot wait for them. */
void vfio_endpoint_abort(VfioEndpoint *ep);
/* It is gone: from here on until it returned reads are all-ones, and no slot is left. */
void vfio_endpoint_leave(VfioEndpoint *ep);
/*
 * Goes on with the same device over FD (owned, also on failure): connects, has OPEN_LINK called,
 * writes again what was written, and calls all interrupts out, as some may have been lost. Accesses
 * see nothing of it before it is over. False: it is away as before, OPEN_LINK may have been called.
 */
bool vfio_endpoint_return(VfioEndpoint *ep, int fd, bool (*open_link)(void *opaque, GError **error),
			  void *opaque, GError **error);

#endif
