/* SPDX-License-Identifier: BSD-3-Clause */
/* A durable pool that is stopped and started again in one process: ledger, files, session file. */
#ifndef TESTS_POOL_LIFE_H
#define TESTS_POOL_LIFE_H

#include "ledger/ledger.h"
#include "pool_fixture.h"

#define LIFE_RAM_LEN (256 * MIB)

typedef struct PoolLife {
	char *dir;
	GMutex lock;
	GHashTable *files;      /* what a keeper would hold: incarnation -> MemFile */
	gint64 stall_us;        /* each commit of the ledger takes this much longer; atomic */
	unsigned timeout_ms;    /* of waiting for hosts after a restart; 0 = default */
	unsigned wipe_delay_us; /* of the next pool */
	Ledger *ledger;
	Pool *pool;
	PoolDevice *device; /* dev0: ram of 256 MiB, a DC region of 256 MiB */
} PoolLife;

/* The first start. */
PoolLife *pool_life_new(void);
/* For good. */
void pool_life_free(PoolLife *life);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PoolLife, pool_life_free)
/* As if killed: nobody is told. */
void pool_life_stop(PoolLife *life);
void pool_life_start(PoolLife *life);
/* Until all is durable that was asked for, and HOST (may be NULL) has done what it was told. */
void pool_life_settle(PoolLife *life, TestHost *host);

/* 4802h; a machine whose disk is busy may not make it in a second, and then it is tried again. */
void pool_life_accept(PoolLife *life, TestHost *host, const DcRange *ranges, uint32_t n);

/* Host ends of new sockets, attached to the device; -1 = refused. */
int pool_life_connect_regs(PoolLife *life);
int pool_life_connect_link(PoolLife *life);

#endif
