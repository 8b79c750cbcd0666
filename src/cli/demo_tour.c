/* SPDX-License-Identifier: BSD-3-Clause */
/* The demo's tour: offer, accept, use, release, and the next tenant, each step checked. */
#include "cli/demo.h"

#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE_LEN     4096u
#define SPEED_EXTENT 2 /* the one large enough to compare */
#define N_ACCEPTS    31
#define SPEED_ROUNDS 7
#define ALL_ONES     UINT64_MAX
#define PATTERN      0xa5
#define PATTERN_WORD UINT64_C(0xa5a5a5a5a5a5a5a5)

static uint64_t load(const void *at)
{
	return *(const volatile uint64_t *)at;
}

/* ---- the steps ---- */

static bool step_nothing(Demo *demo, GError **error)
{
	BackendConfig backend = {
		.name = DEMO_BACKEND,
		.type = BACKEND_MEMFD,
		.size = DEMO_LEN,
		.tag = demo->tag,
	};
	CapacityCounters counters;
	uint64_t allocated_len;

	if (!pool_add_backend(demo->pool, &backend, error) ||
	    !pool_backend_counters(demo->pool, DEMO_BACKEND, &counters, &allocated_len))
		return false;
	demo_say(demo, "backend %s: 1 GiB, tag %s", DEMO_BACKEND, DEMO_TAG);
	demo_say(demo, "  %" PRIu64 " bytes allocated, mapped nowhere", allocated_len);
	return allocated_len == 0 ||
	       demo_fail(error, "backend", "memory is allocated before any use");
}

static bool step_offer(Demo *demo, GError **error)
{
	/* In scattered places, and not in ascending order: the tag's order is the offer's. */
	static const OfferExtent extents[DEMO_N_EXTENTS] = {
		{ UINT64_C(1024) << 20, UINT64_C(256) << 20 },
		{ UINT64_C(0) << 20, UINT64_C(128) << 20 },
		{ UINT64_C(3072) << 20, UINT64_C(512) << 20 },
		{ UINT64_C(512) << 20, UINT64_C(128) << 20 },
	};
	const uint8_t *window = demo_region_hva(demo, 0);
	CapacityCounters counters;

	if (!window)
		return demo_fail(error, "offer", "dev0's region is not in the window");
	if (!demo_offer(demo, 0, extents, DEMO_N_EXTENTS, error))
		return false;
	pool_backend_counters(demo->pool, DEMO_BACKEND, &counters,
			      &demo->result.offered_backed_len);
	demo->result.before_accept = load(window + extents[0].offset);
	demo_say(demo, "offered to dev0 in %u extents; not accepted yet", DEMO_N_EXTENTS);
	demo_say(demo,
		 "  %" PRIu64 " MiB reserved, %" PRIu64
		 " bytes allocated; a load gives %016" PRIx64,
		 counters.reserved >> 20, demo->result.offered_backed_len,
		 demo->result.before_accept);
	if (demo->result.offered_backed_len)
		return demo_fail(error, "offer", "a pending offer is backed by memory");
	return demo->result.before_accept == ALL_ONES ||
	       demo_fail(error, "offer", "the window shows something before the host accepted");
}

/* Memory of the same kind as the backend, but of no device. */
static uint8_t *map_ordinary(uint64_t len)
{
	int fd = memfd_create("ordinary", MFD_CLOEXEC);
	void *ordinary = MAP_FAILED;

	if (fd >= 0 && !ftruncate(fd, (off_t)len))
		ordinary = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	return ordinary == MAP_FAILED ? NULL : ordinary;
}

static bool step_accept(Demo *demo, GError **error)
{
	uint64_t len;

	if (!demo_wait_mapped(demo, 0, "accept", error))
		return false;
	demo->result.n_extents = demo->n_mapped;
	demo_say(demo,
		 "accepted by its host (4802h): %u extents mapped, %.0f us after the doorbell",
		 demo->n_mapped, demo->accept_us);
	if (demo->n_mapped != DEMO_N_EXTENTS)
		return demo_fail(error, "accept", "not every extent of the offer was accepted");

	/* First touched page by page in turn, so that both get physical memory of one kind. */
	len = demo->extent_len[SPEED_EXTENT];
	demo->ordinary = map_ordinary(len);
	if (!demo->ordinary)
		return demo_fail(error, "accept", "no ordinary memory to compare with");
	for (uint64_t at = 0; at < len; at += PAGE_LEN) {
		memset(demo->mapped[SPEED_EXTENT] + at, PATTERN, PAGE_LEN);
		memset(demo->ordinary + at, PATTERN, PAGE_LEN);
	}
	return true;
}

