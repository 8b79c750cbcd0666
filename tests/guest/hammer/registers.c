/* SPDX-License-Identifier: BSD-3-Clause */
/* Registers at random: configuration space and both BARs. */
#include "hammer.h"

#include "cxl/cci.h"
#include "cxl/component.h"
#include "cxl/device.h"
#include "cxl/pci.h"

#include <string.h>
#include <time.h>

#define CONFIG         N_BARS /* as a space, after the BARs */
#define ROUNDS_TO_TIDY 256    /* rounds until memory decoding is surely on again */

/* Where things are: docs/device.md, and lspci. What is hit more often than its size would say. */
static const struct target {
	unsigned space;
	uint32_t offset, len; /* 0: all of it */
	unsigned weight;
} targets[] = {
	{ CONFIG, 0, PCI_CONFIG_LEN, 4 },
	{ CONFIG, 0, 0x40, 4 },      /* header */
	{ CONFIG, 0x40, 0x50, 4 },   /* PCI Express, MSI-X */
	{ CONFIG, 0x100, 0x48, 2 },  /* AER */
	{ CONFIG, 0x160, 0x90, 4 },  /* DVSECs */
	{ CONFIG, 0x1f0, 0x18, 8 },  /* DOE */
	{ 0, 0, 0, 4 },              /* registers, all */
	{ 0, 0x1000, 0x200, 16 },    /* RAS, decoders */
	{ 0, REGS_OFFSET, 0x80, 4 }, /* device capabilities */
	{ 0, 0x10f00, 0x120, 8 },    /* around the mailbox, wherever it begins */
	{ 2, 0, 0, 4 },              /* MSI-X, all */
	{ 2, 0, 0x100, 8 },          /* its table */
	{ 2, 0x800, 0x10, 2 },       /* its pending bits */
};

#define N_TARGETS (sizeof(targets) / sizeof(targets[0]))

static const struct target *pick_target(Random *random)
{
	unsigned sum = 0;
	uint32_t pick;

	for (size_t i = 0; i < N_TARGETS; i++)
		sum += targets[i].weight;
	pick = random_below(random, sum);
	for (size_t i = 0; i < N_TARGETS; i++) {
		if (pick < targets[i].weight)
			return &targets[i];
		pick -= targets[i].weight;
	}
	return &targets[0];
}

/* Bus mastering stays off: vectors at random addresses would be writes to the guest's memory. */
static void write_config(const GuestDevice *dev, unsigned offset, uint64_t value, unsigned len)
{
	uint8_t bytes[8];

	le64_store(bytes, value);
	if (offset <= PCI_CFG_COMMAND && PCI_CFG_COMMAND < offset + len)
		bytes[PCI_CFG_COMMAND - offset] &= (uint8_t)~PCI_CMD_MASTER;
	guest_device_config_write(dev, offset, bytes, len);
}

static void access_config(const GuestDevice *dev, Random *random, uint32_t offset)
{
	unsigned len = 1 + random_below(random, 8);

	if (len > PCI_CONFIG_LEN - offset)
		len = PCI_CONFIG_LEN - offset;
	if (random_below(random, 3) == 0)
		(void)guest_device_config_read(dev, offset, len > 4 ? 4 : len);
	else
		write_config(dev, offset, random_value(random), len);
}

static void access_bar(volatile uint8_t *at, Random *random, unsigned width)
{
	uint64_t value = random_value(random);
	bool reads = random_below(random, 3) == 0;

	switch (width) {
	case 1:
		if (reads)
			(void)*at;
		else
			*at = (uint8_t)value;
		break;
	case 2:
		if (reads)
			(void)*(volatile uint16_t *)at;
		else
			*(volatile uint16_t *)at = (uint16_t)value;
		break;
	case 4:
		if (reads)
			(void)*(volatile uint32_t *)at;
		else
			*(volatile uint32_t *)at = (uint32_t)value;
		break;
	default:
		if (reads)
			(void)*(volatile uint64_t *)at;
		else
			*(volatile uint64_t *)at = value;
		break;
	}
}

static void access_at_random(const GuestDevice *dev, Random *random)
{
	const struct target *target = pick_target(random);
	size_t end = target->space == CONFIG ? PCI_CONFIG_LEN : dev->bar_lens[target->space];
	uint32_t len = target->len != 0 ? target->len : (uint32_t)end;
	uint32_t offset = target->offset + random_below(random, len);
	unsigned width = 1u << random_below(random, 4);

	if (random_below(random, 2) == 0)
		offset &= ~(width - 1u);
	if (target->space == CONFIG)
		access_config(dev, random, offset);
	else if (dev->bars[target->space] && offset + width <= end)
		access_bar(dev->bars[target->space] + offset, random, width);
}

/* ---- what looks like a driver ---- */

#define DOE 0x1f0

static void put_doe(const GuestDevice *dev, unsigned reg, uint32_t value)
{
	uint8_t bytes[4];

	le32_store(bytes, value);
	guest_device_config_write(dev, DOE + reg, bytes, sizeof(bytes));
}

