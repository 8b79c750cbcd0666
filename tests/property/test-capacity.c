/* SPDX-License-Identifier: BSD-3-Clause */
/* Random operations on a pool of three devices: I1-I4, I6 and I7 hold at every step. */

/*
 * SOFTDCD_SEED=N or --seed repeats a run, SOFTDCD_OPS=N sets its length. What the model asserts on
 * the spot (I2, I4, I7) is in capacity-model.h, I3 in capacity-operations.h; I1 and I6 are checked
 * here, after operations.
 */

#include "capacity-pool.h"

/* A run in which something never happens proves nothing about it. */
static void tell_coverage(const Model *model, uint64_t n_ops)
{
	static const enum cxl_rc expected[] = {
		CXL_RC_SUCCESS,
		CXL_RC_INVALID_INPUT,
		CXL_RC_INTERNAL_ERROR,
		CXL_RC_RETRY_REQUIRED,
		CXL_RC_INVALID_PA,
		CXL_RC_ABORTED,
		CXL_RC_RESOURCES_EXHAUSTED,
		CXL_RC_INVALID_EXTENT_LIST,
	};
	GString *text = g_string_new("notices");

	for (size_t i = 0; i < G_N_ELEMENTS(model->n_notices); i++)
		g_string_append_printf(text, " %" PRIu64, model->n_notices[i]);
	g_string_append(text, ", answers");
	for (size_t i = 0; i < G_N_ELEMENTS(expected); i++)
		g_string_append_printf(text, " %02Xh:%" PRIu64, expected[i],
				       model->n_rc[expected[i]]);
	g_print("# %s\n", text->str);
	g_string_free(text, TRUE);
	if (n_ops < 20000)
		return;
	for (size_t i = 0; i <= NOTICE_FORCED; i++)
		g_assert_cmpuint(model->n_notices[i], >, 0);
	for (size_t i = 0; i < G_N_ELEMENTS(expected); i++)
		g_assert_cmpuint(model->n_rc[expected[i]], >, 0);
}

typedef struct Run {
	bool journal;
	unsigned faults;
} Run;

static void run(gconstpointer data)
{
	const Run *options = data;
	uint64_t n_ops = env_number("SOFTDCD_OPS", 100000);
	RowTable table;
	Model model = { .table = &table };
	CapacityOps ops = {
		.now_us = op_now_us,
		.wipe = op_wipe,
		.journal = options->journal ? op_journal : NULL,
		.notify = op_notify,
		.faults = options->faults,
	};

	row_table_init(&table);
	set_up(&model);
	fill(&model, &ops);
	for (uint64_t i = 0; i < n_ops; i++) {
		run_one(&model);
		if (i % 4 == 0)
			check(&model);
		if (i % 250 == 249)
			flush(&model);
		if (i % 250 == 249 && options->journal)
			row_table_assert_is(&table, model.cap);
	}
	tell_coverage(&model, n_ops);
	tear_down(&model);
	row_table_clear(&table);
}

/* The same run over a core that is broken on purpose has to fail. */
static void run_broken(gconstpointer data)
{
	if (g_test_subprocess()) {
		run(data);
		return;
	}
	g_test_trap_subprocess(NULL, 0, (GTestSubprocessFlags)0);
	g_test_trap_assert_failed();
}

int main(int argc, char **argv)
{
	static const Run with_journal = { .journal = true };
	static const Run without_journal = { .journal = false };
	static const Run broken_wipe = { .faults = CAPACITY_FAULT_WIPE_SKIPPED };
	static const Run broken_revoke = { .faults = CAPACITY_FAULT_REVOKE_SKIPPED };

	g_test_init(&argc, &argv, NULL);
	g_test_add_data_func("/property/capacity/with-journal", &with_journal, run);
	g_test_add_data_func("/property/capacity/without-journal", &without_journal, run);
	g_test_add_data_func("/property/capacity/notices-skipped-wipe", &broken_wipe, run_broken);
	g_test_add_data_func("/property/capacity/notices-skipped-revoke", &broken_revoke,
			     run_broken);
	return g_test_run();
}
