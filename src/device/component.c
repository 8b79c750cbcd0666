/* SPDX-License-Identifier: BSD-3-Clause */
/* Component register block: 64 KiB with the RAS and HDM decoder capabilities. */
#include "device/component.h"
#include <string.h>

/* Where the capabilities stand, from CXL_COMPONENT_CACHEMEM */
#define RAS_PTR 0x080u
#define HDM_PTR 0x100u
#define N_CAPS  2

CXL_STATIC_ASSERT(RAS_PTR + CXL_RAS_LEN <= HDM_PTR);

typedef struct RasRegs {
	uint32_t ue_status;
	uint32_t ue_mask;
	uint32_t ue_severity;
	uint32_t ce_status;
	uint32_t ce_mask;
	uint32_t caps_ctrl;
} RasRegs;

static const RasRegs ras_after_reset = {
	.ue_mask = CXL_RAS_UE_ALL,
	.ue_severity = CXL_RAS_UE_ALL,
	.ce_mask = CXL_RAS_CE_ALL,
};

struct Component {
	RasRegs ras;
	Hdm *hdm;
};

Component *component_new(unsigned n_decoders, uint64_t dpa_len, const HdmOps *ops, void *opaque)
{
	Component *component = g_new0(Component, 1);

	component->ras = ras_after_reset;
	component->hdm = hdm_new(n_decoders, dpa_len, ops, opaque);
	g_assert(HDM_PTR + hdm_len(component->hdm) <= CXL_COMPONENT_CACHEMEM_LEN);
	return component;
}

void component_free(Component *component)
{
	if (component == NULL)
		return;
	hdm_free(component->hdm);
	g_free(component);
}

Hdm *component_peek_hdm(Component *component)
{
	return component->hdm;
}

static uint32_t ras_read(const RasRegs *ras, uint32_t reg)
{
	switch (reg) {
	case CXL_RAS_UE_STATUS:
		return ras->ue_status;
	case CXL_RAS_UE_MASK:
		return ras->ue_mask;
	case CXL_RAS_UE_SEVERITY:
		return ras->ue_severity;
	case CXL_RAS_CE_STATUS:
		return ras->ce_status;
	case CXL_RAS_CE_MASK:
		return ras->ce_mask;
	case CXL_RAS_CAPS_CTRL:
		return ras->caps_ctrl;
	default:
		return 0;
	}
}

static void set_bits(uint32_t *reg, uint32_t exists, uint32_t value, uint32_t mask)
{
	*reg = (*reg & ~(exists & mask)) | (value & exists & mask);
}

static void ras_write(RasRegs *ras, uint32_t reg, uint32_t value, uint32_t mask)
{
	switch (reg) {
	case CXL_RAS_UE_STATUS:
		ras->ue_status &= ~(value & mask);
		/* The first error pointer means something only while an error is logged */
		if (ras->ue_status == 0)
			ras->caps_ctrl = 0;
		break;
	case CXL_RAS_UE_MASK:
		set_bits(&ras->ue_mask, CXL_RAS_UE_ALL, value, mask);
		break;
	case CXL_RAS_UE_SEVERITY:
		set_bits(&ras->ue_severity, CXL_RAS_UE_ALL, value, mask);
		break;
	case CXL_RAS_CE_STATUS:
		ras->ce_status &= ~(value & mask);
		break;
	case CXL_RAS_CE_MASK:
		set_bits(&ras->ce_mask, CXL_RAS_CE_ALL, value, mask);
		break;
	default:
		break;
	}
}

void component_raise_ras(Component *component, uint32_t uncorrectable, uint32_t correctable)
{
	RasRegs *ras = &component->ras;

	uncorrectable &= CXL_RAS_UE_ALL;
	if (ras->ue_status == 0 && uncorrectable != 0)
		ras->caps_ctrl = CXL_FIELD_PUT(CXL_RAS_FIRST_ERROR,
					       (uint32_t)__builtin_ctz(uncorrectable));
	ras->ue_status |= uncorrectable;
	ras->ce_status |= correctable & CXL_RAS_CE_ALL;
}

/* The capability a dword of the block belongs to; its offset there in RET_REG. */
static unsigned find_cap(const Component *component, uint32_t offset, uint32_t *ret_reg)
{
	uint32_t ptr = offset - CXL_COMPONENT_CACHEMEM;

	if (offset < CXL_COMPONENT_CACHEMEM)
		return CXL_CM_ID_NULL;
	if (ptr <= 4 * N_CAPS) {
		*ret_reg = ptr;
		return CXL_CM_ID_CXL;
	}
	if (ptr >= RAS_PTR && ptr < RAS_PTR + CXL_RAS_LEN) {
		*ret_reg = ptr - RAS_PTR;
		return CXL_CM_ID_RAS;
	}
	if (ptr >= HDM_PTR && ptr < HDM_PTR + hdm_len(component->hdm)) {
		*ret_reg = ptr - HDM_PTR;
		return CXL_CM_ID_HDM;
	}
	return CXL_CM_ID_NULL;
}

