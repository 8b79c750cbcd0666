/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd doctor: one line for each thing a run needs, and its cure. */
#include "cli/cmd.h"
#include "cli/doctor.h"
#include "cli/output.h"

#include <stdio.h>

static const char *const state_words[] = {
	[DOCTOR_OK] = "ok",
	[DOCTOR_LIMITED] = "limited",
	[DOCTOR_MISSING] = "missing",
};

void doctor_found(DoctorFinding *finding, const char *format, ...)
{
	va_list args;

	g_free(finding->found);
	va_start(args, format);
	finding->found = g_strdup_vprintf(format, args);
	va_end(args);
}

void doctor_cure(DoctorFinding *finding, DoctorState state, const char *format, ...)
{
	va_list args;

	finding->state = state;
	g_free(finding->cure);
	va_start(args, format);
	finding->cure = g_strdup_vprintf(format, args);
	va_end(args);
}

static void add_finding(JsonArray *list, const DoctorCheck *check, const DoctorFinding *finding)
{
	JsonObject *object = json_object_new();

	json_object_set_string_member(object, "check", check->name);
	json_object_set_string_member(object, "state", state_words[finding->state]);
	json_object_set_boolean_member(object, "needed", check->needed);
	json_object_set_string_member(object, "for", check->what_for);
	json_object_set_string_member(object, "found", finding->found);
	if (finding->cure)
		json_object_set_string_member(object, "cure", finding->cure);
	else
		json_object_set_null_member(object, "cure");
	json_array_add_object_element(list, object);
}

static void print_finding(const DoctorCheck *check, const DoctorFinding *finding)
{
	printf("%-8s %-18s %s\n", state_words[finding->state], check->name, finding->found);
	if (finding->cure)
		printf("%-27s %s for %s; cure: %s\n", "", check->needed ? "needed" : "only",
		       check->what_for, finding->cure);
}

/* False: something that is needed is missing. */
static bool run_checks(const CliArgs *args, const DoctorCheck *checks, JsonArray *list)
{
	bool healthy = true;

	for (; checks->name; checks++) {
		DoctorFinding finding = { .state = DOCTOR_OK };

		checks->run(args, &finding);
		healthy &= finding.state != DOCTOR_MISSING || !checks->needed;
		if (list)
			add_finding(list, checks, &finding);
		else
			print_finding(checks, &finding);
		g_free(finding.found);
		g_free(finding.cure);
	}
	return healthy;
}

static ExitCode run(const CliArgs *args)
{
	g_autoptr(JsonArray) list = cli_wants_table(args) ? NULL : json_array_new();
	bool machine = run_checks(args, doctor_machine_checks, list);
	bool guest = run_checks(args, doctor_guest_checks, list);
	bool pool = run_checks(args, doctor_pool_checks, list);

	if (list) {
		g_autoptr(JsonNode) node = json_node_new(JSON_NODE_ARRAY);

		json_node_set_array(node, list);
		cli_print_json(node);
	}
	if (machine && guest && pool)
		return EXIT_DONE;
	cli_complain(args, "something that is needed is missing");
	return EXIT_REFUSED;
}

static const CliExample examples[] = {
	{ "doctor", "before the first run, and when something does not work" },
	{ "doctor --json | jq '.[] | select(.state != \"ok\")'", "only what is not well" },
	{ .command = NULL },
};

static const char *const see_also[] = { "demo", "list", NULL };

const CliVerb verb_doctor = {
	.name = "doctor",
	.run = run,
	.summary = "check what a run needs, and say the cure",
	.text = "Tries each thing that softdcd needs of the machine and of the pool, by using it, "
		"and prints a line for each: ok, limited (works, but not all of it) or missing, "
		"what was found, and what to do about it.\n\n"
		"Ends with 1 only if something is missing that nothing works without.",
	.examples = examples,
	.see_also = see_also,
	.flags = CLI_VERB_CLIENT | CLI_VERB_OUTPUT,
};
