/* SPDX-License-Identifier: BSD-3-Clause */
/* KVM probe: whether this machine's KVM can run an unmodified kernel; found out by running code. */
#ifndef MACHINE_KVM_PROBE_H
#define MACHINE_KVM_PROBE_H

typedef enum KvmProbeResult {
	KVM_PROBE_OK,
	KVM_PROBE_ABSENT,        /* no /dev/kvm, or nothing behind it */
	KVM_PROBE_NOT_PERMITTED, /* it is there, but not for this user */
	KVM_PROBE_TOO_OLD,       /* lacks what the machine needs */
	KVM_PROBE_CANNOT_RUN,    /* code that every kernel has ends with an error */
} KvmProbeResult;

/*
 * Runs a few instructions in a virtual machine for it, which takes a few milliseconds. PATH NULL =
 * /dev/kvm. RET_WHY: a sentence with the cure where there is one, NULL when all is well; the caller
 * frees.
 */
KvmProbeResult kvm_probe(const char *path, char **ret_why);

#endif
