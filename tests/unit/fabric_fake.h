/* SPDX-License-Identifier: BSD-3-Clause */
/* A mapper that records aliases and can refuse, and shorthand to program a fabric. */
#ifndef TESTS_FABRIC_FAKE_H
#define TESTS_FABRIC_FAKE_H

#include "cxl/component.h"
#include "fabric/fabric.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MIB256 (UINT64_C(256) << 20)
#define HDM    0x1200u /* where the host bridge has its HDM capability; found */

typedef struct FakeMapper {
	GMutex lock;
	GTree *aliases;  /* FabricAlias by HPA */
	unsigned n_maps; /* calls since fake_fail_at() */
	unsigned fail_at;
	unsigned n_unmaps, n_cuts;
} FakeMapper;

static gint fake_compare(gconstpointer a, gconstpointer b, gpointer data)
{
	const FabricAlias *x = a, *y = b;

	return (x->hpa > y->hpa) - (x->hpa < y->hpa);
}

static void fake_init(FakeMapper *fake)
{
	*fake = (FakeMapper){ 0 };
	g_mutex_init(&fake->lock);
	fake->aliases = g_tree_new_full(fake_compare, NULL, g_free, NULL);
}

static void fake_clear(FakeMapper *fake)
{
	g_assert_cmpint(g_tree_nnodes(fake->aliases), ==, 0);
	g_tree_unref(fake->aliases);
	g_mutex_clear(&fake->lock);
}

/* The K-th map() from now on fails, counting from 1; 0: none. */
static inline void fake_fail_at(FakeMapper *fake, unsigned k)
{
	fake->n_maps = 0;
	fake->fail_at = k;
}

static const FabricAlias *fake_at_or_below(FakeMapper *fake, uint64_t hpa)
{
	FabricAlias key = { .hpa = hpa };
	GTreeNode *above = g_tree_upper_bound(fake->aliases, &key);
	GTreeNode *node = above ? g_tree_node_previous(above) : g_tree_node_last(fake->aliases);

	return node ? g_tree_node_key(node) : NULL;
}

static inline const FabricAlias *fake_find(FakeMapper *fake, uint64_t hpa)
{
	const FabricAlias *alias = fake_at_or_below(fake, hpa);

	return alias && hpa - alias->hpa < alias->len ? alias : NULL;
}

static void fake_insert(FakeMapper *fake, FabricAlias alias)
{
	const FabricAlias *below = fake_at_or_below(fake, alias.hpa + alias.len - 1);

	g_assert_cmpuint(alias.len, >, 0);
	g_assert_cmpuint((alias.hpa | alias.len | alias.offset | (uintptr_t)alias.hva) % 4096, ==,
			 0);
	g_assert_true(!below || below->hpa + below->len <= alias.hpa);
	g_tree_insert(fake->aliases, g_memdup2(&alias, sizeof(alias)), NULL);
}

/* The alias must be known exactly as it is given. */
static void fake_remove(FakeMapper *fake, const FabricAlias *alias)
{
	const FabricAlias *known = fake_at_or_below(fake, alias->hpa);

	g_assert_nonnull(known);
	g_assert_cmpuint(known->hpa, ==, alias->hpa);
	g_assert_cmpuint(known->len, ==, alias->len);
	g_assert_cmpuint(known->dpa, ==, alias->dpa);
	g_assert_cmpuint(known->offset, ==, alias->offset);
	g_assert_cmpuint(known->map_id, ==, alias->map_id);
	g_tree_remove(fake->aliases, alias);
}

static int fake_map(void *opaque, const FabricAlias *alias)
{
	FakeMapper *fake = opaque;
	int ret = 0;

	g_mutex_lock(&fake->lock);
	if (++fake->n_maps == fake->fail_at)
		ret = -ENOSPC;
	else
		fake_insert(fake, *alias);
	g_mutex_unlock(&fake->lock);
	return ret;
}

static void fake_unmap(void *opaque, const FabricAlias *alias)
{
	FakeMapper *fake = opaque;

	g_mutex_lock(&fake->lock);
	fake->n_unmaps++;
	fake_remove(fake, alias);
	g_mutex_unlock(&fake->lock);
}

static FabricAlias fake_sub(const FabricAlias *alias, uint64_t skip, uint64_t len)
{
	FabricAlias sub = *alias;

	sub.hpa += skip;
	sub.dpa += skip;
	sub.offset += skip;
	sub.hva = (uint8_t *)sub.hva + skip;
	sub.len = len;
	return sub;
}

