/* SPDX-License-Identifier: BSD-3-Clause */
/* Host bridge: its component register block (CHBCR) with HDM decoders that really decode. */

/*
 * Design. The decoder registers are plain bytes, which while a decoder has COMMIT set are not
 * writable but for COMMIT itself. A write is carried out dword by dword, and after each dword the
 * decoder it belongs to is looked at: COMMIT newly set commits, newly cleared takes back, both
 * before the write returns. Committed ranges decode whatever the global enable bit says: Linux:
 * never sets it on host bridges (7.3, cxl_hdm_decode_init).
 */

#include "fabric/fabric_priv.h"
#include <gio/gio.h>
#include <string.h>

#define TARGET_COUNT_CODE 8u /* ports a decoder can interleave over */

/* Bits of the control register software may set; HOST_ONLY too, but it changes nothing. */
#define CTRL_SETTINGS (CXL_HDM_DEC_IG | CXL_HDM_DEC_IW | CXL_HDM_DEC_LOCK | CXL_HDM_DEC_HOST_ONLY)

static uint32_t get_reg(const Bridge *bridge, unsigned offset)
{
	return reg_block_get(&bridge->regs, COMPONENT_HDM + offset, 4);
}

/* Changes bits that software cannot, or not now. */
static void set_ctrl_bits(Bridge *bridge, unsigned index, uint32_t clear, uint32_t set)
{
	uint32_t ctrl = (get_reg(bridge, CXL_HDM_DEC_CTRL(index)) & ~clear) | set;

	le32_store(bridge->regs.value + COMPONENT_HDM + CXL_HDM_DEC_CTRL(index), ctrl);
}

static void set_frozen(Bridge *bridge, unsigned index, bool frozen, bool locked)
{
	uint8_t *writable = bridge->regs.writable + COMPONENT_HDM;
	uint32_t low = frozen ? 0 : CXL_HDM_ADDR_LO_MASK;
	uint32_t all = frozen ? 0 : UINT32_MAX;

	le32_store(writable + CXL_HDM_BASE_LO(index), low);
	le32_store(writable + CXL_HDM_BASE_HI(index), all);
	le32_store(writable + CXL_HDM_SIZE_LO(index), low);
	le32_store(writable + CXL_HDM_SIZE_HI(index), all);
	le32_store(writable + CXL_HDM_TARGET_LO(index), all);
	le32_store(writable + CXL_HDM_TARGET_HI(index), all);
	le32_store(writable + CXL_HDM_DEC_CTRL(index),
		   (frozen ? 0 : CTRL_SETTINGS) | (locked ? 0 : CXL_HDM_DEC_COMMIT));
}

bool host_bridge_init(Bridge *bridge, Fabric *fabric, const FabricHostBridge *config,
		      GError **error)
{
	uint32_t hdm_cap;

	if (config->n_ports == 0 || config->n_ports > FABRIC_MAX_PORTS ||
	    cxl_hdm_count_encode(config->n_decoders) < 0 || config->bus_first > config->bus_last) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
			    "host bridge %u, buses %u-%u: %u ports (1-%d) or %u decoders (1, 2-16 "
			    "even, 20-32 by 4) cannot be",
			    config->uid, config->bus_first, config->bus_last, config->n_ports,
			    FABRIC_MAX_PORTS, config->n_decoders);
		return false;
	}
	bridge->fabric = fabric;
	bridge->config = *config;
	g_mutex_init(&bridge->lock);
	component_block_init(&bridge->regs, config->n_decoders);
	hdm_cap = CXL_FIELD_PUT(CXL_HDM_CAP_COUNT,
				(uint32_t)cxl_hdm_count_encode(config->n_decoders)) |
		  CXL_FIELD_PUT(CXL_HDM_CAP_TARGETS, TARGET_COUNT_CODE) |
		  CXL_HDM_CAP_INTERLEAVE_11_8 | CXL_HDM_CAP_INTERLEAVE_14_12;
	reg_block_define(&bridge->regs, COMPONENT_HDM + CXL_HDM_CAP, 4, hdm_cap, 0, 0);
	reg_block_define(&bridge->regs, COMPONENT_HDM + CXL_HDM_CTRL, 4, 0,
			 CXL_HDM_CTRL_POISON_ON_ERROR | CXL_HDM_CTRL_ENABLE, 0);
	for (unsigned i = 0; i < config->n_decoders; i++)
		set_frozen(bridge, i, false, false);
	for (unsigned i = 0; i < config->n_ports; i++)
		root_port_init(&bridge->ports[i], i);
	return true;
}

void host_bridge_clear(Bridge *bridge)
{
	for (unsigned i = 0; i < bridge->config.n_ports; i++)
		root_port_clear(&bridge->ports[i]);
	reg_block_clear(&bridge->regs);
	g_mutex_clear(&bridge->lock);
}

/* ---- Commit rules ---- */

static bool decode_targets(const Bridge *bridge, unsigned index, BridgeDecoder *decoder)
{
	unsigned ways = decoder->interleave.ways;

	if (ways > CXL_HDM_MAX_TARGETS || (ways & (ways - 1)) != 0)
		return false;
	memcpy(decoder->targets, bridge->regs.value + COMPONENT_HDM + CXL_HDM_TARGET_LO(index),
	       CXL_HDM_MAX_TARGETS);
	for (unsigned i = 0; i < ways; i++) {
		if (decoder->targets[i] >= bridge->config.n_ports)
			return false;
		/* Twice the same port would be two addresses of one byte. */
		for (unsigned j = 0; j < i; j++) {
			if (decoder->targets[j] == decoder->targets[i])
				return false;
		}
	}
	return true;
}

