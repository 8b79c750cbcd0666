/* SPDX-License-Identifier: BSD-3-Clause */
/* Telling systemd (or whoever set $NOTIFY_SOCKET) how we are; libc only. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

/*
 * All are silent no-ops without $NOTIFY_SOCKET (returning 0), return 1 when sent and -errno when
 * not; nobody needs to look. Never block for more than a moment. Any thread, but not while another
 * one changes the environment.
 */
int sd_notify_ready(const char *status); /* status may be NULL */
int sd_notify_status(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Until the next sd_notify_ready(). Carries the time that Type=notify-reload asks for. */
int sd_notify_reloading(void);
int sd_notify_stopping(void);
int sd_notify_main_pid(pid_t pid);
/* Start or stop takes longer: this many microseconds from now on until it counts as hung. */
int sd_notify_extend_timeout(uint64_t us);
/* State as in sd_notify(3): lines NAME=VALUE. */
int sd_notify_send(const char *state);
