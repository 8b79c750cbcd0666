/* SPDX-License-Identifier: BSD-3-Clause */
/* Who the device says it is, in config space as well as over the mailbox. */
#ifndef DEVICE_IDS_H
#define DEVICE_IDS_H

#include "cxl/pci.h"

/*
 * Drivers bind to the class code, so these are free; they are nobody's product: the CXL
 * consortium's own vendor id with a device id that reads "DCD".
 */
#define DEVICE_PCI_VENDOR PCI_VENDOR_CXL
#define DEVICE_PCI_DEVICE 0xdcd0

#define DEVICE_FW_REVISION "softdcd " SOFTDCD_VERSION /* cut to 16 bytes on the wire */

#endif
