/* SPDX-License-Identifier: BSD-3-Clause */
/* A reader-writer lock for very many short readers on many CPUs and few short writers. */

#include "fabric/access_lock.h"
#include <sched.h>

void access_lock_init(AccessLock *lock)
{
	pthread_rwlockattr_t attr;

	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	for (unsigned i = 0; i < ACCESS_LOCK_SHARDS; i++)
		pthread_rwlock_init(&lock->shards[i].lock, &attr);
	pthread_rwlockattr_destroy(&attr);
}

void access_lock_clear(AccessLock *lock)
{
	for (unsigned i = 0; i < ACCESS_LOCK_SHARDS; i++)
		pthread_rwlock_destroy(&lock->shards[i].lock);
}

unsigned access_lock_read_begin(AccessLock *lock)
{
	int cpu = sched_getcpu();
	unsigned shard = cpu < 0 ? 0 : (unsigned)cpu % ACCESS_LOCK_SHARDS;

	pthread_rwlock_rdlock(&lock->shards[shard].lock);
	return shard;
}

void access_lock_read_end(AccessLock *lock, unsigned shard)
{
	pthread_rwlock_unlock(&lock->shards[shard].lock);
}

void access_lock_write_begin(AccessLock *lock)
{
	for (unsigned i = 0; i < ACCESS_LOCK_SHARDS; i++)
		pthread_rwlock_wrlock(&lock->shards[i].lock);
}

void access_lock_write_end(AccessLock *lock)
{
	for (unsigned i = ACCESS_LOCK_SHARDS; i-- > 0;)
		pthread_rwlock_unlock(&lock->shards[i].lock);
}
