/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of softdcd-agent share: devices taken over, and telling what becomes of them. */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

#include "agent/json.h"
#include "agent/platform.h"
#include "agent/sys_bus.h"
#include "driver/cxl_driver.h"

#define AGENT_MAX_DEVICES 16

typedef struct Agent Agent;

/* Capacity we agreed to give back; whether it went the driver's table tells. */
typedef struct Leaving {
	struct Leaving *next;
	uint64_t group;
	CxlTag tag;
	const char *why;
	uint32_t n_ranges;
	CxlDpaRange ranges[];
} Leaving;

typedef struct AgentDevice {
	Agent *agent;
	const PlatformDevice *info;
	CxlMemdev *memdev;
	CxlDcd *dcd;
	CxlRegion *regions[CXL_DC_MAX_REGIONS]; /* NULL: none of ours */
	int record_fd; /* locked as long as we have the device; see record.c */
	int bridge_fd; /* the same for its host bridge; with the first of its devices only */
	char unbound_port[16]; /* the kernel's, that let go of the host bridge for us; "" = none */
	bool has_override;     /* the name of no driver, so that none comes while we have it */
	bool has_begun;        /* the record is ours */
	bool is_left;          /* in order: the port may have it back */
	const char *caching;
	Leaving *leaving, **leaving_end;
	bool is_away; /* its registers read all-ones */
	uint64_t away_us;
	uint64_t retry_us; /* not looked at before, as it did not answer or failed */
} AgentDevice;

typedef struct AgentOptions {
	const char *root;      /* of /sys, /proc and /dev; "" */
	const char *state_dir; /* where records lie */
	const char *devices[AGENT_MAX_DEVICES];
	unsigned n_devices;
	CxlAcceptList accept;
	bool keep;           /* leave what is accepted when we end */
	bool reset_decoders; /* take back decoders that others left */
	bool takes_commands; /* from standard input */
} AgentOptions;

struct Agent {
	AgentOptions options;
	Platform *platform;
	SysBus *bus;
	CxlDriver *driver;
	AgentDevice devices[AGENT_MAX_DEVICES];
	unsigned n_devices;
	bool holds;  /* what is asked for is kept */
	bool leaves; /* a command said so */
};

/* ---- life (take_over.c) ---- */

/*
 * Takes the devices of OPTIONS, copied, and makes them serve: false with a sentence in ERROR; undo
 * with agent_clear() in any case.
 */
bool agent_start(Agent *agent, const AgentOptions *options, AgentError *error);
/* Frees all; devices stay as they are. Gives host bridges of devices left in order to the kernel.
 */
void agent_clear(Agent *agent);
/* Gives back everything and the decoders; false if something could not be given back. */
bool agent_leave(Agent *agent);

/* ---- the kernel's drivers (kernel.c) ---- */

/* Makes them let go of the host bridge and keep off the device, from before its first use on. */
bool kernel_keep_off(AgentDevice *device, AgentError *error);
/* The reverse, when all is unmapped. */
void kernel_let_in(AgentDevice *device);

/* ---- records (record.c) ---- */

/* What a device was used for; kept in a file in the state directory, so that the next agent knows
 * which decoders are an earlier one's. */
typedef struct Record {
	uint64_t serial;
	uint64_t hpa, len; /* of the window */
} Record;

/* Opens and locks the record of a device: false if another agent has it, or its host bridge. */
bool record_open(AgentDevice *device, AgentError *error);
/* What an earlier agent wrote since this kernel booted; false if there is nothing. */
bool record_read(const AgentDevice *device, Record *ret_record);
bool record_write(const AgentDevice *device, const Record *record, AgentError *error);
/* Forgets what is in it. */
void record_drop(AgentDevice *device);
/* Unlocks and leaves it as it is. */
void record_close(AgentDevice *device);

/* ---- capacity (capacity.c) ---- */

extern const CxlDcdOps agent_dcd_ops; /* opaque: AgentDevice */

/* Tells what the last callbacks led to. After every call into the driver. */
void device_settle(AgentDevice *device);
/* Gives back a group, or all of them, telling WHY; false if the device did not take it. */
bool device_release(AgentDevice *device, uint64_t group, const char *why, AgentError *error);
bool device_release_all(AgentDevice *device, const char *why);
/* All accepted parts of a range: 0, -ENOENT, -EINVAL or another error of the driver */
int device_release_range(AgentDevice *device, uint64_t dpa, uint64_t len);
void device_forget_leaving(AgentDevice *device);

/* ---- serving (serve.c) ---- */

/* One look at every device: true if anything happened. */
bool agent_step(Agent *agent);
/* Until a signal or a command ends it. */
void agent_serve(Agent *agent);
/* SIGTERM and SIGINT: the first asks to leave, the second ends the process. */
void agent_catch_signals(void);
bool agent_is_leaving(const Agent *agent);

/* ---- telling (tell.c): lines of JSON on standard output, sentences on standard error ---- */

/* {"event": EVENT, "time": microseconds since 1970, "device": its name, unless it is NULL, ... */
void tell_begin(Json *json, const char *event, const AgentDevice *device);
/* Ends the object, writes the line and clears JSON. A reader that has gone makes the agent leave.
 */
void tell_end(Agent *agent, Json *json);
void tell_tag(Json *json, const CxlTag *tag);
void tell_group(Json *json, const AgentDevice *device, const CxlDcGroup *group);
void tell_attached(AgentDevice *device);
void tell_ranges(AgentDevice *device, const char *event, const char *why, const CxlTag *tag,
		 const CxlDpaRange *ranges, uint32_t n);
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- commands (command.c) ---- */

/* One line of standard input, without its end. */
void agent_command(Agent *agent, char *line);
typedef struct CommandHelp {
	const char *usage, *text;
} CommandHelp;
/* The command at INDEX, false past the last one */
bool command_help(unsigned index, CommandHelp *ret_help);

/* ---- memory of a group (group_memory.c) ---- */

/* Finds an accepted group by the text of its tag or its number and calls FUNC with it: false with a
 * sentence if there is none, else what FUNC returns. */
typedef bool (*GroupFunc)(AgentDevice *device, const CxlDcGroup *group, void *opaque,
			  AgentError *error);
bool group_with(Agent *agent, const char *name, GroupFunc func, void *opaque, AgentError *error);
/* Its extents side by side in assembly order; NULL with an error. Undo with munmap(group->len). */
uint8_t *group_map(const Agent *agent, const CxlDcGroup *group, AgentError *error);
/* Compares its speed with that of this machine's own memory and tells the result. */
bool group_measure(AgentDevice *device, const CxlDcGroup *group, void *opaque, AgentError *error);

#endif
