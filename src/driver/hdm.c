/* SPDX-License-Identifier: BSD-3-Clause */
/* HDM decoder registers of any component: reading, committing and taking back single decoders. */
#include "driver/driver_private.h"

#include <errno.h>
#include <string.h>

#define COMMIT_POLLS   20
#define COMMIT_POLL_US 1000

static int read_pair(const HdmBlock *hdm, uint64_t lo_at, uint64_t hi_at, uint64_t *ret_val)
{
	uint32_t lo;
	uint32_t hi;
	int err = regs_read32(&hdm->regs, lo_at, &lo);

	if (err >= 0)
		err = regs_read32(&hdm->regs, hi_at, &hi);
	if (err < 0)
		return driver_fail(hdm->regs.driver, err, "%s: decoder registers cannot be read",
				   hdm->name);
	*ret_val = (uint64_t)hi << 32 | lo;
	return 0;
}

/* High half first: the order of Linux. */
static int write_pair(const HdmBlock *hdm, uint64_t lo_at, uint64_t hi_at, uint64_t val)
{
	int err = regs_write32(&hdm->regs, hi_at, (uint32_t)(val >> 32));

	if (err >= 0)
		err = regs_write32(&hdm->regs, lo_at, (uint32_t)val);
	return err;
}

static int read_decoder(HdmBlock *hdm, unsigned n)
{
	CxlDriver *driver = hdm->regs.driver;
	HdmDecoder *dec = &hdm->decoders[n];
	uint64_t low_mask = CXL_HDM_ADDR_LO_MASK | UINT64_MAX << 32;
	uint64_t extra;
	uint32_t ctrl;
	int err = regs_read32(&hdm->regs, CXL_HDM_DEC_CTRL(n), &ctrl);

	if (err < 0 || ctrl == UINT32_MAX)
		return driver_fail(driver, -ENXIO, "%s: decoder %u cannot be read", hdm->name, n);
	memset(dec, 0, sizeof(*dec));
	if (!(ctrl & CXL_HDM_DEC_COMMITTED))
		return 0;
	if (n > 0 && !hdm->decoders[n - 1].committed)
		return driver_fail(driver, -ENXIO, "%s: decoder %u is committed out of order",
				   hdm->name, n);
	dec->ways = cxl_iw_decode(CXL_FIELD_GET(CXL_HDM_DEC_IW, ctrl));
	dec->granularity = cxl_ig_decode(CXL_FIELD_GET(CXL_HDM_DEC_IG, ctrl));
	dec->locked = ctrl & CXL_HDM_DEC_LOCK;
	err = read_pair(hdm, CXL_HDM_BASE_LO(n), CXL_HDM_BASE_HI(n), &dec->hpa);
	if (err >= 0)
		err = read_pair(hdm, CXL_HDM_SIZE_LO(n), CXL_HDM_SIZE_HI(n), &dec->len);
	if (err >= 0)
		err = read_pair(hdm, CXL_HDM_SKIP_LO(n), CXL_HDM_SKIP_HI(n), &extra);
	if (err < 0)
		return err;
	dec->hpa &= low_mask;
	dec->len &= low_mask;
	if (!dec->ways || !dec->granularity || !dec->len || dec->hpa + dec->len < dec->hpa ||
	    (hdm->endpoint && dec->len % dec->ways) ||
	    (!hdm->endpoint && dec->ways > CXL_HDM_MAX_TARGETS))
		return driver_fail(driver, -ENXIO, "%s: committed decoder %u makes no sense",
				   hdm->name, n);
	if (hdm->endpoint) {
		dec->skip = extra & low_mask;
		dec->dpa = hdm_block_dpa_end(hdm) + dec->skip;
		if (dec->dpa < dec->skip || dec->dpa + dec->len / dec->ways < dec->dpa)
			return driver_fail(driver, -ENXIO, "%s: decoder %u leaves the DPA space",
					   hdm->name, n);
	} else {
		le64_store(dec->targets, extra);
	}
	dec->committed = true;
	return 0;
}

