/* SPDX-License-Identifier: BSD-3-Clause */
/* The eventfds that a vfio-user client bound to interrupt vectors. */
#include "link/vfu_irq.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/aio_abi.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define DATA_MASK (VFU_IRQ_DATA_NONE | VFU_IRQ_DATA_BOOL | VFU_IRQ_DATA_EVENTFD)

static void notifier_try_aio(VfuNotifier *notifier)
{
	aio_context_t aio = 0;

	notifier->tried = true;
	notifier->read_fd = memfd_create("softdcd-irq", MFD_CLOEXEC);
	if (notifier->read_fd >= 0 && syscall(SYS_io_setup, 1, &aio) == 0)
		notifier->aio = aio;
}

static bool notifier_signal_aio(VfuNotifier *notifier, int eventfd)
{
	struct iocb request = {
		.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_fildes = (uint32_t)notifier->read_fd,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (uint32_t)eventfd,
	};
	struct iocb *requests[] = { &request };
	struct io_event event;
	struct timespec no_wait = { 0 };

	if (syscall(SYS_io_submit, notifier->aio, 1L, requests) != 1)
		return false;
	/* A read of no bytes completes while it is submitted; this takes it off the ring. */
	syscall(SYS_io_getevents, notifier->aio, 1L, 1L, &event, &no_wait);
	return true;
}

void vfu_notifier_signal(VfuNotifier *notifier, int eventfd)
{
	static const uint64_t one = 1;
	int flags;
	ssize_t ignored;

	if (!notifier->tried)
		notifier_try_aio(notifier);
	if (notifier->aio != 0 && notifier_signal_aio(notifier, eventfd))
		return;
	flags = fcntl(eventfd, F_GETFL);
	if (flags < 0)
		return;
	if ((flags & O_NONBLOCK) == 0 && fcntl(eventfd, F_SETFL, flags | O_NONBLOCK) < 0)
		return;
	/* EAGAIN: the counter is at its end, so the client has an interrupt pending anyway. */
	ignored = write(eventfd, &one, sizeof(one));
	(void)ignored;
}

void vfu_notifier_clear(VfuNotifier *notifier)
{
	if (notifier->aio != 0)
		syscall(SYS_io_destroy, notifier->aio);
	if (notifier->read_fd >= 0)
		close(notifier->read_fd);
	*notifier = (VfuNotifier)VFU_NOTIFIER_INIT;
}

void vfu_irq_init(VfuIrqTable *table, VfuNotifier *notifier)
{
	*table = (VfuIrqTable){ .notifier = notifier };
}

static void unbind(int *slot)
{
	if (*slot >= 0)
		close(*slot);
	*slot = -1;
}

static void unbind_all(VfuIrqTable *table, unsigned index)
{
	for (uint32_t i = 0; i < table->index[index].n; i++)
		unbind(&table->index[index].fds[i]);
}

void vfu_irq_set_count(VfuIrqTable *table, unsigned index, uint32_t n)
{
	unbind_all(table, index);
	g_free(table->index[index].fds);
	n = MIN(n, VFU_MAX_VECTORS);
	table->index[index].n = n;
	table->index[index].fds = g_new(int, n);
	for (uint32_t i = 0; i < n; i++)
		table->index[index].fds[i] = -1;
}

void vfu_irq_clear(VfuIrqTable *table)
{
	for (unsigned i = 0; i < VFU_N_IRQ_INDEXES; i++) {
		unbind_all(table, i);
		g_clear_pointer(&table->index[i].fds, g_free);
		table->index[i].n = 0;
	}
}

void vfu_irq_signal(VfuIrqTable *table, unsigned index, unsigned vector)
{
	if (index >= VFU_N_IRQ_INDEXES || vector >= table->index[index].n)
		return;
	if (table->index[index].fds[vector] >= 0)
		vfu_notifier_signal(table->notifier, table->index[index].fds[vector]);
}

/* A write to anything else could block, or change a file that only we may write. */
static bool is_eventfd(int fd)
{
	static const char expected[] = "anon_inode:[eventfd]";
	char link[sizeof("/proc/self/fd/-2147483648")];
	char target[sizeof(expected)];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, target, sizeof(target));
	return n == (ssize_t)sizeof(expected) - 1 && memcmp(target, expected, (size_t)n) == 0;
}

static int bind_eventfds(VfuIrqTable *table, unsigned index, uint32_t start, uint32_t count,
			 int *fds, unsigned n_fds)
{
	int *slots = table->index[index].fds + start;

	if (n_fds != 0 && n_fds != count)
		return EINVAL;
	for (unsigned i = 0; i < n_fds; i++) {
		if (!is_eventfd(fds[i]))
			return EINVAL;
	}
	for (uint32_t i = 0; i < count; i++) {
		unbind(&slots[i]);
		if (n_fds > 0) {
			slots[i] = fds[i];
			fds[i] = -1;
		}
	}
	return 0;
}

static int fire(VfuIrqTable *table, unsigned index, uint32_t start, uint32_t count,
		const uint8_t *selected)
{
	for (uint32_t i = 0; selected != NULL && i < count; i++) {
		if (selected[i] > 1)
			return EINVAL;
	}
	for (uint32_t i = 0; i < count; i++) {
		if (selected == NULL || selected[i] == 1)
			vfu_irq_signal(table, index, start + i);
	}
	return 0;
}

int vfu_irq_apply(VfuIrqTable *table, const VfuIrqSet *set, const uint8_t *data, uint32_t data_len,
		  int *fds, unsigned n_fds)
{
	uint32_t flags = le32_get(set->flags);
	uint32_t index = le32_get(set->index);
	uint32_t start = le32_get(set->start);
	uint32_t count = le32_get(set->count);
	uint32_t kind = flags & DATA_MASK;

	/* Nothing here can be masked: IRQ_INFO does not say so, and MSI-X masks are the client's.
	 */
	if (kind == 0 || (kind & (kind - 1)) != 0 || (flags & ~DATA_MASK) != VFU_IRQ_ACTION_TRIGGER)
		return EINVAL;
	if (le32_get(set->argsz) != sizeof(*set) + (uint64_t)data_len || index >= VFU_N_IRQ_INDEXES)
		return EINVAL;
	if (data_len != (kind == VFU_IRQ_DATA_BOOL ? count : 0))
		return EINVAL;
	if (kind != VFU_IRQ_DATA_EVENTFD && n_fds > 0)
		return EINVAL;
	if (count == 0) {
		if (kind != VFU_IRQ_DATA_NONE || start != 0)
			return EINVAL;
		unbind_all(table, index);
		return 0;
	}
	if (start >= table->index[index].n || count > table->index[index].n - start)
		return EINVAL;
	if (index >= VFU_IRQ_ERR && count > 1)
		return EINVAL;
	if (kind == VFU_IRQ_DATA_EVENTFD)
		return bind_eventfds(table, index, start, count, fds, n_fds);
	return fire(table, index, start, count, kind == VFU_IRQ_DATA_BOOL ? data : NULL);
}
