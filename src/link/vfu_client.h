/* SPDX-License-Identifier: BSD-3-Clause */
/* vfio-user client: what a VMM or process host uses to reach a device. Blocking, thread-safe. */
#ifndef LINK_VFU_CLIENT_H
#define LINK_VFU_CLIENT_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * One request in flight at a time (a mutex). After a time-out, a protocol violation or end of file
 * the connection is closed: reads then give all-ones, writes vanish, calls return -EIO, until
 * vfu_client_reconnect(). The call that met the end itself returns -ETIMEDOUT, -EPROTO or -EIO.
 * The server is not trusted: sizes, capability chains, sparse areas, seals and fds are checked.
 */
typedef struct VfuClient VfuClient;

/* Negotiates and reads all region info. Owns FD (also on failure). timeout_ms per request. */
VfuClient *vfu_client_new(int fd, unsigned timeout_ms, GError **error);
VfuClient *vfu_client_connect(const char *path, unsigned timeout_ms, GError **error);
void vfu_client_free(VfuClient *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfuClient, vfu_client_free)
/*
 * Goes on with the same device over FD (owned, also on failure), which a restarted server serves.
 * What was mapped is at the same address, now of the new server's file. False, with the client as
 * it was, if the server does not answer or the device is not as it was: sizes, mappings, interrupts
 * (G_IO_ERROR_NOT_SUPPORTED). No other call may run meanwhile that touches mapped areas directly.
 */
bool vfu_client_reconnect(VfuClient *client, int fd, GError **error);
/*
 * Resets the device if it has missed that, and writes into it what has been written since, or
 * before it went away: the plain PCI part of configuration space and the ranges named by
 * vfu_client_keep(); binds the eventfds of interrupts. Interrupts of the time between are lost:
 * look. 0 or -errno.
 */
int vfu_client_replay(VfuClient *client);
void vfu_client_keep(VfuClient *client, unsigned index, uint64_t offset, uint64_t len);
/* As if the server had closed. */
void vfu_client_disconnect(VfuClient *client);
/* The same for the server and for a request that waits, but waits for none itself. */
void vfu_client_abort(VfuClient *client);
/* Time for each request from now on, instead of the time the client was made with. */
void vfu_client_set_patience(VfuClient *client, unsigned ms);
/* False from the moment the server has closed, also if no call has noticed yet. */
bool vfu_client_is_connected(VfuClient *client);

uint64_t vfu_client_region_len(const VfuClient *client, unsigned index);
/*
 * 0 or -errno; on failure reads fill BUF with FFh. An access that lies wholly in a mapped area goes
 * straight to memory, at any width and alignment; else it is one message per max_data_xfer_size.
 */
int vfu_client_read(VfuClient *client, unsigned index, uint64_t offset, void *buf, uint32_t count);
/* POSTED: no reply is asked for (BAR writes); a later read orders them. */
int vfu_client_write(VfuClient *client, unsigned index, uint64_t offset, const void *buf,
		     uint32_t count, bool posted);
/*
 * The mapped area that holds [offset, offset+len) of a region, or NULL. Valid until free. Areas are
 * mapped only from files that cannot shrink, so that touching them never raises SIGBUS.
 */
void *vfu_client_peek_mapped(VfuClient *client, unsigned index, uint64_t offset, uint64_t len);
/* Mapped area N of a region (false: there are no more), as constant as the regions. */
bool vfu_client_area(const VfuClient *client, unsigned index, unsigned n, uint64_t *ret_offset,
		     uint64_t *ret_len, void **ret_hva);
bool vfu_client_region_is_writable(const VfuClient *client, unsigned index);
uint32_t vfu_client_n_irqs(VfuClient *client, unsigned index);
/*
 * Binds (fds[i] >= 0) or unbinds (-1) vectors start..start+n-1; the fds are duplicated by the
 * kernel. One message per run of bound or unbound ones; a failure leaves the earlier runs done.
 */
int vfu_client_set_irqs(VfuClient *client, unsigned index, unsigned start, const int *fds,
			unsigned n);
int vfu_client_disable_irqs(VfuClient *client, unsigned index);
/* One that fails is due again when the device is back, see vfu_client_replay(). */
int vfu_client_reset(VfuClient *client);
/* Messages sent so far: what a probe costs. */
uint64_t vfu_client_n_messages(const VfuClient *client);
/*
 * Look for a reply for US microseconds before sleeping until it comes, as long as that pays
 * (vfu_spin.h). Default 50; 0 = never.
 */
void vfu_client_set_spin(VfuClient *client, unsigned us);

#endif
