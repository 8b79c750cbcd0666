/* SPDX-License-Identifier: BSD-3-Clause */
/* Programs of this machine for a guest: found, and copied with the libraries they need. */
#ifndef MACHINE_GUEST_PROGRAM_H
#define MACHINE_GUEST_PROGRAM_H

#include "machine/guest/cpio.h"

/* In $PATH or where administrators' programs are; NULL = not there. The caller frees. */
char *guest_program_find(const char *name);

/*
 * A program of our own that runs in guests: what the environment variable VARIABLE names, or NAME
 * next to our own binary, where it is built, or where it is installed. The caller frees; the error
 * says where it was looked for.
 */
char *guest_program_find_ours(const char *name, const char *variable, GError **error);

/* Copies the program PATH to GUEST_PATH; one that is not static brings its libraries along. */
bool guest_program_add(GuestCpio *cpio, const char *guest_path, const char *path, GError **error);

/* The dynamic linker that an x86-64 program asks for. NULL: it is static, or none. The caller
 * frees. */
char *guest_program_linker(GBytes *program);

#endif
