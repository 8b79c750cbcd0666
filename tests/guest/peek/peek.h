/* SPDX-License-Identifier: BSD-3-Clause */
/* guest-peek: memory of several kinds, and what a test does with it. */
#ifndef PEEK_H
#define PEEK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Source {
	const char *name; /* as it was asked for */
	uint8_t *memory;
	uint64_t len;
} Source;

/* Maps what TEXT names; ends the program with a sentence if it cannot. */
Source source_map(const char *text);
/*
 * Bytes that an entry of this kernel's page tables covers there, which must have been touched; 0 if
 * that differs or is not known.
 */
uint64_t source_page_len(const Source *source);
/* Anonymous memory of that length, all of it touched, in pages of that size if it can be. */
Source source_ordinary(uint64_t len, uint64_t page_len);

/* A row of the table of commands. */
typedef struct Command {
	const char *name;
	int n_args;
	int (*run)(const Source *source, const uint64_t *args); /* exit code */
} Command;

extern const Command commands[];
extern const size_t n_commands;

/* A sentence on stderr, then exit code 2. */
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
