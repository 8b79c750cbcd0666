/* SPDX-License-Identifier: BSD-3-Clause */
/* The event side of dynamic capacity: interrupt policy, waiting, draining and clearing logs. */
#include "driver/dcd_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_MAX_CHAIN   65536
#define DEFAULT_CHAIN_MS    20000
#define DEFAULT_MAX_EXTENTS 65536

#define MAX_RECORDS_A_DRAIN 65536 /* then the caller gets its turn */
#define IRQ_SLICE_MS        1000  /* an interrupt that got lost costs no more than this */
#define POLL_MIN_US         50
#define POLL_MAX_US         2000

int dcd_set_policy(CxlDcd *dcd)
{
	CxlMemdev *memdev = dcd->memdev;
	CxlEventIntPolicy policy = { 0 };
	uint32_t n = memdev->info.has_dc ? CXL_N_LOGS : CXL_EVENT_INT_POLICY_MIN_LEN;
	int err;

	if (cxl_memdev_effects(memdev, CXL_OP_GET_EVENT_INT_POLICY) < 0 ||
	    cxl_memdev_effects(memdev, CXL_OP_SET_EVENT_INT_POLICY) < 0) {
		driver_log(dcd->driver, "%s: no event interrupts", memdev->name);
		return 0;
	}
	err = memdev_call(memdev, CXL_OP_GET_EVENT_INT_POLICY, NULL, 0, &policy, sizeof(policy),
			  CXL_EVENT_INT_POLICY_MIN_LEN, NULL);
	if (err < 0)
		return err;
	for (unsigned log = 0; log < n; log++) {
		if (CXL_FIELD_GET(CXL_INT_MODE, policy.log[log]) == CXL_INT_MODE_FW)
			dcd->fw_logs |= CXL_BIT(log);
		else
			policy.log[log] = CXL_INT_MODE_MSI;
	}
	err = memdev_call(memdev, CXL_OP_SET_EVENT_INT_POLICY, &policy, n, NULL, 0, 0, NULL);
	if (err >= 0)
		err = memdev_call(memdev, CXL_OP_GET_EVENT_INT_POLICY, NULL, 0, &policy,
				  sizeof(policy), n, NULL);
	if (err < 0)
		return err;
	for (unsigned log = 0; log < n; log++) {
		if (dcd->fw_logs & CXL_BIT(log))
			driver_log(dcd->driver, "%s: firmware keeps event log %u", memdev->name,
				   log);
		else if (CXL_FIELD_GET(CXL_INT_MODE, policy.log[log]) != CXL_INT_MODE_MSI)
			return driver_fail(dcd->driver, -EIO,
					   "%s: no interrupt for event log %u: policy reads %#x",
					   memdev->name, log, policy.log[log]);
	}
	return 0;
}

int cxl_dcd_start(CxlMemdev *memdev, const CxlDcdOps *ops, void *opaque,
		  const CxlDcdOptions *options, CxlDcd **ret_dcd)
{
	CxlDriver *driver = memdev->driver;
	uint32_t payload_len = memdev->info.payload_len;
	CxlDcd *dcd;
	int err;

	if (!memdev->usable)
		return driver_fail(driver, -ENODEV, "%s cannot be used", memdev->name);
	if (memdev->dcd)
		return driver_fail(driver, -EBUSY, "%s: events are being handled already",
				   memdev->name);
	dcd = calloc(1, sizeof(*dcd));
	if (!dcd)
		return driver_fail(driver, -ENOMEM, "out of memory");
	dcd->memdev = memdev;
	dcd->driver = driver;
	dcd->ops = *ops;
	dcd->opaque = opaque;
	if (options)
		dcd->options = *options;
	if (!dcd->options.max_chain)
		dcd->options.max_chain = DEFAULT_MAX_CHAIN;
	if (!dcd->options.chain_ms)
		dcd->options.chain_ms = DEFAULT_CHAIN_MS;
	if (!dcd->options.max_extents)
		dcd->options.max_extents = DEFAULT_MAX_EXTENTS;
	held_init(dcd);
	dcd->n_batch = (payload_len - (uint32_t)sizeof(CxlGetEventRecordsOut)) /
		       CXL_EVENT_RECORD_LEN;
	dcd->in = malloc(payload_len);
	dcd->out = malloc(payload_len);
	dcd->uncleared = calloc(dcd->n_batch, sizeof(*dcd->uncleared));
	memdev->dcd = dcd;
	if (!dcd->in || !dcd->out || !dcd->uncleared)
		err = driver_fail(driver, -ENOMEM, "out of memory");
	else
		err = dcd_set_policy(dcd);
	if (err >= 0 && memdev->info.has_dc)
		err = dcd_sync(dcd);
	if (err < 0) {
		cxl_dcd_free(dcd);
		return err;
	}
	*ret_dcd = dcd;
	return 0;
}

