/* SPDX-License-Identifier: BSD-3-Clause */
/* HDM decoders of the endpoint: registers, commit rules, and agreement with the host side. */
#ifndef DEVICE_HDM_H
#define DEVICE_HDM_H

#include "device/device.h"
#include "device/state_io.h"

/*
 * Design. Two things are kept apart: what the registers say (COMMIT wanted, COMMITTED, ERROR), and
 * what the host side may have mapped (host_live). COMMITTED follows the host side's answer, so a
 * host that sees it can use the memory at once, and a host that sees it gone cannot. hdm_step()
 * works off the difference: first every decoder that must go is taken back; then, once nothing is
 * on its way any more, wanted commits are checked and sent in order of index. An answer that took
 * longer than HDM_ANSWER_US sets ERROR; what a late "yes" left behind on the host side is taken
 * back.
 *
 * Base, size, skip, interleave and lock are frozen while COMMIT is set (also with ERROR), and free
 * as soon as it is cleared. Linux: writes them to zero right after that, without waiting for
 * COMMITTED to drop (7.3, cxl_decoder_reset).
 */
typedef struct Hdm Hdm;

/*
 * Linux polls COMMITTED for 20 ms and takes no later answer. A server that makes it wait for that
 * register meanwhile (device_is_deciding()) gives a busy host more time than that.
 */
#define HDM_ANSWER_US 500000

typedef struct HdmOps {
	/* Answered once by hdm_done(), maybe at once */
	void (*decoder)(void *opaque, uint64_t req, const HdmDecoder *decoder);
	uint64_t (*now_us)(void *opaque);
	void (*deadline_changed)(void *opaque); /* may be NULL */
} HdmOps;

/* DPA_LEN: bytes of DPA that decoders may reach */
Hdm *hdm_new(unsigned n_decoders, uint64_t dpa_len, const HdmOps *ops, void *opaque);
void hdm_free(Hdm *hdm);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Hdm, hdm_free)

unsigned hdm_len(const Hdm *hdm); /* bytes of registers */
/* OFFSET: a multiple of 4 below hdm_len(); MASK: bytes written */
uint32_t hdm_read(const Hdm *hdm, unsigned offset);
void hdm_write(Hdm *hdm, unsigned offset, uint32_t value, uint32_t mask);

void hdm_done(Hdm *hdm, uint64_t req, bool ok);
void hdm_tick(Hdm *hdm);
uint64_t hdm_next_deadline_us(const Hdm *hdm);

/* Conventional reset: registers cleared at once, locks too; the host side is told. NEW_HOST: the
 * host side is another one or starts from nothing, its former answers mean nothing any more. */
void hdm_reset(Hdm *hdm, bool new_host);
/* Those with COMMITTED set, in order of index */
void hdm_foreach_committed(const Hdm *hdm, void (*func)(const HdmDecoder *, void *), void *opaque);

/*
 * Loaded before any request is made. A decoder that was committed is so again, without asking the
 * host side; one that was still being committed comes back with ERROR, one that was being taken
 * back as taken back: the host side is told of both when it comes.
 */
void hdm_save(const Hdm *hdm, GByteArray *out);
bool hdm_load(Hdm *hdm, StateReader *in, bool apply);

#endif
