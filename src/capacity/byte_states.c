/* SPDX-License-Identifier: BSD-3-Clause */
/* What each byte of a shareable backend counts as while several devices use it. */
#include "capacity/byte_states.h"

#include <string.h>

G_STATIC_ASSERT(sizeof(gsize) == sizeof(uint64_t));
#define OFFSET_KEY(offset) GSIZE_TO_POINTER((gsize)(offset))

typedef struct Segment {
	uint64_t offset;
	uint64_t len;
	uint32_t n_users[BYTES_N_STATES];
} Segment;

struct ByteStates {
	GTree *segments; /* offset -> Segment; they cover everything */
};

static int compare_offset(gconstpointer a, gconstpointer b, gpointer opaque)
{
	gsize offset_a = GPOINTER_TO_SIZE(a), offset_b = GPOINTER_TO_SIZE(b);

	return (offset_a > offset_b) - (offset_a < offset_b);
}

static Segment *add_segment(ByteStates *states, uint64_t offset, uint64_t len)
{
	Segment *segment = g_new0(Segment, 1);

	segment->offset = offset;
	segment->len = len;
	g_tree_insert_node(states->segments, OFFSET_KEY(offset), segment);
	return segment;
}

ByteStates *byte_states_new(uint64_t len)
{
	ByteStates *states = g_new0(ByteStates, 1);

	states->segments = g_tree_new_full(compare_offset, NULL, NULL, g_free);
	add_segment(states, 0, len);
	return states;
}

void byte_states_free(ByteStates *states)
{
	if (!states)
		return;
	g_tree_unref(states->segments);
	g_free(states);
}

static GTreeNode *node_holding(const ByteStates *states, uint64_t offset)
{
	GTreeNode *above = g_tree_upper_bound(states->segments, OFFSET_KEY(offset));

	return above ? g_tree_node_previous(above) : g_tree_node_last(states->segments);
}

/* Makes OFFSET a border. */
static void cut(ByteStates *states, uint64_t offset)
{
	GTreeNode *node = node_holding(states, offset);
	Segment *lower = g_tree_node_value(node), *upper;
	uint64_t lower_len = offset - lower->offset;

	if (lower_len == 0 || lower_len >= lower->len)
		return;
	upper = add_segment(states, offset, lower->len - lower_len);
	memcpy(upper->n_users, lower->n_users, sizeof(upper->n_users));
	lower->len = lower_len;
}

static ByteState strongest(const Segment *segment)
{
	static const ByteState order[] = { BYTES_ACCEPTED, BYTES_RESERVED, BYTES_DRAINING,
					   BYTES_QUARANTINED };

	for (size_t i = 0; i < G_N_ELEMENTS(order); i++)
		if (segment->n_users[order[i]] > 0)
			return order[i];
	return BYTES_FREE;
}

/* Removes the border at OFFSET if both sides are alike. */
static void heal(ByteStates *states, uint64_t offset)
{
	GTreeNode *node = node_holding(states, offset);
	Segment *upper = g_tree_node_value(node), *lower;
	GTreeNode *before = g_tree_node_previous(node);

	if (upper->offset != offset || !before)
		return;
	lower = g_tree_node_value(before);
	if (memcmp(lower->n_users, upper->n_users, sizeof(lower->n_users)) != 0)
		return;
	lower->len += upper->len;
	g_tree_remove(states->segments, OFFSET_KEY(offset));
}

void byte_states_move(ByteStates *states, uint64_t offset, uint64_t len, ByteState from,
		      ByteState to, CapacityCounters *counters)
{
	uint64_t end = offset + len;

	cut(states, offset);
	cut(states, end);
	for (GTreeNode *node = node_holding(states, offset); node; node = g_tree_node_next(node)) {
		Segment *segment = g_tree_node_value(node);
		ByteState before = strongest(segment);

		if (segment->offset >= end)
			break;
		if (from != BYTES_FREE) {
			g_assert(segment->n_users[from] > 0);
			segment->n_users[from]--;
		}
		if (to != BYTES_FREE)
			segment->n_users[to]++;
		capacity_counters_move(counters, before, strongest(segment), segment->len);
	}
	heal(states, offset);
	heal(states, end);
}