void cxl_dcd_free(CxlDcd *dcd)
{
	if (!dcd)
		return;
	while (dcd->first)
		dc_group_free(dcd, dcd->first);
	offered_clear(&dcd->chain);
	dcd->memdev->dcd = NULL;
	free(dcd->in);
	free(dcd->out);
	free(dcd->uncleared);
	free(dcd);
}

/* Clears the handles noted in UNCLEARED; what could not be cleared stays noted. */
static int clear_handles(CxlDcd *dcd)
{
	uint32_t room = (dcd->memdev->info.payload_len - (uint32_t)sizeof(CxlClearEventRecordsIn)) /
			(uint32_t)sizeof(le16);
	uint32_t pos = 0;
	int err = 0;

	if (room > UINT8_MAX)
		room = UINT8_MAX;
	while (pos < dcd->n_uncleared && err >= 0) {
		uint32_t n = dcd->n_uncleared - pos < room ? dcd->n_uncleared - pos : room;
		CxlClearEventRecordsIn in = {
			.log = (uint8_t)dcd->uncleared_log,
			.n_handles = (uint8_t)n,
		};

		memcpy(dcd->out, &in, sizeof(in));
		for (uint32_t i = 0; i < n; i++)
			le16_store(dcd->out + sizeof(in) + 2 * i, dcd->uncleared[pos + i]);
		err = memdev_call(dcd->memdev, CXL_OP_CLEAR_EVENT_RECORDS, dcd->out,
				  (uint32_t)sizeof(in) + 2 * n, NULL, 0, 0, NULL);
		if (err >= 0)
			pos += n;
	}
	dcd->n_uncleared -= pos;
	memmove(dcd->uncleared, dcd->uncleared + pos, dcd->n_uncleared * sizeof(*dcd->uncleared));
	return err;
}

/* Records handled but not cleared must be gone before more are read: never handle one twice. */
static int clear_leftovers(CxlDcd *dcd)
{
	int err = 0;

	if (dcd->n_uncleared)
		err = clear_handles(dcd);
	/* A refusal now means that the device no longer knows them, as after a reset. */
	if (err == -EIO) {
		dcd->n_uncleared = 0;
		err = 0;
	}
	return err;
}

/* Reads one batch into dcd->in; *ret_n is at most n_batch. */
static int read_batch(CxlDcd *dcd, unsigned log, uint32_t *ret_n, bool *ret_overflow)
{
	CxlGetEventRecordsIn in = { .log = (uint8_t)log };
	CxlGetEventRecordsOut header;
	uint32_t len;
	uint32_t n;
	int err;

	err = memdev_call(dcd->memdev, CXL_OP_GET_EVENT_RECORDS, &in, sizeof(in), dcd->in,
			  dcd->memdev->info.payload_len, sizeof(header), &len);
	if (err < 0)
		return err;
	memcpy(&header, dcd->in, sizeof(header));
	n = le16_get(header.n_records);
	if (n > (len - sizeof(header)) / CXL_EVENT_RECORD_LEN)
		return driver_fail(dcd->driver, -EPROTO, "%s: %u event records in %u bytes",
				   dcd->memdev->name, n, len);
	*ret_n = n;
	*ret_overflow = header.flags & CXL_EVENTS_OVERFLOW;
	return 0;
}

