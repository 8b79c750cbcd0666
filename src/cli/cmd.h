/* SPDX-License-Identifier: BSD-3-Clause */
/* The rows of the table of verbs; each is at the end of the cmd-*.c that runs it. */
#ifndef CLI_CMD_H
#define CLI_CMD_H

#include "cli/verb.h"

extern const CliVerb verb_backend_add;
extern const CliVerb verb_backend_reclaim;
extern const CliVerb verb_backend_remove;
extern const CliVerb verb_complete;
extern const CliVerb verb_demo;
extern const CliVerb verb_device_add;
extern const CliVerb verb_device_remove;
extern const CliVerb verb_device_reset;
extern const CliVerb verb_doctor;
extern const CliVerb verb_documents;
extern const CliVerb verb_events;
extern const CliVerb verb_help;
extern const CliVerb verb_host;
extern const CliVerb verb_inject_dram;
extern const CliVerb verb_inject_general_media;
extern const CliVerb verb_inject_memory_module;
extern const CliVerb verb_list;
extern const CliVerb verb_offer;
extern const CliVerb verb_qmp;
extern const CliVerb verb_release;
extern const CliVerb verb_run;
extern const CliVerb verb_serve;
extern const CliVerb verb_trace;
extern const CliVerb verb_wait;
extern const CliVerb verb_withdraw;

#endif
