/* SPDX-License-Identifier: BSD-3-Clause */
/* Legacy ports: CMOS clock, the timer's ports as those of one that never ends, sleep and reset. */
#include "machine/legacy.h"

#include "machine/layout.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define PORT_TIMER2 0x42
#define PORT_RTC    0x70 /* index, data */

#define SLP_EN        0x20
#define SLP_TYP_SHIFT 2
#define SLP_TYP_MASK  7

/* CMOS clock registers; times are BCD */
enum {
	RTC_SECONDS = 0x00,
	RTC_MINUTES = 0x02,
	RTC_HOURS = 0x04,
	RTC_WEEKDAY = 0x06,
	RTC_DAY = 0x07,
	RTC_MONTH = 0x08,
	RTC_YEAR = 0x09,
	RTC_STATUS_A = 0x0a,
	RTC_STATUS_B = 0x0b,
	RTC_STATUS_D = 0x0d,
	RTC_CENTURY = 0x32,
};
#define STATUS_A_DIVIDER 0x26 /* 32,768 Hz, no update in progress */
#define STATUS_B_24H     0x02
#define STATUS_D_VALID   0x80

#define N_RANGES 4u

struct Legacy {
	MachineBus *bus;
	MachineBusRange *ranges[N_RANGES];
	const LegacyOps *ops;
	void *opaque;
	atomic_uint rtc_index;
};

/* ---- clock ---- */

static uint8_t bcd(int value)
{
	return (uint8_t)(value / 10 % 10 << 4 | value % 10);
}

static uint8_t read_clock(unsigned index)
{
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	switch (index) {
	case RTC_SECONDS:
		return bcd(tm.tm_sec);
	case RTC_MINUTES:
		return bcd(tm.tm_min);
	case RTC_HOURS:
		return bcd(tm.tm_hour);
	case RTC_WEEKDAY:
		return bcd(tm.tm_wday + 1);
	case RTC_DAY:
		return bcd(tm.tm_mday);
	case RTC_MONTH:
		return bcd(tm.tm_mon + 1);
	case RTC_YEAR:
		return bcd(tm.tm_year % 100);
	case RTC_CENTURY:
		return bcd(19 + tm.tm_year / 100);
	case RTC_STATUS_A:
		return STATUS_A_DIVIDER;
	case RTC_STATUS_B:
		return STATUS_B_24H;
	case RTC_STATUS_D:
		return STATUS_D_VALID;
	default:
		return 0;
	}
}

static void rtc_read(void *opaque, uint64_t offset, void *buf, uint32_t len)
{
	Legacy *legacy = opaque;
	uint8_t *bytes = buf;

	for (uint32_t i = 0; i < len; i++) {
		unsigned index = atomic_load(&legacy->rtc_index);

		bytes[i] = offset + i == 0 ? (uint8_t)index : read_clock(index);
	}
}

static void rtc_write(void *opaque, uint64_t offset, const void *buf, uint32_t len)
{
	Legacy *legacy = opaque;
	const uint8_t *bytes = buf;

	/* Bit 7 is the NMI mask. The clock cannot be set. */
	if (offset == 0)
		atomic_store(&legacy->rtc_index, bytes[0] & 0x7f);
}

/* ---- timer ---- */

/* Linux: 0 ends its calibration by the timer at once, all-ones after 100,000 reads. */
static void zero_read(void *opaque, uint64_t offset, void *buf, uint32_t len)
{
	memset(buf, 0, len);
}

static void drop_write(void *opaque, uint64_t offset, const void *buf, uint32_t len)
{
}

/* ---- sleep and reset ---- */

static void sleep_write(void *opaque, uint64_t offset, const void *buf, uint32_t len)
{
	Legacy *legacy = opaque;
	uint8_t value = *(const uint8_t *)buf;

	if (offset == 0 && value & SLP_EN &&
	    (value >> SLP_TYP_SHIFT & SLP_TYP_MASK) == MACHINE_SLEEP_TYPE_S5)
		legacy->ops->power_off(legacy->opaque);
}

static void reset_write(void *opaque, uint64_t offset, const void *buf, uint32_t len)
{
	Legacy *legacy = opaque;

	if (*(const uint8_t *)buf == MACHINE_RESET_VALUE)
		legacy->ops->reset(legacy->opaque);
}

static const struct {
	uint16_t port, n;
	MachineBusOps ops;
} ranges[N_RANGES] = {
	{ PORT_RTC, 2, { rtc_read, rtc_write } },
	{ PORT_TIMER2, 1, { zero_read, drop_write } },
	/* Control and status; of the latter only the bit that is never set matters. */
	{ MACHINE_PORT_SLEEP_CONTROL, 2, { zero_read, sleep_write } },
	{ MACHINE_PORT_RESET, 1, { zero_read, reset_write } },
};

Legacy *legacy_new(MachineBus *bus, const LegacyOps *ops, void *opaque)
{
	g_autoptr(Legacy) legacy = g_new0(Legacy, 1);

	legacy->bus = bus;
	legacy->ops = ops;
	legacy->opaque = opaque;
	for (unsigned i = 0; i < N_RANGES; i++) {
		legacy->ranges[i] = machine_bus_add(bus, MACHINE_BUS_PIO, ranges[i].port,
						    ranges[i].n, &ranges[i].ops, legacy);
		if (!legacy->ranges[i])
			return NULL;
	}
	return g_steal_pointer(&legacy);
}

void legacy_free(Legacy *legacy)
{
	if (!legacy)
		return;
	for (unsigned i = 0; i < N_RANGES; i++)
		machine_bus_remove(legacy->bus, legacy->ranges[i]);
	g_free(legacy);
}
