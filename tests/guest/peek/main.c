/* SPDX-License-Identifier: BSD-3-Clause */
/* guest-peek SOURCE COMMAND [NUMBER...]. */
#include "peek.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ARGS 4

void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("guest-peek: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(2);
}

static uint64_t number(const char *text)
{
	char *end;

	errno = 0;
	uint64_t value = strtoull(text, &end, 0);
	if (errno || end == text || *end)
		die("'%s' is not a number", text);
	return value;
}

int main(int argc, char **argv)
{
	uint64_t args[MAX_ARGS] = { 0 };

	if (argc < 3)
		die("usage: guest-peek SOURCE COMMAND [NUMBER...]");
	for (size_t i = 0; i < n_commands; i++) {
		const Command *command = &commands[i];

		if (strcmp(argv[2], command->name))
			continue;
		if (argc - 3 != command->n_args || argc - 3 > MAX_ARGS)
			die("%s takes %d numbers", command->name, command->n_args);
		for (int n = 0; n < command->n_args; n++)
			args[n] = number(argv[3 + n]);

		Source source = source_map(argv[1]);
		return command->run(&source, args);
	}
	die("no command '%s'", argv[2]);
}
