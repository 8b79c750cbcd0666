/* SPDX-License-Identifier: BSD-3-Clause */
/* sendmsg and recvmsg with SCM_RIGHTS, leaving no descriptor behind on any path. */
#include "util/fdpass.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Room for the most that one message can carry, so that an excess is seen and not cut off. */
typedef union Control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(FDPASS_MAX * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
} Control;

ssize_t fdpass_send(int sock, const struct iovec *iov, int n_iov, const int *fds, int n_fds,
		    int flags)
{
	Control control = { 0 };
	struct msghdr msg = {
		.msg_iov = (struct iovec *)iov, /* sendmsg only reads it */
		.msg_iovlen = (size_t)n_iov,
	};
	ssize_t sent;

	if (n_iov < 0 || n_fds < 0 || n_fds > FDPASS_MAX)
		return -EINVAL;
	if (n_fds > 0) {
		size_t fds_len = (size_t)n_fds * sizeof(int);
		struct cmsghdr *cmsg;

		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(fds_len);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(fds_len);
		memcpy(CMSG_DATA(cmsg), fds, fds_len);
	}
	do {
		sent = sendmsg(sock, &msg, flags | MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : sent;
}

bool fdpass_take(struct msghdr *msg, int *fds, unsigned max_fds, unsigned *n_fds)
{
	bool fits = (msg->msg_flags & MSG_CTRUNC) == 0;

	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg != NULL;
	     cmsg = CMSG_NXTHDR(msg, cmsg)) {
		size_t n_here = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n_here; i++) {
			int fd;

			/* Not aligned for int on every ABI, hence a copy. */
			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));
			if (*n_fds < max_fds) {
				fds[(*n_fds)++] = fd;
			} else {
				close(fd);
				fits = false;
			}
		}
	}
	return fits;
}

ssize_t fdpass_recv(int sock, void *buf, size_t len, int *fds, int max_fds, int *ret_n_fds,
		    int flags)
{
	Control control;
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	struct msghdr msg;
	ssize_t got;
	unsigned n_fds = 0;
	int rc = 0;

	do {
		msg = (struct msghdr){
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control.bytes,
			.msg_controllen = sizeof(control.bytes),
		};
		got = recvmsg(sock, &msg, flags | MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;

	if (!fdpass_take(&msg, fds, (unsigned)max_fds, &n_fds))
		rc = -EPROTO;
	else if ((msg.msg_flags & MSG_TRUNC) != 0)
		rc = -EMSGSIZE;
	if (rc < 0) {
		while (n_fds-- > 0) {
			close(fds[n_fds]);
			fds[n_fds] = -1;
		}
		return rc;
	}
	*ret_n_fds = (int)n_fds;
	return got;
}
