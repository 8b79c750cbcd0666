/* SPDX-License-Identifier: BSD-3-Clause */
/* HDM decoders of the endpoint: registers, commit rules, and agreement with the host side. */
#include "device/hdm.h"
#include "cxl/component.h"

typedef enum HdmRequest {
	HDM_NO_REQUEST,
	HDM_COMMIT,
	HDM_TAKE_BACK
} HdmRequest;

/* Bits of the control register a host may set; HOST_ONLY is fixed: there is no other kind here. */
#define CTRL_SETTINGS (CXL_HDM_DEC_IG | CXL_HDM_DEC_IW | CXL_HDM_DEC_LOCK)

typedef struct Decoder {
	/* What the registers say */
	uint64_t base;
	uint64_t size;
	uint64_t skip;
	uint32_t settings; /* CTRL_SETTINGS */
	bool wanted;       /* COMMIT */
	bool committed;
	bool error;
	uint64_t deadline_us; /* for committed to become what is wanted */
	/* The host side */
	HdmDecoder asked; /* what it was last asked to commit */
	bool host_live;   /* it may have that mapped */
	bool refused; /* it said no to taking it back: ask again only when the host software does */
	HdmRequest request;
	uint64_t req;
	bool stale; /* the commit under way is no longer wanted */
} Decoder;

struct Hdm {
	HdmOps ops;
	void *opaque;
	uint64_t dpa_len;
	uint32_t global_ctrl;
	uint64_t last_req;
	bool stepping;
	bool step_again;
	unsigned n_decoders;
	Decoder decoders[];
};

Hdm *hdm_new(unsigned n_decoders, uint64_t dpa_len, const HdmOps *ops, void *opaque)
{
	Hdm *hdm = g_malloc0(sizeof(Hdm) + n_decoders * sizeof(Decoder));

	g_assert(cxl_hdm_count_encode(n_decoders) >= 0);
	hdm->ops = *ops;
	hdm->opaque = opaque;
	hdm->dpa_len = dpa_len;
	hdm->n_decoders = n_decoders;
	for (unsigned i = 0; i < n_decoders; i++) {
		hdm->decoders[i].asked.index = i;
		hdm->decoders[i].deadline_us = UINT64_MAX;
	}
	return hdm;
}

void hdm_free(Hdm *hdm)
{
	g_free(hdm);
}

unsigned hdm_len(const Hdm *hdm)
{
	return CXL_HDM_LEN(hdm->n_decoders);
}

/* ---- commit rules ---- */

/* CXL 3.1 8.2.4.20.12. Fills RET with what the registers mean if they may be committed. */
static bool decode(const Hdm *hdm, unsigned index, HdmDecoder *ret)
{
	const Decoder *d = &hdm->decoders[index];
	unsigned ways = cxl_iw_decode(CXL_FIELD_GET(CXL_HDM_DEC_IW, d->settings));
	uint32_t granularity = cxl_ig_decode(CXL_FIELD_GET(CXL_HDM_DEC_IG, d->settings));
	uint64_t dpa = d->skip, share;

	if (ways == 0 || granularity == 0)
		return false;
	/* Every target's share is whole 256 MiB: the DPA of the next decoder must be expressible */
	if (d->size == 0 || d->size % (ways * CXL_HDM_ALIGN) != 0 || d->base + d->size < d->base)
		return false;
	share = d->size / ways;

	/*
	 * Strictly in order of index, of HPA, and of DPA; skips count from the decoder below. Only
	 * that one has to be committed. Linux: those further down may have been taken back since
	 * (7.3, cxl_port_commit_reap).
	 */
	for (unsigned i = index + 1; i < hdm->n_decoders; i++) {
		if (hdm->decoders[i].host_live)
			return false;
	}
	if (index > 0) {
		const HdmDecoder *below = &hdm->decoders[index - 1].asked;

		if (!hdm->decoders[index - 1].committed || d->base < below->hpa + below->len)
			return false;
		dpa += below->dpa + below->len / below->ways;
		if (dpa < d->skip)
			return false;
	}
	if (dpa > hdm->dpa_len || share > hdm->dpa_len - dpa)
		return false;

	*ret = (HdmDecoder){
		.index = index,
		.committed = true,
		.hpa = d->base,
		.len = d->size,
		.dpa = dpa,
		.ways = ways,
		.granularity = granularity,
	};
	return true;
}