static bool step_use(Demo *demo, GError **error)
{
	const MemSpeedResult *speed = &demo->result.speed;
	uint64_t len = demo->extent_len[SPEED_EXTENT];

	/* A demo that is broken on purpose is about what is noticed, not about speed. */
	if (!demo->faults)
		mem_speed_compare(demo->mapped[SPEED_EXTENT], demo->ordinary, len, SPEED_ROUNDS,
				  &demo->result.speed);
	munmap(demo->ordinary, len);
	demo->ordinary = NULL;
	demo_say(demo, "%-18s %12s %12s %12s", "512 MiB, medians", "write GB/s", "read GB/s",
		 "latency ns");
	demo_say(demo, "  %-16s %12.2f %12.2f %12.1f", "the extent", speed->extent.write_gbps,
		 speed->extent.read_gbps, speed->extent.latency_ns);
	demo_say(demo, "  %-16s %12.2f %12.2f %12.1f", "ordinary memory",
		 speed->ordinary.write_gbps, speed->ordinary.read_gbps, speed->ordinary.latency_ns);
	demo_say(demo, "  %-16s %12.3f %12.3f %12.3f", "ratio", speed->write_ratio,
		 speed->read_ratio, speed->latency_ratio);

	for (uint32_t i = 0; i < demo->n_mapped; i++)
		memset(demo->mapped[i], PATTERN, demo->extent_len[i]);
	for (uint32_t i = 0; i < demo->n_mapped; i++) {
		for (uint64_t at = 0; at < demo->extent_len[i]; at += PAGE_LEN) {
			if (load(demo->mapped[i] + at) != PATTERN_WORD)
				return demo_fail(error, "use",
						 "what was stored is not what is loaded");
		}
	}
	demo_say(demo, "all of it filled with %02x", PATTERN);
	return true;
}

static bool step_release(Demo *demo, GError **error)
{
	if (!demo_release(demo, 0, "release", error))
		return false;
	demo->result.after_release = load(demo->mapped[0]);
	demo_say(demo, "released (4803h), revoked, wiped, free; the same load gives %016" PRIx64,
		 demo->result.after_release);
	for (uint32_t i = 0; i < demo->n_mapped; i++) {
		for (uint64_t at = 0; at < demo->extent_len[i]; at += PAGE_LEN) {
			if (load(demo->mapped[i] + at) != ALL_ONES)
				return demo_fail(error, "release",
						 "the window still shows released memory");
		}
	}
	return true;
}

static bool step_second_tenant(Demo *demo, GError **error)
{
	const uint64_t *words;

	if (!demo_offer(demo, 1, NULL, 0, error) ||
	    !demo_wait_mapped(demo, 1, "second tenant", error))
		return false;
	/* The callback has stored to the first byte to time it. */
	*(volatile uint8_t *)demo->mapped[0] = 0;
	words = (const uint64_t *)demo->mapped[0];
	for (uint64_t i = 0; i < DEMO_LEN / sizeof(*words) && !demo->result.second_tenant; i++)
		demo->result.second_tenant = words[i];
	demo_say(demo, "offered to dev1, accepted; all of it reads %016" PRIx64,
		 demo->result.second_tenant);
	if (demo->result.second_tenant)
		return demo_fail(error, "second tenant", "it reads what the first one left");
	return demo_release(demo, 1, "second tenant", error);
}

static bool step_accept_often(Demo *demo, GError **error)
{
	double accept_us[N_ACCEPTS], first_byte_us[N_ACCEPTS];

	for (unsigned i = 0; i < N_ACCEPTS; i++) {
		if (!demo_offer(demo, 0, NULL, 0, error) ||
		    !demo_wait_mapped(demo, 0, "accept", error))
			return false;
		accept_us[i] = demo->accept_us;
		first_byte_us[i] = demo->first_byte_us;
		if (!demo_release(demo, 0, "release", error))
			return false;
	}
	demo->result.n_accepts = N_ACCEPTS;
	demo->result.accept_us = median(accept_us, N_ACCEPTS);
	demo->result.first_byte_us = median(first_byte_us, N_ACCEPTS);
	demo_say(demo,
		 "the same 1 GiB offered, accepted and released %u times, medians:", N_ACCEPTS);
	demo_say(demo, "  doorbell to mapped %.0f us, to the first byte stored %.0f us",
		 demo->result.accept_us, demo->result.first_byte_us);
	return true;
}

bool demo_tour(Demo *demo, GError **error)
{
	static bool (*const steps[])(Demo *, GError **) = {
		step_nothing, step_offer,         step_accept,       step_use,
		step_release, step_second_tenant, step_accept_often,
	};

	for (size_t i = 0; i < G_N_ELEMENTS(steps); i++) {
		if (!steps[i](demo, error))
			return false;
	}
	return true;
}
