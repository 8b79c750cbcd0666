/* SPDX-License-Identifier: BSD-3-Clause */
/* An ordered set whose links live in its members: inserting and removing cannot fail. */
#ifndef DRIVER_TREAP_H
#define DRIVER_TREAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A treap. COMPARE may call an overlap equal: among disjoint ranges, finding an overlap is then a
 * look-up. Comparing a member with a key built for the look-up must work.
 */
typedef struct TreapNode {
	struct TreapNode *child[2];
	uint32_t priority;
} TreapNode;

typedef struct Treap {
	TreapNode *root;
	int (*compare)(const TreapNode *a, const TreapNode *b);
	uint32_t random;
} Treap;

void treap_init(Treap *treap, int (*compare)(const TreapNode *a, const TreapNode *b));
/* The first member equal to KEY, or NULL */
TreapNode *treap_find(const Treap *treap, const TreapNode *key);
/* False, and nothing happens, if a member equal to NODE is there. */
bool treap_insert(Treap *treap, TreapNode *node);
/* NODE must be a member. */
void treap_remove(Treap *treap, TreapNode *node);

#define treap_entry(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

#endif
