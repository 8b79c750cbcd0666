/* SPDX-License-Identifier: BSD-3-Clause */
/* A reader-writer lock for very many short readers on many CPUs and few short writers. */
#ifndef FABRIC_ACCESS_LOCK_H
#define FABRIC_ACCESS_LOCK_H

/*
 * Readers take the lock of their CPU's shard, so that they do not fight for a cache line; a writer
 * takes all. Writers come first: nobody can keep a revoke waiting by accessing without pause.
 * Readers must not nest.
 */

#include <pthread.h>

#define ACCESS_LOCK_SHARDS 8

typedef struct AccessLock {
	struct {
		pthread_rwlock_t lock;
	} __attribute__((aligned(64))) shards[ACCESS_LOCK_SHARDS];
} AccessLock;

void access_lock_init(AccessLock *lock);
void access_lock_clear(AccessLock *lock);
/* The shard, for access_lock_read_end(). */
unsigned access_lock_read_begin(AccessLock *lock);
void access_lock_read_end(AccessLock *lock, unsigned shard);
void access_lock_write_begin(AccessLock *lock);
void access_lock_write_end(AccessLock *lock);

#endif