int hdm_block_probe(HdmBlock *hdm, const RegBlock *component)
{
	CxlDriver *driver = component->driver;
	RegBlock cachemem;
	uint32_t header;
	unsigned count;

	hdm->regs = *component;
	if (regs_slice(component, CXL_COMPONENT_CACHEMEM, CXL_COMPONENT_CACHEMEM_LEN, &cachemem) <
	    0)
		return driver_fail(driver, -ERANGE, "%s: component registers are cut short",
				   hdm->name);
	if (regs_read32(&cachemem, 0, &header) < 0 ||
	    CXL_FIELD_GET(CXL_CM_ARRAY_ID, header) != CXL_CM_ID_CXL)
		return driver_fail(driver, -ENXIO,
				   "%s: no capability array in the component "
				   "registers",
				   hdm->name);
	count = CXL_FIELD_GET(CXL_CM_ARRAY_COUNT, header);
	for (unsigned i = 1; i <= count; i++) {
		uint32_t entry;
		uint32_t at;

		if (regs_read32(&cachemem, 4u * i, &entry) < 0)
			break;
		if (CXL_FIELD_GET(CXL_CM_CAP_ID, entry) != CXL_CM_ID_HDM)
			continue;
		at = CXL_FIELD_GET(CXL_CM_CAP_PTR, entry);
		if (at % 4 || at < 4 * (count + 1) || regs_read32(&cachemem, at, &hdm->cap) < 0)
			return driver_fail(driver, -ERANGE, "%s: HDM capability at %#x", hdm->name,
					   at);
		hdm->n_decoders = cxl_hdm_count_decode(CXL_FIELD_GET(CXL_HDM_CAP_COUNT, hdm->cap));
		hdm->n_targets = CXL_FIELD_GET(CXL_HDM_CAP_TARGETS, hdm->cap);
		if (!hdm->n_decoders ||
		    regs_slice(&cachemem, at, CXL_HDM_LEN(hdm->n_decoders), &hdm->regs) < 0) {
			hdm->n_decoders = 0;
			return driver_fail(driver, -ENXIO, "%s: HDM capability %#x at %#x",
					   hdm->name, hdm->cap, at);
		}
		for (unsigned n = 0; n < hdm->n_decoders; n++) {
			int err = read_decoder(hdm, n);

			if (err < 0)
				return err;
		}
		return 0;
	}
	return 0;
}

unsigned hdm_block_next(const HdmBlock *hdm)
{
	unsigned next = hdm->n_decoders;

	while (next > 0 && !hdm->decoders[next - 1].committed)
		next--;
	return next;
}

uint64_t hdm_block_hpa_end(const HdmBlock *hdm)
{
	unsigned next = hdm_block_next(hdm);

	return next ? hdm->decoders[next - 1].hpa + hdm->decoders[next - 1].len : 0;
}

uint64_t hdm_block_dpa_end(const HdmBlock *hdm)
{
	unsigned next = hdm_block_next(hdm);
	const HdmDecoder *dec;

	if (!next)
		return 0;
	dec = &hdm->decoders[next - 1];
	return dec->dpa + dec->len / dec->ways;
}

bool hdm_block_can_interleave(const HdmBlock *hdm, unsigned ways, uint32_t granularity)
{
	unsigned pow2 = ways % 3 ? ways : ways / 3;
	uint64_t first = granularity;
	uint64_t last = (uint64_t)granularity * pow2 / 2;

	if (ways == 1)
		return true;
	if (ways % 3 == 0 && !(hdm->cap & CXL_HDM_CAP_WAYS_3_6_12))
		return false;
	if (ways == 16 && !(hdm->cap & CXL_HDM_CAP_WAYS_16))
		return false;
	/* The address bits that choose: pure 3 ways use none, but begin at the granularity. */
	if (last < first)
		last = first;
	if (first < 1 << 12 && !(hdm->cap & CXL_HDM_CAP_INTERLEAVE_11_8))
		return false;
	return last < 1 << 12 || (last < 1 << 15 && hdm->cap & CXL_HDM_CAP_INTERLEAVE_14_12);
}

static int await(HdmBlock *hdm, unsigned n, bool committed)
{
	CxlDriver *driver = hdm->regs.driver;
	uint32_t ctrl;

	for (unsigned i = 0; i <= COMMIT_POLLS; i++) {
		int err = regs_read32(&hdm->regs, CXL_HDM_DEC_CTRL(n), &ctrl);

		if (err < 0)
			return driver_fail(driver, err, "%s: decoder %u cannot be read", hdm->name,
					   n);
		if (ctrl == UINT32_MAX)
			return driver_fail(driver, -ENODEV, "%s: registers read all-ones",
					   hdm->name);
		if (committed && ctrl & CXL_HDM_DEC_ERROR)
			return driver_fail(driver, -EIO, "%s: decoder %u reports a commit error",
					   hdm->name, n);
		if (!!(ctrl & CXL_HDM_DEC_COMMITTED) == committed)
			return 0;
		if (i < COMMIT_POLLS)
			driver_sleep_us(driver, COMMIT_POLL_US);
	}
	return driver_fail(driver, -ETIMEDOUT, "%s: decoder %u did not %s within %u ms", hdm->name,
			   n, committed ? "commit" : "let go", COMMIT_POLLS);
}