/* ---- agreement with the host side ---- */

static void ask(Hdm *hdm, Decoder *d, HdmRequest request)
{
	HdmDecoder wanted = d->asked;

	wanted.committed = request == HDM_COMMIT;
	d->request = request;
	d->stale = false;
	d->req = ++hdm->last_req;
	hdm->ops.decoder(hdm->opaque, d->req, &wanted);
}

static bool take_back_one(Hdm *hdm)
{
	for (unsigned i = 0; i < hdm->n_decoders; i++) {
		Decoder *d = &hdm->decoders[i];
		bool settled = d->wanted && d->committed;

		if (d->host_live && !settled && !d->refused && d->request == HDM_NO_REQUEST) {
			ask(hdm, d, HDM_TAKE_BACK);
			return true;
		}
	}
	return false;
}

static bool commit_one(Hdm *hdm)
{
	for (unsigned i = 0; i < hdm->n_decoders; i++) {
		if (hdm->decoders[i].request != HDM_NO_REQUEST)
			return false;
	}
	for (unsigned i = 0; i < hdm->n_decoders; i++) {
		Decoder *d = &hdm->decoders[i];

		if (!d->wanted || d->committed || d->error)
			continue;
		if (d->host_live || !decode(hdm, i, &d->asked))
			d->error = true;
		else
			ask(hdm, d, HDM_COMMIT);
		return true;
	}
	return false;
}

static void settle_deadlines(Hdm *hdm)
{
	for (unsigned i = 0; i < hdm->n_decoders; i++) {
		Decoder *d = &hdm->decoders[i];

		if (d->error || d->committed == d->wanted)
			d->deadline_us = UINT64_MAX;
	}
}

/* Answers may come from inside a request: they only note the result, the loop here goes on. */
static void hdm_step(Hdm *hdm)
{
	if (hdm->stepping) {
		hdm->step_again = true;
		return;
	}
	hdm->stepping = true;
	do {
		hdm->step_again = false;
		while (take_back_one(hdm) || commit_one(hdm))
			;
	} while (hdm->step_again);
	hdm->stepping = false;
	settle_deadlines(hdm);
}

static void commit_answered(Decoder *d, bool ok)
{
	d->host_live = ok;
	if (d->stale)
		return;
	if (ok)
		d->committed = true;
	else
		d->error = true;
}

static void take_back_answered(Decoder *d, bool ok)
{
	if (ok) {
		d->host_live = false;
		d->committed = false;
		if (!d->wanted)
			d->error = false;
		return;
	}
	d->refused = true;
	if (d->wanted || d->committed)
		d->error = true;
}

void hdm_done(Hdm *hdm, uint64_t req, bool ok)
{
	for (unsigned i = 0; i < hdm->n_decoders; i++) {
		Decoder *d = &hdm->decoders[i];
		HdmRequest request = d->request;

		if (request == HDM_NO_REQUEST || d->req != req)
			continue;
		d->request = HDM_NO_REQUEST;
		if (request == HDM_COMMIT)
			commit_answered(d, ok);
		else
			take_back_answered(d, ok);
		hdm_step(hdm);
		return;
	}
}

void hdm_tick(Hdm *hdm)
{
	uint64_t now_us = hdm->ops.now_us(hdm->opaque);

	for (unsigned i = 0; i < hdm->n_decoders; i++) {
		Decoder *d = &hdm->decoders[i];

		if (d->deadline_us > now_us)
			continue;
		d->deadline_us = UINT64_MAX;
		d->error = true;
		d->stale = true;
	}
}

uint64_t hdm_next_deadline_us(const Hdm *hdm)
{
	uint64_t next = UINT64_MAX;

	for (unsigned i = 0; i < hdm->n_decoders; i++)
		next = MIN(next, hdm->decoders[i].deadline_us);
	return next;
}

