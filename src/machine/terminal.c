/* SPDX-License-Identifier: BSD-3-Clause */
/* Terminal: modes and size. */
#include "machine/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

void terminal_set_raw(Terminal *terminal, int fd)
{
	struct termios raw;

	*terminal = (Terminal){ .fd = fd };
	if (!isatty(fd) || tcgetattr(fd, &terminal->before))
		return;
	raw = terminal->before;
	cfmakeraw(&raw);
	/* Lines that we print meanwhile still begin at the left. */
	raw.c_oflag |= OPOST | ONLCR;
	terminal->is_raw = tcsetattr(fd, TCSADRAIN, &raw) == 0;
}

void terminal_restore(Terminal *terminal)
{
	if (terminal->is_raw)
		tcsetattr(terminal->fd, TCSANOW, &terminal->before);
	terminal->is_raw = false;
}

bool terminal_size(int fd, unsigned *ret_rows, unsigned *ret_columns)
{
	struct winsize size;

	if (ioctl(fd, TIOCGWINSZ, &size) || !size.ws_row || !size.ws_col)
		return false;
	*ret_rows = size.ws_row;
	*ret_columns = size.ws_col;
	return true;
}