static uint32_t read_dword(const Component *component, uint32_t offset)
{
	static const uint32_t caps[] = {
		CXL_CM_ARRAY_HEADER(N_CAPS),
		CXL_CM_CAP_HEADER(CXL_CM_ID_RAS, CXL_CM_RAS_VERSION, RAS_PTR),
		CXL_CM_CAP_HEADER(CXL_CM_ID_HDM, CXL_CM_HDM_VERSION, HDM_PTR),
	};
	uint32_t reg;

	G_STATIC_ASSERT(G_N_ELEMENTS(caps) == 1 + N_CAPS);
	switch (find_cap(component, offset, &reg)) {
	case CXL_CM_ID_CXL:
		return caps[reg / 4];
	case CXL_CM_ID_RAS:
		return ras_read(&component->ras, reg);
	case CXL_CM_ID_HDM:
		return hdm_read(component->hdm, reg);
	default:
		return 0;
	}
}

static void write_dword(Component *component, uint32_t offset, uint32_t value, uint32_t mask)
{
	uint32_t reg;

	switch (find_cap(component, offset, &reg)) {
	case CXL_CM_ID_RAS:
		ras_write(&component->ras, reg, value, mask);
		break;
	case CXL_CM_ID_HDM:
		hdm_write(component->hdm, reg, value, mask);
		break;
	default:
		break;
	}
}

void component_read(const Component *component, uint32_t offset, void *buf, uint32_t len)
{
	uint8_t *dst = buf;

	while (len > 0) {
		uint32_t skip = offset % 4, n = MIN(len, 4 - skip);
		uint8_t bytes[4];

		le32_store(bytes, read_dword(component, offset - skip));
		memcpy(dst, bytes + skip, n);
		dst += n;
		offset += n;
		len -= n;
	}
}

void component_write(Component *component, uint32_t offset, const void *buf, uint32_t len)
{
	const uint8_t *src = buf;

	while (len > 0) {
		uint32_t skip = offset % 4, n = MIN(len, 4 - skip);
		uint8_t value[4] = { 0 }, mask[4] = { 0 };

		memcpy(value + skip, src, n);
		memset(mask + skip, 0xff, n);
		write_dword(component, offset - skip, le32_load(value), le32_load(mask));
		src += n;
		offset += n;
		len -= n;
	}
}

void component_reset(Component *component, bool new_host)
{
	component->ras = ras_after_reset;
	hdm_reset(component->hdm, new_host);
}

/* ---- saved state ---- */

typedef struct RasState {
	le32 ue_status;
	le32 ue_mask;
	le32 ue_severity;
	le32 ce_status;
	le32 ce_mask;
	le32 first_error;
} RasState;

void component_save(const Component *component, GByteArray *out)
{
	const RasRegs *ras = &component->ras;
	RasState state = {
		.ue_status = le32_put(ras->ue_status),
		.ue_mask = le32_put(ras->ue_mask),
		.ue_severity = le32_put(ras->ue_severity),
		.ce_status = le32_put(ras->ce_status),
		.ce_mask = le32_put(ras->ce_mask),
		.first_error = le32_put(ras->caps_ctrl),
	};

	state_put(out, &state, sizeof(state));
	hdm_save(component->hdm, out);
}

bool component_load(Component *component, StateReader *in, bool apply)
{
	const RasState *state = state_take(in, sizeof(*state));
	RasRegs ras;

	if (state == NULL)
		return false;
	ras = (RasRegs){
		.ue_status = le32_get(state->ue_status),
		.ue_mask = le32_get(state->ue_mask),
		.ue_severity = le32_get(state->ue_severity),
		.ce_status = le32_get(state->ce_status),
		.ce_mask = le32_get(state->ce_mask),
		.caps_ctrl = le32_get(state->first_error),
	};
	if (((ras.ue_status | ras.ue_mask | ras.ue_severity) & ~CXL_RAS_UE_ALL) != 0 ||
	    ((ras.ce_status | ras.ce_mask) & ~CXL_RAS_CE_ALL) != 0 ||
	    (ras.caps_ctrl & ~CXL_RAS_FIRST_ERROR) != 0)
		return false;
	if (apply)
		component->ras = ras;
	return hdm_load(component->hdm, in, apply);
}