static int flush_asks(CxlDcd *dcd, ReleaseAsk *asks, uint32_t *n)
{
	int err = *n ? dc_release_asked(dcd, asks, *n) : 0;

	*n = 0;
	return err;
}

/* Handles one record of the DC log; releases are put off into ASKS to be seen together. */
static int handle_dc(CxlDcd *dcd, const CxlEventDc *record, ReleaseAsk *asks, uint32_t *n_asks)
{
	ReleaseAsk ask = {
		.range = { le64_get(record->extent.dpa), le64_get(record->extent.len) },
		.forced = record->type == CXL_DC_EVENT_FORCED_RELEASE,
	};
	int first = 0;
	int err;

	memcpy(ask.tag.b, record->extent.tag, sizeof(ask.tag.b));
	switch (record->type) {
	case CXL_DC_EVENT_ADD:
		first = flush_asks(dcd, asks, n_asks);
		err = dc_chain_add(dcd, record);
		return first < 0 ? first : err;
	case CXL_DC_EVENT_RELEASE:
	case CXL_DC_EVENT_FORCED_RELEASE:
		asks[(*n_asks)++] = ask;
		return 0;
	default:
		driver_log(dcd->driver, "%s: dynamic capacity event of type %u", dcd->memdev->name,
			   record->type);
		return 0;
	}
}

/* All records of a batch. The first failure is returned, but none keeps the rest from its turn. */
static int handle_batch(CxlDcd *dcd, unsigned log, uint32_t n)
{
	static const uint8_t dc_uuid[CXL_UUID_LEN] = CXL_UUID_EVENT_DYNAMIC_CAPACITY;
	ReleaseAsk *asks = calloc(n, sizeof(*asks));
	uint32_t n_asks = 0;
	int first = 0;
	int err;

	if (!asks)
		return driver_fail(dcd->driver, -ENOMEM, "out of memory");
	for (uint32_t i = 0; i < n; i++) {
		CxlEventRecord record;

		memcpy(&record, dcd->in + sizeof(CxlGetEventRecordsOut) + i * CXL_EVENT_RECORD_LEN,
		       sizeof(record));
		dcd->uncleared[i] = le16_get(record.header.handle);
		dcd->stats.n_records++;
		err = 0;
		if (log == CXL_LOG_DC && memcmp(record.header.uuid, dc_uuid, sizeof(dc_uuid)) == 0)
			err = handle_dc(dcd, (const CxlEventDc *)&record, asks, &n_asks);
		else if (dcd->ops.event)
			dcd->ops.event(dcd->opaque, log, &record);
		if (err < 0 && first >= 0)
			first = err;
	}
	err = flush_asks(dcd, asks, &n_asks);
	free(asks);
	dcd->uncleared_log = log;
	dcd->n_uncleared = n;
	return first < 0 ? first : err;
}

/* Number of records handled, or -errno */
static int drain_log(CxlDcd *dcd, unsigned log)
{
	bool overflow_seen = false;
	int total = 0;

	while (total < MAX_RECORDS_A_DRAIN) {
		bool overflow = false;
		uint32_t n = 0;
		int cleared;
		int err = read_batch(dcd, log, &n, &overflow);

		if (err < 0)
			return err;
		if (overflow && !overflow_seen) {
			overflow_seen = true;
			driver_log(dcd->driver, "%s: event log %u has overflowed",
				   dcd->memdev->name, log);
			/* Records are missing: of a chain, of releases, who knows. */
			dcd->must_resync = dcd->must_resync || log == CXL_LOG_DC;
			if (log == CXL_LOG_DC && (dcd->chain.n || dcd->chain.too_long))
				err = dc_chain_abandon(dcd, "the log has overflowed");
			if (err < 0)
				return err;
		}
		if (n == 0)
			break;
		err = handle_batch(dcd, log, n);
		cleared = clear_handles(dcd);
		if (err < 0 || cleared < 0)
			return err < 0 ? err : cleared;
		total += (int)n;
	}
	return total;
}