/* CXL 3.1 8.2.4.20.12: what the registers say, if it may be committed. */
static bool decode_registers(const Bridge *bridge, unsigned index, BridgeDecoder *ret)
{
	uint32_t ctrl = get_reg(bridge, CXL_HDM_DEC_CTRL(index));

	*ret = (BridgeDecoder){
		.committed = true,
		.hpa = (uint64_t)get_reg(bridge, CXL_HDM_BASE_HI(index)) << 32 |
		       get_reg(bridge, CXL_HDM_BASE_LO(index)),
		.len = (uint64_t)get_reg(bridge, CXL_HDM_SIZE_HI(index)) << 32 |
		       get_reg(bridge, CXL_HDM_SIZE_LO(index)),
		.interleave = { cxl_iw_decode(CXL_FIELD_GET(CXL_HDM_DEC_IW, ctrl)),
				cxl_ig_decode(CXL_FIELD_GET(CXL_HDM_DEC_IG, ctrl)) },
	};
	if (!decode_is_valid(ret->interleave) || !decode_targets(bridge, index, ret))
		return false;
	if (ret->len == 0 || ret->len % (CXL_HDM_ALIGN * ret->interleave.ways) != 0 ||
	    ret->hpa + ret->len < ret->hpa)
		return false;
	/*
	 * In order of index and of address; of those below only the next has to be committed.
	 * Linux: others may have been taken back meanwhile (7.3, cxl_port_commit_reap).
	 */
	if (index > 0 && !bridge->decoders[index - 1].committed)
		return false;
	for (unsigned i = 0; i < bridge->config.n_decoders; i++) {
		const BridgeDecoder *other = &bridge->decoders[i];

		if (i != index && other->committed &&
		    (i > index || other->hpa + other->len > ret->hpa))
			return false;
	}
	return true;
}

static void publish(Bridge *bridge, unsigned index, const BridgeDecoder *decoder)
{
	access_lock_write_begin(&bridge->fabric->access);
	bridge->decoders[index] = *decoder;
	access_lock_write_end(&bridge->fabric->access);
}

static int update_ports(Bridge *bridge, bool best_effort)
{
	for (unsigned i = 0; i < bridge->config.n_ports; i++) {
		FabricEndpoint *ep = bridge->ports[i].endpoint;
		int ret;

		if (!ep)
			continue;
		g_mutex_lock(&ep->lock);
		ret = compose_update(ep, best_effort);
		g_mutex_unlock(&ep->lock);
		if (ret != 0)
			return ret;
	}
	return 0;
}

static void commit(Bridge *bridge, unsigned index)
{
	static const BridgeDecoder none;
	BridgeDecoder decoder;
	bool ok = decode_registers(bridge, index, &decoder);
	bool lock = get_reg(bridge, CXL_HDM_DEC_CTRL(index)) & CXL_HDM_DEC_LOCK;

	if (ok) {
		publish(bridge, index, &decoder);
		ok = update_ports(bridge, false) == 0;
		if (!ok) {
			publish(bridge, index, &none);
			update_ports(bridge, true);
		}
	}
	set_ctrl_bits(bridge, index, 0, ok ? CXL_HDM_DEC_COMMITTED : CXL_HDM_DEC_ERROR);
	set_frozen(bridge, index, true, ok && lock);
}

static void take_back(Bridge *bridge, unsigned index)
{
	static const BridgeDecoder none;

	if (bridge->decoders[index].committed) {
		publish(bridge, index, &none);
		update_ports(bridge, true);
	}
	set_ctrl_bits(bridge, index, CXL_HDM_DEC_COMMITTED | CXL_HDM_DEC_ERROR, 0);
	set_frozen(bridge, index, false, false);
}

/* ---- Registers ---- */

void fabric_chbcr_read(Fabric *fabric, uint32_t uid, uint32_t offset, void *buf, uint32_t len)
{
	Bridge *bridge = fabric_find_bridge(fabric, uid);

	memset(buf, 0xff, len);
	if (!bridge)
		return;
	g_mutex_lock(&bridge->lock);
	reg_block_read(&bridge->regs, offset, buf, len);
	g_mutex_unlock(&bridge->lock);
}

static void write_within_dword(Bridge *bridge, uint32_t offset, const uint8_t *from, uint32_t len)
{
	unsigned hdm = offset - (uint32_t)COMPONENT_HDM, index;
	bool before, after;

	if (offset < COMPONENT_HDM + CXL_HDM_DECODER(0u) ||
	    hdm >= CXL_HDM_LEN(bridge->config.n_decoders)) {
		reg_block_write(&bridge->regs, offset, from, len);
		return;
	}
	index = (hdm - CXL_HDM_DECODER(0)) / CXL_HDM_DECODER_STRIDE;
	before = get_reg(bridge, CXL_HDM_DEC_CTRL(index)) & CXL_HDM_DEC_COMMIT;
	reg_block_write(&bridge->regs, offset, from, len);
	after = get_reg(bridge, CXL_HDM_DEC_CTRL(index)) & CXL_HDM_DEC_COMMIT;
	if (after && !before)
		commit(bridge, index);
	else if (before && !after)
		take_back(bridge, index);
}

void fabric_chbcr_write(Fabric *fabric, uint32_t uid, uint32_t offset, const void *buf,
			uint32_t len)
{
	Bridge *bridge = fabric_find_bridge(fabric, uid);
	const uint8_t *from = buf;

	if (!bridge)
		return;
	g_mutex_lock(&bridge->lock);
	while (len > 0 && offset < CXL_COMPONENT_LEN) {
		uint32_t n = MIN(len, 4 - offset % 4);

		write_within_dword(bridge, offset, from, n);
		offset += n;
		from += n;
		len -= n;
	}
	g_mutex_unlock(&bridge->lock);
}