/* ---- registers ---- */

static void want(Hdm *hdm, Decoder *d, bool wanted)
{
	uint64_t before = hdm_next_deadline_us(hdm);

	/* From here on COMMITTED speaks of this commit, not of one that is being taken back */
	if (wanted)
		d->committed = false;
	d->wanted = wanted;
	d->error = false;
	d->refused = false;
	d->stale = true;
	d->deadline_us = hdm->ops.now_us(hdm->opaque) + HDM_ANSWER_US;
	hdm_step(hdm);
	if (hdm_next_deadline_us(hdm) < before && hdm->ops.deadline_changed != NULL)
		hdm->ops.deadline_changed(hdm->opaque);
}

static uint32_t ctrl_read(const Decoder *d)
{
	return d->settings | CXL_HDM_DEC_HOST_ONLY | (d->wanted ? CXL_HDM_DEC_COMMIT : 0) |
	       (d->committed ? CXL_HDM_DEC_COMMITTED : 0) | (d->error ? CXL_HDM_DEC_ERROR : 0);
}

static void ctrl_write(Hdm *hdm, Decoder *d, uint32_t value, uint32_t mask)
{
	uint32_t new = (ctrl_read(d) & ~mask) | (value & mask);
	bool wanted = (new &CXL_HDM_DEC_COMMIT) != 0;

	if (d->wanted && wanted)
		return;
	d->settings = new &CTRL_SETTINGS;
	/* Clearing what is clear again asks once more to take back what was not */
	if (wanted || d->wanted || d->committed)
		want(hdm, d, wanted);
}

static void set_half(uint64_t *reg, unsigned shift, uint32_t exists, uint32_t value, uint32_t mask)
{
	uint64_t bits = (uint64_t)(mask & exists) << shift;

	*reg = (*reg & ~bits) | ((uint64_t)value << shift & bits);
}

static void decoder_write(Hdm *hdm, Decoder *d, unsigned reg, uint32_t value, uint32_t mask)
{
	bool locked = d->committed && (d->settings & CXL_HDM_DEC_LOCK) != 0;

	if (locked)
		return;
	if (reg == CXL_HDM_DEC_CTRL(0)) {
		ctrl_write(hdm, d, value, mask);
		return;
	}
	if (d->wanted)
		return;
	switch (reg) {
	case CXL_HDM_BASE_LO(0):
		set_half(&d->base, 0, CXL_HDM_ADDR_LO_MASK, value, mask);
		break;
	case CXL_HDM_BASE_HI(0):
		set_half(&d->base, 32, UINT32_MAX, value, mask);
		break;
	case CXL_HDM_SIZE_LO(0):
		set_half(&d->size, 0, CXL_HDM_ADDR_LO_MASK, value, mask);
		break;
	case CXL_HDM_SIZE_HI(0):
		set_half(&d->size, 32, UINT32_MAX, value, mask);
		break;
	case CXL_HDM_SKIP_LO(0):
		set_half(&d->skip, 0, CXL_HDM_ADDR_LO_MASK, value, mask);
		break;
	case CXL_HDM_SKIP_HI(0):
		set_half(&d->skip, 32, UINT32_MAX, value, mask);
		break;
	default:
		break;
	}
}

static uint32_t decoder_read(const Decoder *d, unsigned reg)
{
	switch (reg) {
	case CXL_HDM_BASE_LO(0):
		return (uint32_t)d->base;
	case CXL_HDM_BASE_HI(0):
		return (uint32_t)(d->base >> 32);
	case CXL_HDM_SIZE_LO(0):
		return (uint32_t)d->size;
	case CXL_HDM_SIZE_HI(0):
		return (uint32_t)(d->size >> 32);
	case CXL_HDM_DEC_CTRL(0):
		return ctrl_read(d);
	case CXL_HDM_SKIP_LO(0):
		return (uint32_t)d->skip;
	case CXL_HDM_SKIP_HI(0):
		return (uint32_t)(d->skip >> 32);
	default:
		return 0;
	}
}