/* Base and size back to zero, so that nothing half programmed is left behind. */
static void clear_range(HdmBlock *hdm, unsigned n)
{
	write_pair(hdm, CXL_HDM_SIZE_LO(n), CXL_HDM_SIZE_HI(n), 0);
	write_pair(hdm, CXL_HDM_BASE_LO(n), CXL_HDM_BASE_HI(n), 0);
}

int hdm_block_commit(HdmBlock *hdm, unsigned n, const HdmDecoder *want, bool lock)
{
	CxlDriver *driver = hdm->regs.driver;
	uint64_t extra = hdm->endpoint ? want->skip : le64_load(want->targets);
	uint32_t ctrl = CXL_HDM_DEC_COMMIT | CXL_HDM_DEC_HOST_ONLY;
	int ig = cxl_ig_encode(want->granularity);
	int err;

	ctrl |= CXL_FIELD_PUT(CXL_HDM_DEC_IW, (uint32_t)cxl_iw_encode(want->ways));
	ctrl |= CXL_FIELD_PUT(CXL_HDM_DEC_IG, ig < 0 ? 0u : (uint32_t)ig);
	if (lock)
		ctrl |= CXL_HDM_DEC_LOCK;
	err = write_pair(hdm, CXL_HDM_BASE_LO(n), CXL_HDM_BASE_HI(n), want->hpa);
	if (err >= 0)
		err = write_pair(hdm, CXL_HDM_SIZE_LO(n), CXL_HDM_SIZE_HI(n), want->len);
	if (err >= 0)
		err = write_pair(hdm, CXL_HDM_TARGET_LO(n), CXL_HDM_TARGET_HI(n), extra);
	if (err >= 0)
		err = regs_write32(&hdm->regs, CXL_HDM_DEC_CTRL(n), ctrl);
	if (err < 0)
		driver_fail(driver, err, "%s: decoder %u cannot be written", hdm->name, n);
	else
		err = await(hdm, n, true);
	if (err < 0) {
		regs_write32(&hdm->regs, CXL_HDM_DEC_CTRL(n),
			     ctrl & ~(CXL_HDM_DEC_COMMIT | CXL_HDM_DEC_LOCK));
		clear_range(hdm, n);
		return err;
	}
	hdm->decoders[n] = *want;
	hdm->decoders[n].committed = true;
	hdm->decoders[n].locked = lock;
	return 0;
}

int hdm_block_reset(HdmBlock *hdm, unsigned n)
{
	HdmDecoder *dec = &hdm->decoders[n];
	CxlDriver *driver = hdm->regs.driver;
	uint32_t ctrl;
	int err;

	if (!dec->committed)
		return 0;
	if (dec->locked)
		return driver_fail(driver, -EPERM, "%s: decoder %u is locked", hdm->name, n);
	err = regs_read32(&hdm->regs, CXL_HDM_DEC_CTRL(n), &ctrl);
	if (err >= 0)
		err = regs_write32(
			&hdm->regs, CXL_HDM_DEC_CTRL(n),
			ctrl & ~(CXL_HDM_DEC_COMMIT | CXL_HDM_DEC_COMMITTED | CXL_HDM_DEC_ERROR));
	if (err < 0)
		return driver_fail(driver, err, "%s: decoder %u cannot be taken back", hdm->name,
				   n);
	/* Base and size are frozen for as long as it is committed. */
	err = await(hdm, n, false);
	if (err < 0)
		return err;
	clear_range(hdm, n);
	memset(dec, 0, sizeof(*dec));
	return 0;
}

int hdm_block_enabled(const HdmBlock *hdm)
{
	uint32_t ctrl;
	int err = regs_read32(&hdm->regs, CXL_HDM_CTRL, &ctrl);

	if (err < 0)
		return driver_fail(hdm->regs.driver, err, "%s: HDM control cannot be read",
				   hdm->name);
	return !!(ctrl & CXL_HDM_CTRL_ENABLE);
}

int hdm_block_enable(HdmBlock *hdm)
{
	uint32_t ctrl;
	int err = regs_read32(&hdm->regs, CXL_HDM_CTRL, &ctrl);

	if (err >= 0 && !(ctrl & CXL_HDM_CTRL_ENABLE))
		err = regs_write32(&hdm->regs, CXL_HDM_CTRL, ctrl | CXL_HDM_CTRL_ENABLE);
	if (err >= 0)
		err = regs_read32(&hdm->regs, CXL_HDM_CTRL, &ctrl);
	if (err >= 0 && !(ctrl & CXL_HDM_CTRL_ENABLE))
		err = -EIO;
	if (err < 0)
		return driver_fail(hdm->regs.driver, err, "%s: HDM decoding cannot be enabled",
				   hdm->name);
	return 0;
}
