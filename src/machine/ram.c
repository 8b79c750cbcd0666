/* SPDX-License-Identifier: BSD-3-Clause */
/* RAM: reserved huge pages if there are enough, else ordinary memory and a wish for huge ones. */
#include "machine/ram.h"

#include "util/autofd.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <linux/memfd.h>
#include <sys/mman.h>

#define HUGE_LEN (UINT64_C(2) << 20)

/* Back ends get the file: one that made it shorter would take memory away under us. */
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/* At AT, which is ours, or where the kernel likes if NULL. 0 or -errno. */
static int try_map(uint64_t len, unsigned flags, void *at, Ram *ret)
{
	AUTOFD int fd = memfd_create("guest-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
	void *hva;

	if (fd < 0 || ftruncate(fd, (off_t)len) || fcntl(fd, F_ADD_SEALS, SEALS))
		return -errno;
	hva = mmap(at, len, PROT_READ | PROT_WRITE, MAP_SHARED | (at ? MAP_FIXED : 0), fd, 0);
	if (hva == MAP_FAILED)
		return -errno;
	ret->hva = hva;
	ret->len = len;
	ret->fd = fd_steal(&fd);
	ret->is_huge = flags & MFD_HUGETLB;
	return 0;
}

/* At an address aligned to a huge page. */
static int map_ordinary(uint64_t len, Ram *ret)
{
	uint8_t *all = mmap(NULL, len + HUGE_LEN, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t before;
	int rc;

	if (all == MAP_FAILED)
		return -errno;
	before = -(uintptr_t)all % HUGE_LEN;
	rc = try_map(len, 0, all + before, ret);
	if (rc) {
		munmap(all, len + HUGE_LEN);
		return rc;
	}
	if (before)
		munmap(all, before);
	munmap(all + before + len, HUGE_LEN - before);
	madvise(ret->hva, len, MADV_HUGEPAGE);
	return 0;
}

bool ram_init(Ram *ret, uint64_t len, GError **error)
{
	int rc = try_map(len, MFD_HUGETLB | MFD_HUGE_2MB, NULL, ret);

	if (rc)
		rc = map_ordinary(len, ret);
	if (rc) {
		g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-rc),
			    "%" G_GUINT64_FORMAT " MiB of memory for the guest: %s", len >> 20,
			    g_strerror(-rc));
		return false;
	}
	/* A core of ours need not hold what is the guest's. */
	madvise(ret->hva, len, MADV_DONTDUMP);
	return true;
}

void ram_clear(Ram *ram)
{
	if (ram->hva)
		munmap(ram->hva, ram->len);
	fd_close_auto(&ram->fd);
	*ram = (Ram){ .fd = -EBADF };
}

int ram_add(const Ram *ram, const MachineLayout *layout, GuestMemory *memory)
{
	const GuestRegion low = {
		.len = layout->ram_low_len,
		.hva = ram->hva,
		.fd = ram->fd,
		.writable = true,
	};
	const GuestRegion high = {
		.gpa = MACHINE_RAM_HIGH,
		.len = layout->ram_high_len,
		.hva = ram->hva + layout->ram_low_len,
		.fd = ram->fd,
		.offset = layout->ram_low_len,
		.writable = true,
	};
	int rc = guest_memory_add_ram(memory, &low);

	return rc || !high.len ? rc : guest_memory_add_ram(memory, &high);
}
