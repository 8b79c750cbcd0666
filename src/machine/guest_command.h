/* SPDX-License-Identifier: BSD-3-Clause */
/* How the machine and the guest's first process talk when a command is to be run. */
#ifndef MACHINE_GUEST_COMMAND_H
#define MACHINE_GUEST_COMMAND_H

/*
 * COM2 (ttyS1) is the command's stdin and stdout, COM3 (ttyS2) its stderr, both raw, eight bit
 * clean and without flow control but that of the UART. COM4 (ttyS3) carries lines, each ended by
 * \n, at most GUEST_COMMAND_MAX_LINE bytes. Unknown lines are ignored by both.
 *
 * Guest to machine:
 *   ready       the command may now be given input; before, nothing is sent on COM2
 *   exit N      the command's exit code, 0..255; all its output has been written before. Then the
 *               guest powers off.
 *
 * Machine to guest:
 *   eof N       stdin has ended after N bytes in all (decimal); the guest closes the command's
 * stdin when it has passed on so many winsize R C the terminal has R rows and C columns
 */
#define GUEST_COMMAND_MAX_LINE 256

/* The virtiofs tag of what is to be the guest's root file system. */
#define GUEST_ROOT_TAG "softdcd-root"

#endif
