/* SPDX-License-Identifier: BSD-3-Clause */
/* The client half of sd_notify(3). */
#include "util/sd_notify.h"

#include "util/autofd.h"
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#define STATE_SIZE 1024

/* "/path" or "@abstract"; returns the length to give to the kernel, or -errno. */
static int make_address(const char *name, struct sockaddr_un *ret_address)
{
	size_t len = strlen(name);

	if (len < 2 || (name[0] != '/' && name[0] != '@'))
		return -EAFNOSUPPORT;
	/* A path may fill sun_path without a terminating zero: sd_notify(3) allows that. */
	if (len > sizeof(ret_address->sun_path))
		return -E2BIG;
	*ret_address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(ret_address->sun_path, name, len);
	if (name[0] == '@')
		ret_address->sun_path[0] = '\0';
	else if (len < sizeof(ret_address->sun_path))
		len++;
	return (int)(offsetof(struct sockaddr_un, sun_path) + len);
}

int sd_notify_send(const char *state)
{
	const struct timeval patience = { .tv_usec = 500000 };
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address;
	AUTOFD int sock = -EBADF;
	ssize_t sent;
	int address_len;

	if (name == NULL || *name == '\0')
		return 0;
	address_len = make_address(name, &address);
	if (address_len < 0)
		return address_len;
	sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return -errno;
	/* A manager that does not read must not hold us up for long. */
	if (setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) != 0)
		return -errno;
	do {
		sent = sendto(sock, state, strlen(state), MSG_NOSIGNAL,
			      (const struct sockaddr *)&address, (socklen_t)address_len);
	} while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 1;
}

/* A status is one line: what follows a line break would be taken for another assignment. */
static void one_line(char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '\n' || *text == '\r')
			*text = ' ';
	}
}

int sd_notify_ready(const char *status)
{
	char state[STATE_SIZE] = "READY=1\nSTATUS=";
	size_t head_len = strlen(state);

	if (status == NULL)
		return sd_notify_send("READY=1");
	snprintf(state + head_len, sizeof(state) - head_len, "%s", status);
	one_line(state + head_len);
	return sd_notify_send(state);
}

int sd_notify_status(const char *format, ...)
{
	char state[STATE_SIZE] = "STATUS=";
	size_t head_len = strlen(state);
	va_list args;

	va_start(args, format);
	vsnprintf(state + head_len, sizeof(state) - head_len, format, args);
	va_end(args);
	one_line(state + head_len);
	return sd_notify_send(state);
}

int sd_notify_reloading(void)
{
	char state[STATE_SIZE];
	struct timespec now;

	if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
		return -errno;
	snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
		 (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
	return sd_notify_send(state);
}

int sd_notify_stopping(void)
{
	return sd_notify_send("STOPPING=1");
}

int sd_notify_main_pid(pid_t pid)
{
	char state[STATE_SIZE];

	snprintf(state, sizeof(state), "MAINPID=%d", (int)pid);
	return sd_notify_send(state);
}

int sd_notify_extend_timeout(uint64_t us)
{
	char state[STATE_SIZE];

	snprintf(state, sizeof(state), "EXTEND_TIMEOUT_USEC=%" PRIu64, us);
	return sd_notify_send(state);
}
