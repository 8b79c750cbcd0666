/* SPDX-License-Identifier: BSD-3-Clause */
/* Register blocks: accesses that cannot leave their block. */
#include "driver/driver_private.h"

#include <errno.h>
#include <string.h>

static bool inside(const RegBlock *regs, uint64_t offset, uint64_t len)
{
	return offset <= regs->len && len <= regs->len - offset;
}

int regs_read(const RegBlock *regs, uint64_t offset, void *buf, uint32_t len)
{
	CxlDriver *driver = regs->driver;

	if (!inside(regs, offset, len)) {
		memset(buf, 0xff, len);
		return -ERANGE;
	}
	offset += regs->offset;
	if (regs->chbcr)
		return driver->bus.chbcr_read(driver->opaque, regs->id, (uint32_t)offset, buf, len);
	return driver->bus.bar_read(driver->opaque, regs->id, regs->bar, offset, buf, len);
}

int regs_write(const RegBlock *regs, uint64_t offset, const void *buf, uint32_t len)
{
	CxlDriver *driver = regs->driver;

	if (!inside(regs, offset, len))
		return -ERANGE;
	offset += regs->offset;
	if (regs->chbcr)
		return driver->bus.chbcr_write(driver->opaque, regs->id, (uint32_t)offset, buf,
					       len);
	return driver->bus.bar_write(driver->opaque, regs->id, regs->bar, offset, buf, len);
}

int regs_read32(const RegBlock *regs, uint64_t offset, uint32_t *ret_val)
{
	le32 wire;
	int err = regs_read(regs, offset, &wire, sizeof(wire));

	if (err >= 0)
		*ret_val = le32_get(wire);
	return err < 0 ? err : 0;
}

int regs_read64(const RegBlock *regs, uint64_t offset, uint64_t *ret_val)
{
	le64 wire;
	int err = regs_read(regs, offset, &wire, sizeof(wire));

	if (err >= 0)
		*ret_val = le64_get(wire);
	return err < 0 ? err : 0;
}

int regs_write32(const RegBlock *regs, uint64_t offset, uint32_t val)
{
	le32 wire = le32_put(val);
	int err = regs_write(regs, offset, &wire, sizeof(wire));

	return err < 0 ? err : 0;
}

int regs_write64(const RegBlock *regs, uint64_t offset, uint64_t val)
{
	le64 wire = le64_put(val);
	int err = regs_write(regs, offset, &wire, sizeof(wire));

	return err < 0 ? err : 0;
}

int regs_slice(const RegBlock *whole, uint64_t offset, uint64_t len, RegBlock *ret_part)
{
	if (!inside(whole, offset, len))
		return -ERANGE;
	*ret_part = *whole;
	ret_part->offset += offset;
	ret_part->len = len;
	return 0;
}
