/* SPDX-License-Identifier: BSD-3-Clause */
/* Terminal: raw while the guest has it, and as it was afterwards. */
#ifndef MACHINE_TERMINAL_H
#define MACHINE_TERMINAL_H

#include <stdbool.h>
#include <termios.h>

typedef struct Terminal {
	int fd;
	bool is_raw;
	struct termios before;
} Terminal;

/* FD may be no terminal; then nothing happens. */
void terminal_set_raw(Terminal *terminal, int fd);
void terminal_restore(Terminal *terminal);
/* False if FD is no terminal, or does not know. */
bool terminal_size(int fd, unsigned *ret_rows, unsigned *ret_columns);

#endif