/* A request of any kind and length, and so many words of the answer as may be. */
static unsigned exchange_doe(const GuestDevice *dev, Random *random)
{
	uint32_t n_in = random_below(random, 8), n_out = random_below(random, 64);
	bool is_good = random_below(random, 2) == 0;
	uint32_t header = CXL_FIELD_PUT(PCI_DOE_OBJECT_VENDOR, is_good ? PCI_VENDOR_CXL : 1u) |
			  CXL_FIELD_PUT(PCI_DOE_OBJECT_TYPE,
					is_good ? 2u : random_below(random, 4));

	put_doe(dev, PCI_DOE_REG_WRITE, header);
	put_doe(dev, PCI_DOE_REG_WRITE, is_good ? 3 : (uint32_t)random_value(random));
	for (uint32_t i = 0; i < n_in; i++)
		put_doe(dev, PCI_DOE_REG_WRITE, (uint32_t)random_value(random) & 0xffff00ff);
	put_doe(dev, PCI_DOE_REG_CTRL, PCI_DOE_CONTROL_GO);
	for (uint32_t i = 0; i < n_out; i++) {
		(void)guest_device_config_read(dev, DOE + PCI_DOE_REG_READ, 4);
		put_doe(dev, PCI_DOE_REG_READ, 0);
	}
	if (random_below(random, 2) == 0)
		put_doe(dev, PCI_DOE_REG_CTRL, PCI_DOE_CONTROL_ABORT);
	return 3 + n_in + 2 * n_out;
}

static uint32_t find_decoders(const GuestDevice *dev)
{
	volatile uint32_t *array = (volatile uint32_t *)(dev->bars[0] + CXL_COMPONENT_CACHEMEM);
	uint32_t n = CXL_FIELD_GET(CXL_CM_ARRAY_COUNT, array[0]);

	for (uint32_t i = 1; i <= n && i < 64; i++) {
		if (CXL_FIELD_GET(CXL_CM_CAP_ID, array[i]) == CXL_CM_ID_HDM)
			return CXL_COMPONENT_CACHEMEM + CXL_FIELD_GET(CXL_CM_CAP_PTR, array[i]);
	}
	return 0;
}

/* A decoder as one might be, committed or taken back. */
static unsigned program_decoder(const GuestDevice *dev, Random *random)
{
	uint32_t at = find_decoders(dev);
	unsigned n = random_below(random, 11);
	const struct {
		uint32_t reg, value;
	} writes[] = {
		{ CXL_HDM_CTRL, CXL_HDM_CTRL_ENABLE },
		{ CXL_HDM_BASE_LO(n), (uint32_t)random_next(random) & CXL_HDM_ADDR_LO_MASK },
		{ CXL_HDM_BASE_HI(n), random_below(random, 32) },
		{ CXL_HDM_SIZE_LO(n), (1 + random_below(random, 4)) << 28 },
		{ CXL_HDM_SIZE_HI(n), random_below(random, 8) == 0 ? UINT32_MAX : 0 },
		{ CXL_HDM_SKIP_LO(n), random_below(random, 2) << 28 },
		{ CXL_HDM_DEC_CTRL(n),
		  random_below(random, 4) == 0 ? 0 : CXL_HDM_DEC_COMMIT | CXL_HDM_DEC_HOST_ONLY },
	};

	if (at == 0)
		return 1; /* decoding is off just now */
	for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]); i++)
		*(volatile uint32_t *)(dev->bars[0] + at + writes[i].reg) = writes[i].value;
	return 7;
}

/* The doorbell with any opcode; nobody waits for the end of it. */
static unsigned send_command(const GuestDevice *dev, Random *random)
{
	static const uint8_t sets[] = { 0x00, 0x01, 0x03, 0x04, 0x40, 0x41, 0x42, 0x48 };
	uint8_t in[64];
	uint32_t in_len = random_below(random, sizeof(in) + 1);
	uint16_t opcode = (uint16_t)(sets[random_below(random, sizeof(sets))] << 8 |
				     random_below(random, 5));

	random_fill(random, in, sizeof(in));
	mailbox_put(dev, opcode, in, in_len,
		    random_below(random, 8) == 0 ? (uint32_t)random_next(random) : in_len);
	mailbox_ring(dev);
	return in_len / 8 + 2;
}

static unsigned reset_function(const GuestDevice *dev)
{
	uint8_t value[2];

	le16_store(value, PCI_PCIE_DEVCTL_FLR);
	guest_device_config_write(dev, 0x40 + PCI_PCIE_DEVCTL, value, sizeof(value));
	guest_device_restore(dev);
	return 1;
}

static time_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec;
}

uint64_t hammer_registers(const GuestDevice *dev, Random *random, unsigned seconds)
{
	time_t end = now() + (time_t)seconds;
	uint64_t n = 0;

	for (uint64_t round = 0; round % 64 != 0 || now() < end; round++) {
		uint32_t pick = random_below(random, 200);

		if (round % ROUNDS_TO_TIDY == 0)
			guest_device_restore(dev);
		if (pick == 0)
			n += exchange_doe(dev, random);
		else if (pick < 4)
			n += program_decoder(dev, random);
		else if (pick < 8)
			n += send_command(dev, random);
		else if (pick == 8 && random_below(random, 32) == 0)
			n += reset_function(dev);
		else
			access_at_random(dev, random);
		n++;
	}
	/* Whoever opens it next takes the BARs for what they say. */
	guest_device_restore(dev);
	return n;
}
