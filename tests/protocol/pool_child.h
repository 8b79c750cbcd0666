/* SPDX-License-Identifier: BSD-3-Clause */
/* Host processes other than the test's own: the same program again, playing a role. */
#ifndef TESTS_POOL_CHILD_H
#define TESTS_POOL_CHILD_H

#include "pool_fixture.h"

#include <sys/types.h>

/* A role runs in the child; child_tell() and child_hear() are in step with the parent's. */
typedef struct TestRole {
	const char *name;
	void (*run)(int control);
} TestRole;

typedef struct TestChild {
	pid_t pid;
	int control;
} TestChild;

/* Call first in main(): runs the role and exits if this is a child. */
void child_main(int argc, char **argv, const TestRole *roles, size_t n_roles);

/* ---- in the parent ---- */

TestChild child_spawn(const char *role);
/* Attaches the sockets that the child makes and sends (child_connect); mem may be left out. */
void child_attach(TestChild *child, Pool *pool, PoolDevice *device);
/* Sockets the child made, however many it sent. */
unsigned child_take_fds(TestChild *child, int *fds, unsigned max);
/* Waits for the child's end, which must be a good one unless KILL. */
void child_end(TestChild *child, bool kill_it);

/* ---- in both ---- */

void child_tell(int control, char word);
char child_hear(int control);

/* ---- in the child ---- */

/* Makes sockets of its own, has the parent attach them, says hello. */
TestHost *child_connect(int control, bool with_link);

#endif
