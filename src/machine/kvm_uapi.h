/* SPDX-License-Identifier: BSD-3-Clause */
/* What of the kernel's KVM interface is newer than Debian 12's headers. */
#ifndef MACHINE_KVM_UAPI_H
#define MACHINE_KVM_UAPI_H

#include <linux/kvm.h>

#ifndef KVM_X86_QUIRK_SLOT_ZAP_ALL
#define KVM_X86_QUIRK_SLOT_ZAP_ALL (1 << 7) /* Linux 6.12 */
#endif
#ifndef KVM_EXIT_MEMORY_FAULT
#define KVM_EXIT_MEMORY_FAULT 39 /* Linux 6.8 */
#endif

#endif
