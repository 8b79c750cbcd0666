/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the demo share: the set-up, the results, and telling about them. */
#ifndef CLI_DEMO_H
#define CLI_DEMO_H

#include "cli/cli.h"
#include "host/mem_speed.h"
#include "host/process_host.h"
#include "pool/pool.h"

#include <json-glib/json-glib.h>

#define DEMO_N_DEVICES 2
#define DEMO_N_EXTENTS 4
#define DEMO_TAG       "5be1f00d-2a6b-4f43-9c1e-0d5f3ac0ffee"
#define DEMO_BACKEND   "kv-cache"
#define DEMO_LEN       (UINT64_C(1) << 30) /* of the tagged allocation */

typedef struct DemoResult {
	unsigned n_extents;
	double accept_us;     /* median, doorbell to mapped */
	double first_byte_us; /* median, doorbell to the first byte stored */
	unsigned n_accepts;
	MemSpeedResult speed;
	uint64_t before_accept, after_release; /* eight bytes loaded through the window */
	uint64_t second_tenant;                /* the first word that is not zero, or zero */
	uint64_t idle_rss_len;                 /* bytes; 16 idle devices, 16 TiB */
	uint64_t offered_backed_len; /* bytes really allocated while the offer was pending */
} DemoResult;

typedef struct Demo Demo;

/* One port of the host: what the driver's callbacks get. */
typedef struct DemoPort {
	Demo *demo;
	CxlMemdev *memdev;
	CxlDcd *dcd;
} DemoPort;

struct Demo {
	bool talk;       /* tell a person, on stdout */
	unsigned faults; /* CapacityFault bits */
	Pool *pool;
	PoolDevice *devices[DEMO_N_DEVICES];
	ProcessHost *host;
	DemoPort ports[DEMO_N_DEVICES];
	Uuid tag;
	uint64_t started_us;

	/* What the driver's callbacks saw last. */
	uint64_t mapped_len, released_len;
	uint8_t *mapped[DEMO_N_EXTENTS]; /* extents in assembly order */
	uint64_t extent_len[DEMO_N_EXTENTS];
	uint32_t n_mapped;
	double accept_us, first_byte_us;

	uint8_t *ordinary; /* what the extent is compared with */
	DemoResult result;
};

/* Sets up pool, devices and host; the whole tour; frees everything. False: ERROR says at which
 * step. */
bool demo_set_up(Demo *demo, GError **error);
bool demo_tour(Demo *demo, GError **error);
void demo_clear(Demo *demo);

/* Where the first DC region of device I begins in this process; NULL if no decoder covers it. */
uint8_t *demo_region_hva(Demo *demo, unsigned i);
/* Offers the tag to DEVICE: these extents, or one contiguous one without N_EXTENTS. */
bool demo_offer(Demo *demo, unsigned device, const OfferExtent *extents, size_t n_extents,
		GError **error);
/* Handles the host's events until all of the tag is mapped; STEP is named in errors. */
bool demo_wait_mapped(Demo *demo, unsigned device, const char *step, GError **error);
/* Asks for the tag back and handles the host's events until its memory is free again. */
bool demo_release(Demo *demo, unsigned device, const char *step, GError **error);
bool demo_fail(GError **error, const char *step, const char *what); /* always false */

/* Resident bytes of this process with a pool of 16 devices and 16 TiB, nothing backed. */
bool demo_measure_idle(uint64_t *ret_len, GError **error);

/* Boots a Linux guest that shows the same, or says why it cannot be: then the exit code is that of
 * a refusal only if IS_NEEDED. */
ExitCode demo_show_guest(const CliArgs *args, bool is_needed);
/* The same as an object: "shown", and then what was measured, or "why" not. The code is that of a
 * refusal only if a guest was begun. Caller owns it. */
JsonObject *demo_ask_guest(const CliArgs *args, ExitCode *ret_code);

G_GNUC_PRINTF(2, 3) void demo_say(const Demo *demo, const char *format, ...);

#define DEMO_ERROR (g_quark_from_static_string("softdcd-demo"))

#endif
