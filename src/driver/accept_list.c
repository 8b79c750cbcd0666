/* SPDX-License-Identifier: BSD-3-Clause */
/* The usual acceptance policy, all, none or some tags, and the text form of tags. */
#include "driver/driver_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* 36 characters at TEXT: 8-4-4-4-12 hexadecimal digits */
static int parse_tag(const char *text, size_t len, CxlTag *ret_tag)
{
	CxlTag tag;
	unsigned n = 0;

	if (len != CXL_TAG_TEXT_LEN - 1)
		return -EINVAL;
	for (size_t i = 0; i < len;) {
		int hi;
		int lo;

		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (text[i++] != '-')
				return -EINVAL;
			continue;
		}
		hi = hex_digit(text[i]);
		lo = hex_digit(text[i + 1]);
		if (hi < 0 || lo < 0)
			return -EINVAL;
		tag.b[n++] = (uint8_t)(hi << 4 | lo);
		i += 2;
	}
	*ret_tag = tag;
	return 0;
}

int cxl_tag_parse(const char *text, CxlTag *ret_tag)
{
	return parse_tag(text, strlen(text), ret_tag);
}

void cxl_tag_format(const CxlTag *tag, char text[CXL_TAG_TEXT_LEN])
{
	static const char digits[] = "0123456789abcdef";
	char *at = text;

	for (unsigned i = 0; i < sizeof(tag->b); i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		*at++ = digits[tag->b[i] >> 4];
		*at++ = digits[tag->b[i] & 0xf];
	}
	*at = '\0';
}

int cxl_accept_list_parse(const char *text, CxlAcceptList *ret_list)
{
	CxlAcceptList list = { 0 };
	size_t n = 1;

	if (strcmp(text, "all") == 0 || strcmp(text, "none") == 0) {
		list.all = text[0] == 'a';
		*ret_list = list;
		return 0;
	}
	for (const char *c = text; *c; c++)
		n += *c == ',';
	list.tags = calloc(n, sizeof(*list.tags));
	if (!list.tags)
		return -ENOMEM;
	for (;;) {
		size_t len = strcspn(text, ",");
		int err = parse_tag(text, len, &list.tags[list.n_tags]);

		if (err < 0) {
			cxl_accept_list_clear(&list);
			return err;
		}
		list.n_tags++;
		if (!text[len])
			break;
		text += len + 1;
	}
	*ret_list = list;
	return 0;
}

void cxl_accept_list_clear(CxlAcceptList *list)
{
	free(list->tags);
	memset(list, 0, sizeof(*list));
}

CxlAccept cxl_accept_list_judge(const CxlAcceptList *list, const CxlDcGroup *offer)
{
	if (list->all)
		return CXL_ACCEPT_ALL;
	for (uint32_t i = 0; offer->tagged && i < list->n_tags; i++) {
		if (memcmp(&list->tags[i], &offer->tag, sizeof(CxlTag)) == 0)
			return CXL_ACCEPT_ALL;
	}
	return CXL_ACCEPT_NONE;
}
