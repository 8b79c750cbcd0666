/* SPDX-License-Identifier: BSD-3-Clause */
/* A host side for HDM decoders that answers as a test tells it, and register access as Linux does.
 */
#ifndef TEST_HDM_FAKE_H
#define TEST_HDM_FAKE_H

#include "device/component.h"

#define MIB_256   (UINT64_C(256) << 20)
#define N         DEVICE_N_DECODERS
#define CAP_BASE  CXL_COMPONENT_CACHEMEM
#define MAX_CALLS 4096

typedef enum FakeMode {
	ANSWER_YES,
	ANSWER_NO,
	ANSWER_LATER
} FakeMode;

typedef struct Call {
	uint64_t req;
	HdmDecoder decoder;
	bool answered;
} Call;

/* A host side that answers as told and keeps a mirror of what it has mapped. */
typedef struct Fake {
	Component *component;
	FakeMode mode;
	uint64_t now_us;
	unsigned n_deadline_changed;
	unsigned n_calls;
	Call calls[MAX_CALLS];
	HdmDecoder mapped[N];
	uint32_t hdm; /* offset of the HDM capability */
	uint32_t ras;
} Fake;

static inline void answer(Fake *fake, unsigned call, bool ok)
{
	Call *c = &fake->calls[call];

	/* What the host side did is done once; a repeated answer is noise */
	if (ok && !c->answered)
		fake->mapped[c->decoder.index] = c->decoder;
	c->answered = true;
	hdm_done(component_peek_hdm(fake->component), c->req, ok);
}

static inline void fake_decoder(void *opaque, uint64_t req, const HdmDecoder *decoder)
{
	Fake *fake = opaque;
	unsigned call = fake->n_calls % MAX_CALLS;

	fake->calls[call] = (Call){ req, *decoder, false };
	fake->n_calls++;
	if (fake->mode != ANSWER_LATER)
		answer(fake, call, fake->mode == ANSWER_YES);
}

static inline uint64_t fake_now_us(void *opaque)
{
	return ((Fake *)opaque)->now_us;
}

static inline void fake_deadline_changed(void *opaque)
{
	((Fake *)opaque)->n_deadline_changed++;
}

static const HdmOps fake_ops = { fake_decoder, fake_now_us, fake_deadline_changed };

static inline uint32_t rd(Fake *fake, uint32_t offset)
{
	uint8_t b[4];

	component_read(fake->component, offset, b, 4);
	return le32_load(b);
}

static inline void wr(Fake *fake, uint32_t offset, uint32_t value)
{
	uint8_t b[4];

	le32_store(b, value);
	component_write(fake->component, offset, b, 4);
}

/* Finds a capability the way Linux's cxl_probe_component_regs does. */
static inline uint32_t find_cap(Fake *fake, unsigned id)
{
	uint32_t array = rd(fake, CAP_BASE);

	g_assert_cmpuint(CXL_FIELD_GET(CXL_CM_ARRAY_ID, array), ==, 1);
	for (unsigned n = 1; n <= CXL_FIELD_GET(CXL_CM_ARRAY_COUNT, array); n++) {
		uint32_t cap = rd(fake, CAP_BASE + 4 * n);

		if (CXL_FIELD_GET(CXL_CM_CAP_ID, cap) == id)
			return CAP_BASE + CXL_FIELD_GET(CXL_CM_CAP_PTR, cap);
	}
	return 0;
}

static inline Fake *fake_new(uint64_t dpa_len)
{
	Fake *fake = g_new0(Fake, 1);

	fake->component = component_new(N, dpa_len, &fake_ops, fake);
	fake->hdm = find_cap(fake, CXL_CM_ID_HDM);
	fake->ras = find_cap(fake, CXL_CM_ID_RAS);
	return fake;
}

static inline void fake_free(Fake *fake)
{
	component_free(fake->component);
	g_free(fake);
}

static inline uint32_t ctrl(Fake *fake, unsigned i)
{
	return rd(fake, fake->hdm + CXL_HDM_DEC_CTRL(i));
}

#define STATE_BITS                   (CXL_HDM_DEC_COMMIT | CXL_HDM_DEC_COMMITTED | CXL_HDM_DEC_ERROR)
#define GOOD                         (CXL_HDM_DEC_COMMIT | CXL_HDM_DEC_COMMITTED)
#define BAD                          (CXL_HDM_DEC_COMMIT | CXL_HDM_DEC_ERROR)
#define assert_state(fake, i, state) g_assert_cmphex(ctrl(fake, i) & STATE_BITS, ==, (state))

typedef struct Setting {
	uint64_t base, size, skip;
	unsigned ways;
	uint32_t granularity;
	uint32_t extra; /* control bits */
} Setting;

/* The order of writes is Linux's, setup_hw_decoder(). */
static inline void commit(Fake *fake, unsigned i, const Setting *s)
{
	uint32_t h = fake->hdm;
	int iw = cxl_iw_encode(s->ways ? s->ways : 1);
	int ig = cxl_ig_encode(s->granularity ? s->granularity : 256);

	wr(fake, h + CXL_HDM_BASE_HI(i), (uint32_t)(s->base >> 32));
	wr(fake, h + CXL_HDM_BASE_LO(i), (uint32_t)s->base);
	wr(fake, h + CXL_HDM_SIZE_HI(i), (uint32_t)(s->size >> 32));
	wr(fake, h + CXL_HDM_SIZE_LO(i), (uint32_t)s->size);
	wr(fake, h + CXL_HDM_SKIP_HI(i), (uint32_t)(s->skip >> 32));
	wr(fake, h + CXL_HDM_SKIP_LO(i), (uint32_t)s->skip);
	wr(fake, h + CXL_HDM_DEC_CTRL(i),
	   CXL_FIELD_PUT(CXL_HDM_DEC_IG, (uint32_t)ig) |
		   CXL_FIELD_PUT(CXL_HDM_DEC_IW, (uint32_t)iw) | CXL_HDM_DEC_HOST_ONLY |
		   CXL_HDM_DEC_COMMIT | s->extra);
}

/* Linux's cxl_decoder_reset(): clears the bit, then the registers, without waiting. */
static inline void uncommit(Fake *fake, unsigned i)
{
	uint32_t h = fake->hdm;

	wr(fake, h + CXL_HDM_DEC_CTRL(i), ctrl(fake, i) & ~CXL_HDM_DEC_COMMIT);
	wr(fake, h + CXL_HDM_SIZE_HI(i), 0);
	wr(fake, h + CXL_HDM_SIZE_LO(i), 0);
	wr(fake, h + CXL_HDM_BASE_HI(i), 0);
	wr(fake, h + CXL_HDM_BASE_LO(i), 0);
}

#endif
