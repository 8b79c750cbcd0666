/* SPDX-License-Identifier: BSD-3-Clause */
/* Wipe jobs: the part of the core that may block, to be run on any thread. */
#include "capacity/capacity_priv.h"

#include <errno.h>

struct WipeJob {
	Backend *mem; /* stays: it counts its jobs; NULL = the pool has been given up */
	GList link;   /* in the pool's jobs */
	WipeKind kind;
	MemFile *file;
	bool replace;   /* WIPE_WHOLE: by a fresh file */
	bool populate;  /* which is to be allocated at once */
	GArray *ranges; /* DpaPiece */
	GQueue parts;   /* Extents; not for the thread that runs the job */
	unsigned faults;
	MemFile *fresh;
	int result;
};

static void send(Capacity *cap, const Work *work)
{
	WipeJob *job = work->object;

	if (cap->ops.wipe) {
		cap->ops.wipe(cap->opaque, job);
	} else {
		wipe_job_run(job);
		wipe_job_finish(job);
	}
}

void wipe_job_start(Backend *mem, WipeKind kind, GArray *ranges, GQueue *parts)
{
	WipeJob *job = g_new0(WipeJob, 1);

	job->mem = mem;
	job->link.data = job;
	g_queue_push_tail_link(&mem->cap->jobs, &job->link);
	job->kind = kind;
	job->file = mem_file_ref(mem->file);
	job->replace = mem_file_is_replaceable(mem->file);
	job->populate = mem->prealloc;
	job->ranges = ranges;
	if (parts) {
		job->parts = *parts;
		g_queue_init(parts);
	}
	job->faults = mem->cap->ops.faults;
	job->result = -ECANCELED;
	mem->n_jobs++;
	capacity_queue(mem->cap, send, job, 0);
}

static int replace_file(WipeJob *job)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(MemFile) fresh = mem_file_new_like(job->file, &error);
	int rc = fresh ? 0 : -ENOMEM;

	if (rc == 0 && job->populate)
		rc = mem_file_populate(fresh);
	if (rc < 0)
		return rc;
	/* Whoever still holds the old file keeps no contents and pins no memory by it. */
	mem_file_zero(job->file, 0, mem_file_len(job->file));
	job->fresh = g_steal_pointer(&fresh);
	return 0;
}

static int zero_ranges(WipeJob *job)
{
	for (guint i = 0; i < job->ranges->len; i++) {
		const DpaPiece *range = &g_array_index(job->ranges, DpaPiece, i);
		int rc = mem_file_zero(job->file, range->dpa, range->len);

		if (rc < 0)
			return rc;
	}
	return 0;
}

void wipe_job_run(WipeJob *job)
{
	if (job->faults & CAPACITY_FAULT_WIPE_FAILS) {
		job->result = -EIO;
	} else if (job->faults & CAPACITY_FAULT_WIPE_SKIPPED) {
		job->result = 0;
	} else if (job->kind == WIPE_PARTS || job->kind == WIPE_SOME) {
		job->result = zero_ranges(job);
	} else if (job->kind == WIPE_WHOLE && job->replace) {
		job->result = replace_file(job);
	} else {
		job->result = mem_file_zero(job->file, 0, mem_file_len(job->file));
	}
}

static void job_free(WipeJob *job)
{
	g_clear_pointer(&job->file, mem_file_unref);
	g_clear_pointer(&job->fresh, mem_file_unref);
	g_clear_pointer(&job->ranges, g_array_unref);
	g_free(job);
}

bool wipe_job_describe(const WipeJob *job, WipeInfo *ret)
{
	const Backend *mem = job->mem;

	if (!mem)
		return false;
	*ret = (WipeInfo){ .result = job->result };
	if (mem->untagged)
		ret->offer = mem->owner;
	else
		ret->backend = mem;
	for (guint i = 0; job->ranges && i < job->ranges->len; i++)
		ret->len += g_array_index(job->ranges, DpaPiece, i).len;
	if (!job->ranges)
		ret->len = mem->size;
	return true;
}

void wipe_job_finish(WipeJob *job)
{
	Backend *mem = job->mem;
	Capacity *cap;

	if (!mem) {
		job_free(job);
		return;
	}
	cap = mem->cap;
	capacity_enter(cap);
	g_queue_unlink(&cap->jobs, &job->link);
	g_clear_pointer(&job->file, mem_file_unref);
	mem->n_jobs--;
	memory_wipe_done(mem, job->kind, &job->parts, g_steal_pointer(&job->fresh), job->result);
	job_free(job);
	capacity_leave(cap);
}

/* Their extents go with the pool. */
void wipe_jobs_orphan(Capacity *cap)
{
	while (cap->jobs.head)
		((WipeJob *)g_queue_pop_head_link(&cap->jobs)->data)->mem = NULL;
}
