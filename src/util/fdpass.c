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

/* Moves every descriptor of a received message into all, which must hold FDPASS_MAX. */
static int collect_fds(struct msghdr *msg, int *all)
{
	int n = 0;

	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg != NULL;
	     cmsg = CMSG_NXTHDR(msg, cmsg)) {
		size_t n_here;

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		n_here = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		/* Not aligned for int on every ABI, hence a copy. */
		memcpy(all + n, CMSG_DATA(cmsg), n_here * sizeof(int));
		n += (int)n_here;
	}
	return n;
}

ssize_t fdpass_recv(int sock, void *buf, size_t len, int *fds, int max_fds, int *ret_n_fds,
		    int flags)
{
	/* One word of slack per header bounds what control can hold, whatever mix of cmsgs. */
	int all[sizeof(Control) / sizeof(int)];
	Control control;
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	struct msghdr msg;
	ssize_t got;
	int n_all;
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

	n_all = collect_fds(&msg, all);
	if (n_all > max_fds || (msg.msg_flags & MSG_CTRUNC) != 0)
		rc = -EPROTO;
	else if ((msg.msg_flags & MSG_TRUNC) != 0)
		rc = -EMSGSIZE;
	if (rc < 0) {
		for (int i = 0; i < n_all; i++)
			close(all[i]);
		return rc;
	}
	if (n_all > 0)
		memcpy(fds, all, (size_t)n_all * sizeof(int));
	*ret_n_fds = n_all;
	return got;
}
