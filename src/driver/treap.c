/* SPDX-License-Identifier: BSD-3-Clause */
/* A treap: a search tree that is a heap of random priorities, hence shallow. */
#include "driver/treap.h"

void treap_init(Treap *treap, int (*compare)(const TreapNode *a, const TreapNode *b))
{
	treap->root = NULL;
	treap->compare = compare;
	treap->random = 0x9e3779b9;
}

TreapNode *treap_find(const Treap *treap, const TreapNode *key)
{
	TreapNode *node = treap->root;
	TreapNode *found = NULL;

	while (node) {
		int order = treap->compare(key, node);

		if (order == 0)
			found = node;
		node = node->child[order > 0];
	}
	return found;
}

/* Everything below KEY to *LESS, the rest to *MORE; no member equals KEY. */
static void split(const Treap *treap, TreapNode *node, const TreapNode *key, TreapNode **less,
		  TreapNode **more)
{
	while (node) {
		if (treap->compare(key, node) > 0) {
			*less = node;
			less = &node->child[1];
			node = node->child[1];
		} else {
			*more = node;
			more = &node->child[0];
			node = node->child[0];
		}
	}
	*less = NULL;
	*more = NULL;
}

bool treap_insert(Treap *treap, TreapNode *node)
{
	TreapNode **slot = &treap->root;

	if (treap_find(treap, node))
		return false;
	treap->random ^= treap->random << 13;
	treap->random ^= treap->random >> 17;
	treap->random ^= treap->random << 5;
	node->priority = treap->random;
	while (*slot && (*slot)->priority >= node->priority)
		slot = &(*slot)->child[treap->compare(node, *slot) > 0];
	split(treap, *slot, node, &node->child[0], &node->child[1]);
	*slot = node;
	return true;
}

void treap_remove(Treap *treap, TreapNode *node)
{
	TreapNode **slot = &treap->root;
	TreapNode *less = node->child[0];
	TreapNode *more = node->child[1];

	while (*slot != node)
		slot = &(*slot)->child[treap->compare(node, *slot) > 0];
	while (less && more) {
		if (less->priority >= more->priority) {
			*slot = less;
			slot = &less->child[1];
			less = less->child[1];
		} else {
			*slot = more;
			slot = &more->child[0];
			more = more->child[0];
		}
	}
	*slot = less ? less : more;
}