static int read_status(CxlDcd *dcd, uint32_t *ret_logs)
{
	uint32_t logs = CXL_BITS(CXL_LOG_FATAL, 0);
	uint32_t status;

	if (regs_read32(&dcd->memdev->status, CXL_DEV_EVENT_STATUS, &status) < 0 ||
	    status == UINT32_MAX)
		return driver_fail(dcd->driver, -ENODEV, "%s: event status reads all-ones",
				   dcd->memdev->name);
	if (dcd->memdev->info.has_dc)
		logs |= CXL_DEV_EVENT_STATUS_DC;
	*ret_logs = status & logs & ~dcd->fw_logs;
	return 0;
}

static int drain(CxlDcd *dcd, uint32_t logs)
{
	/* Capacity first, then by severity. */
	static const uint8_t order[] = { CXL_LOG_DC, CXL_LOG_FATAL, CXL_LOG_FAILURE,
					 CXL_LOG_WARNING, CXL_LOG_INFO };
	int total = 0;
	int err = clear_leftovers(dcd);

	if (err < 0)
		return err;
	for (unsigned i = 0; i < ARRAY_LEN(order); i++) {
		int n = logs & CXL_BIT(order[i]) ? drain_log(dcd, order[i]) : 0;

		if (n < 0)
			return n;
		total += n;
	}
	return total;
}

/* Until something may have happened, at most LEFT_US. A bit that says so in vain is not believed.
 */
static void wait_event(CxlDcd *dcd, uint64_t left_us, bool in_vain, uint64_t *pause)
{
	CxlDriver *driver = dcd->driver;
	uint64_t ms = (left_us + 999) / 1000;

	/* One that came while a command was waited for */
	if (dcd->memdev->irq_pending) {
		dcd->memdev->irq_pending = false;
		return;
	}
	if (driver->bus.irq_wait && !in_vain &&
	    driver->bus.irq_wait(driver->opaque, dcd->memdev->info.bdf,
				 (unsigned)(ms < IRQ_SLICE_MS ? ms : IRQ_SLICE_MS)) >= 0)
		return;
	driver_sleep_us(driver, left_us < *pause ? left_us : *pause);
	*pause = *pause * 2 < POLL_MAX_US ? *pause * 2 : POLL_MAX_US;
}

int cxl_dcd_poll(CxlDcd *dcd, unsigned timeout_ms)
{
	CxlDriver *driver = dcd->driver;
	uint64_t end = driver_now_us(driver) + timeout_ms * 1000ull;
	uint64_t pause = POLL_MIN_US;

	for (;;) {
		uint64_t until = end;
		uint64_t now;
		uint32_t logs = 0;
		int err = 0;
		int n = 0;

		if (dcd->must_resync)
			err = cxl_dcd_resync(dcd);
		if (err >= 0)
			err = read_status(dcd, &logs);
		if (err >= 0 && logs)
			n = drain(dcd, logs);
		if (err < 0 || n != 0)
			return err < 0 ? err : n;
		now = driver_now_us(driver);
		if (dcd->chain.n || dcd->chain.too_long) {
			uint64_t limit = dcd->chain_begun + dcd->options.chain_ms * 1000ull;

			if (now >= limit) {
				dcd->stats.n_chain_timeouts++;
				err = dc_chain_abandon(dcd, "its end did not come in time");
				if (err < 0)
					return err;
			} else if (limit < until) {
				until = limit;
			}
		}
		if (now >= end)
			return 0;
		wait_event(dcd, until > now ? until - now : 0, logs != 0, &pause);
	}
}
