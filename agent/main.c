/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd-agent: the host of dynamic capacity devices inside a Linux guest. */
#include "agent/options.h"
#include "agent/probe.h"

#include <poll.h>
#include <stdio.h>
#include <sys/prctl.h>

typedef enum ExitCode {
	EXIT_DONE = 0,
	EXIT_REFUSED = 1,
	EXIT_USAGE = 2,
	EXIT_TIMED_OUT = 3,
} ExitCode;

static ExitCode refuse(const AgentError *error)
{
	complain("%s", error->text);
	return EXIT_REFUSED;
}

static ExitCode leave(Agent *agent)
{
	bool ok = agent->options.keep || agent_leave(agent);

	for (unsigned i = 0; i < agent->n_devices; i++) {
		Json json;

		tell_begin(&json, "left", &agent->devices[i]);
		tell_end(agent, &json);
	}
	return ok ? EXIT_DONE : EXIT_REFUSED;
}

static ExitCode run_serve(Agent *agent, const CommandLine *line)
{
	AgentError error = { "" };

	if (!agent_start(agent, &line->options, &error))
		return refuse(&error);
	agent_serve(agent);
	return leave(agent);
}

static bool has_tag(const Agent *agent, const CxlTag *tag)
{
	for (unsigned i = 0; i < agent->n_devices; i++) {
		if (cxl_dcd_has_tag(agent->devices[i].dcd, tag))
			return true;
	}
	return false;
}

static ExitCode run_measure(Agent *agent, CommandLine *line)
{
	AgentError error = { "" };
	char name[CXL_TAG_TEXT_LEN];
	uint64_t end;
	ExitCode code = EXIT_DONE;
	bool ok;

	cxl_tag_format(&line->tag, name);
	cxl_accept_list_clear(&line->options.accept);
	if (cxl_accept_list_parse(name, &line->options.accept) < 0)
		agent_fail(&error, "out of memory");
	else
		agent_start(agent, &line->options, &error);
	if (error.text[0])
		return refuse(&error);
	end = sys_bus_ops.now_us(agent->bus) + line->timeout_s * 1000000u;
	while (!(ok = has_tag(agent, &line->tag)) && !agent_is_leaving(agent) &&
	       sys_bus_ops.now_us(agent->bus) < end) {
		if (!agent_step(agent))
			poll(NULL, 0, 1);
	}
	if (!ok) {
		complain("tag %s has not been offered", name);
		code = EXIT_TIMED_OUT;
	} else if (!group_with(agent, name, group_measure, NULL, &error)) {
		code = refuse(&error);
	}
	return leave(agent) == EXIT_DONE ? code : EXIT_REFUSED;
}

/* Verbs that need no device */
static ExitCode run_other(const CommandLine *line)
{
	AgentError error = { "" };

	switch (line->verb) {
	case VERB_PROBE:
		return probe_print(line->options.root, &error) ? EXIT_DONE : refuse(&error);
	case VERB_VERSION:
		printf("softdcd-agent %s\n", SOFTDCD_VERSION);
		return EXIT_DONE;
	case VERB_MAN:
		options_print_man();
		return EXIT_DONE;
	default:
		options_print_help();
		return EXIT_DONE;
	}
}

int main(int argc, char **argv)
{
	static Agent agent;
	AgentError error = { "" };
	CommandLine line;
	ExitCode code;

	if (!options_parse(argc, argv, &line, &error)) {
		complain("%s", error.text);
		options_clear(&line);
		return EXIT_USAGE;
	}
	if (line.verb != VERB_SERVE && line.verb != VERB_MEASURE) {
		code = run_other(&line);
	} else {
		/* It sleeps for tens of microseconds between looks at a doorbell. */
		prctl(PR_SET_TIMERSLACK, 1000ul);
		agent_catch_signals();
		code = line.verb == VERB_SERVE ? run_serve(&agent, &line)
					       : run_measure(&agent, &line);
		line.options.accept = agent.options.accept; /* a command may have replaced it */
		agent_clear(&agent);
	}
	options_clear(&line);
	return code;
}