static void fake_cut(void *opaque, const FabricAlias *alias, uint64_t hpa, uint64_t len)
{
	FakeMapper *fake = opaque;
	FabricAlias whole = *alias;
	uint64_t from = hpa - whole.hpa, to = from + len;

	g_mutex_lock(&fake->lock);
	fake->n_cuts++;
	g_assert_cmpuint(len, >, 0);
	g_assert_cmpuint(to, <=, whole.len);
	fake_remove(fake, &whole);
	if (from > 0)
		fake_insert(fake, fake_sub(&whole, 0, from));
	if (to < whole.len)
		fake_insert(fake, fake_sub(&whole, to, whole.len - to));
	g_mutex_unlock(&fake->lock);
}

static inline Fabric *fake_fabric(FakeMapper *fake, const FabricConfig *config, bool can_cut)
{
	FabricMapper mapper = { .map = fake_map,
				.unmap = fake_unmap,
				.cut = can_cut ? fake_cut : NULL };
	g_autoptr(GError) error = NULL;
	Fabric *fabric;

	fake_init(fake);
	fabric = fabric_new(config, &mapper, fake, &error);
	g_assert_no_error(error);
	return fabric;
}

/* ---- Host bridge decoders ---- */

static uint32_t chbcr_get(Fabric *fabric, uint32_t uid, uint32_t offset)
{
	uint8_t buf[4];

	fabric_chbcr_read(fabric, uid, offset, buf, 4);
	return le32_load(buf);
}

static void chbcr_put(Fabric *fabric, uint32_t uid, uint32_t offset, uint32_t value)
{
	uint8_t buf[4];

	le32_store(buf, value);
	fabric_chbcr_write(fabric, uid, offset, buf, 4);
}

typedef struct FakeBridgeDecoder {
	unsigned index;
	uint64_t hpa, len;
	unsigned ways;        /* 0 = 1 */
	uint32_t granularity; /* 0 = 256 */
	uint8_t targets[8];
} FakeBridgeDecoder;

/* As Linux does it; true if it says COMMITTED. */
static inline bool bridge_commit(Fabric *fabric, uint32_t uid, const FakeBridgeDecoder *decoder)
{
	unsigned i = decoder->index;
	uint32_t ctrl;

	chbcr_put(fabric, uid, HDM + CXL_HDM_BASE_HI(i), (uint32_t)(decoder->hpa >> 32));
	chbcr_put(fabric, uid, HDM + CXL_HDM_BASE_LO(i), (uint32_t)decoder->hpa);
	chbcr_put(fabric, uid, HDM + CXL_HDM_SIZE_HI(i), (uint32_t)(decoder->len >> 32));
	chbcr_put(fabric, uid, HDM + CXL_HDM_SIZE_LO(i), (uint32_t)decoder->len);
	chbcr_put(fabric, uid, HDM + CXL_HDM_TARGET_HI(i), le32_load(decoder->targets + 4));
	chbcr_put(fabric, uid, HDM + CXL_HDM_TARGET_LO(i), le32_load(decoder->targets));
	ctrl = CXL_FIELD_PUT(CXL_HDM_DEC_IW,
			     (uint32_t)cxl_iw_encode(decoder->ways ? decoder->ways : 1)) |
	       CXL_FIELD_PUT(
		       CXL_HDM_DEC_IG,
		       (uint32_t)cxl_ig_encode(decoder->granularity ? decoder->granularity : 256)) |
	       CXL_HDM_DEC_HOST_ONLY | CXL_HDM_DEC_COMMIT;
	chbcr_put(fabric, uid, HDM + CXL_HDM_DEC_CTRL(i), ctrl);
	ctrl = chbcr_get(fabric, uid, HDM + CXL_HDM_DEC_CTRL(i));
	g_assert_true(!(ctrl & CXL_HDM_DEC_COMMITTED) != !(ctrl & CXL_HDM_DEC_ERROR));
	return ctrl & CXL_HDM_DEC_COMMITTED;
}

static inline void bridge_take_back(Fabric *fabric, uint32_t uid, unsigned index)
{
	uint32_t ctrl = chbcr_get(fabric, uid, HDM + CXL_HDM_DEC_CTRL(index));

	chbcr_put(fabric, uid, HDM + CXL_HDM_DEC_CTRL(index), ctrl & ~CXL_HDM_DEC_COMMIT);
	ctrl = chbcr_get(fabric, uid, HDM + CXL_HDM_DEC_CTRL(index));
	g_assert_cmpuint(ctrl & (CXL_HDM_DEC_COMMITTED | CXL_HDM_DEC_ERROR), ==, 0);
}

/* ---- Memory to lend ---- */

static inline int fake_memory(uint64_t len)
{
	int fd = memfd_create("fabric-test", MFD_CLOEXEC);

	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(ftruncate(fd, (off_t)len), ==, 0);
	return fd;
}

#endif