uint32_t hdm_read(const Hdm *hdm, unsigned offset)
{
	if (offset == CXL_HDM_CAP)
		return CXL_FIELD_PUT(CXL_HDM_CAP_COUNT,
				     (uint32_t)cxl_hdm_count_encode(hdm->n_decoders)) |
		       CXL_HDM_CAP_INTERLEAVE_11_8 | CXL_HDM_CAP_INTERLEAVE_14_12 |
		       CXL_HDM_CAP_WAYS_3_6_12 | CXL_HDM_CAP_WAYS_16;
	if (offset == CXL_HDM_CTRL)
		return hdm->global_ctrl;
	if (offset < CXL_HDM_DECODER(0))
		return 0;
	offset -= CXL_HDM_DECODER(0);
	return decoder_read(&hdm->decoders[offset / CXL_HDM_DECODER_STRIDE],
			    CXL_HDM_DECODER(0) + offset % CXL_HDM_DECODER_STRIDE);
}

void hdm_write(Hdm *hdm, unsigned offset, uint32_t value, uint32_t mask)
{
	if (offset == CXL_HDM_CTRL) {
		/* Kept for the host to read; what is committed decodes whether it is set or not */
		mask &= CXL_HDM_CTRL_ENABLE;
		hdm->global_ctrl = (hdm->global_ctrl & ~mask) | (value & mask);
	}
	if (offset < CXL_HDM_DECODER(0))
		return;
	offset -= CXL_HDM_DECODER(0);
	decoder_write(hdm, &hdm->decoders[offset / CXL_HDM_DECODER_STRIDE],
		      CXL_HDM_DECODER(0) + offset % CXL_HDM_DECODER_STRIDE, value, mask);
}

/* ---- reset ---- */

void hdm_reset(Hdm *hdm, bool new_host)
{
	hdm->global_ctrl = 0;
	hdm->stepping = true; /* answers given at once must not look at decoders not reset yet */
	for (unsigned i = 0; i < hdm->n_decoders; i++) {
		Decoder *d = &hdm->decoders[i];
		Decoder was = *d;

		*d = (Decoder){ .asked = was.asked, .deadline_us = UINT64_MAX };
		if (!new_host) {
			d->host_live = was.host_live;
			d->request = was.request;
			d->req = was.req;
			d->stale = true;
		} else if (was.host_live || was.request != HDM_NO_REQUEST) {
			/* Nobody waits for the answer; it is for a former host still listening */
			ask(hdm, d, HDM_TAKE_BACK);
			d->request = HDM_NO_REQUEST;
		}
	}
	hdm->stepping = false;
	hdm_step(hdm);
}

void hdm_foreach_committed(const Hdm *hdm, void (*func)(const HdmDecoder *, void *), void *opaque)
{
	for (unsigned i = 0; i < hdm->n_decoders; i++) {
		if (hdm->decoders[i].committed)
			func(&hdm->decoders[i].asked, opaque);
	}
}

/* ---- saved state ---- */

typedef struct HdmState {
	le32 global_ctrl;
	le32 n_decoders;
} HdmState;

#define STATE_WANTED    CXL_BIT(0)
#define STATE_COMMITTED CXL_BIT(1) /* only with STATE_WANTED */
#define STATE_ERROR     CXL_BIT(2)

typedef struct HdmDecoderState {
	le64 base;
	le64 size;
	le64 skip;
	le64 dpa; /* of a committed one */
	le32 settings;
	le32 flags; /* STATE_* */
} HdmDecoderState;
CXL_STATIC_ASSERT(sizeof(HdmDecoderState) == 40);

void hdm_save(const Hdm *hdm, GByteArray *out)
{
	HdmState state = { le32_put(hdm->global_ctrl), le32_put(hdm->n_decoders) };

	state_put(out, &state, sizeof(state));
	for (unsigned i = 0; i < hdm->n_decoders; i++) {
		const Decoder *d = &hdm->decoders[i];
		bool committed = d->wanted && d->committed;
		HdmDecoderState decoder = {
			.base = le64_put(d->base),
			.size = le64_put(d->size),
			.skip = le64_put(d->skip),
			.dpa = le64_put(committed ? d->asked.dpa : 0),
			.settings = le32_put(d->settings),
			.flags = le32_put((d->wanted ? STATE_WANTED : 0) |
					  (committed ? STATE_COMMITTED : 0) |
					  (d->error ? STATE_ERROR : 0)),
		};

		state_put(out, &decoder, sizeof(decoder));
	}
}

