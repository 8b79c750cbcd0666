/* SPDX-License-Identifier: BSD-3-Clause */
/* The capability JSON in the VERSION messages of both ends. */
#ifndef LINK_VFU_CAPS_H
#define LINK_VFU_CAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct VfuCaps {
	uint32_t max_msg_fds; /* the sender can receive */
	uint32_t max_data;    /* max_data_xfer_size */
} VfuCaps;

/*
 * Parses what a peer sent. LEN counts the closing NUL; 0 is a peer without JSON, who gets the
 * defaults. Returns NULL on success, else what is wrong, as a constant sentence.
 */
const char *vfu_caps_parse(const char *json, size_t len, VfuCaps *ret);

/* Writes the text with its NUL to BUF and returns its length with it. BUF_LEN: at least 128. */
size_t vfu_caps_format(const VfuCaps *caps, char *buf, size_t buf_len);

#endif