static bool is_address(uint64_t value)
{
	return ((uint32_t)value & ~CXL_HDM_ADDR_LO_MASK) == 0;
}

/*
 * What the registers of a committed decoder mean. Its DPA cannot be derived any more: the decoder
 * below may have been taken back since. BELOW: the committed one below it, or NULL.
 */
static bool load_committed(const Hdm *hdm, const HdmDecoderState *in, const HdmDecoder *below,
			   HdmDecoder *ret)
{
	uint32_t settings = le32_get(in->settings);
	unsigned ways = cxl_iw_decode(CXL_FIELD_GET(CXL_HDM_DEC_IW, settings));
	uint32_t granularity = cxl_ig_decode(CXL_FIELD_GET(CXL_HDM_DEC_IG, settings));
	uint64_t base = le64_get(in->base), size = le64_get(in->size), dpa = le64_get(in->dpa);

	if (ways == 0 || granularity == 0 || size == 0 || size % (ways * CXL_HDM_ALIGN) != 0 ||
	    base + size < base || dpa % CXL_HDM_ALIGN != 0 || dpa > hdm->dpa_len ||
	    size / ways > hdm->dpa_len - dpa)
		return false;
	if (below != NULL &&
	    (base < below->hpa + below->len || dpa < below->dpa + below->len / below->ways))
		return false;
	ret->committed = true;
	ret->hpa = base;
	ret->len = size;
	ret->dpa = dpa;
	ret->ways = ways;
	ret->granularity = granularity;
	return true;
}

static bool load_decoder(const Hdm *hdm, unsigned index, StateReader *in, const HdmDecoder *below,
			 Decoder *ret)
{
	const HdmDecoderState *state = state_take(in, sizeof(*state));
	uint32_t flags;

	if (state == NULL)
		return false;
	flags = le32_get(state->flags);
	*ret = (Decoder){
		.base = le64_get(state->base),
		.size = le64_get(state->size),
		.skip = le64_get(state->skip),
		.settings = le32_get(state->settings),
		.wanted = flags & STATE_WANTED,
		.committed = flags & STATE_COMMITTED,
		.error = flags & STATE_ERROR,
		.deadline_us = UINT64_MAX,
		.asked.index = index,
	};
	if ((flags & ~(STATE_WANTED | STATE_COMMITTED | STATE_ERROR)) != 0 ||
	    (ret->settings & ~CTRL_SETTINGS) != 0 || !is_address(ret->base) ||
	    !is_address(ret->size) || !is_address(ret->skip) || (ret->committed && !ret->wanted))
		return false;
	if (ret->committed && !load_committed(hdm, state, below, &ret->asked))
		return false;
	ret->host_live = ret->committed;
	ret->error |= ret->wanted && !ret->committed;
	return true;
}

bool hdm_load(Hdm *hdm, StateReader *in, bool apply)
{
	const HdmState *state = state_take(in, sizeof(*state));
	HdmDecoder below;
	bool has_below = false;

	if (state == NULL || le32_get(state->n_decoders) != hdm->n_decoders ||
	    (le32_get(state->global_ctrl) & ~CXL_HDM_CTRL_ENABLE) != 0)
		return false;
	for (unsigned i = 0; i < hdm->n_decoders; i++) {
		Decoder loaded;

		if (!load_decoder(hdm, i, in, has_below ? &below : NULL, &loaded))
			return false;
		if (loaded.committed) {
			below = loaded.asked;
			has_below = true;
		}
		if (apply)
			hdm->decoders[i] = loaded;
	}
	if (apply)
		hdm->global_ctrl = le32_get(state->global_ctrl);
	return true;
}
