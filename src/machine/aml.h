/* SPDX-License-Identifier: BSD-3-Clause */
/* AML: writes the byte code of ACPI namespace objects. */
#ifndef MACHINE_AML_H
#define MACHINE_AML_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Terms are appended in the order in which ACPI 6.5, chapter 20 puts them. What has a length is
 * opened by one call and closed by aml_end(); what stands between belongs to it. An operator is
 * followed by its operands. Misuse (a name that is none, an end too many) is our own mistake and
 * asserted.
 */
typedef struct Aml Aml;

/* One-byte operators that are followed by operands only. */
typedef enum AmlOp {
	AML_NO_TARGET = 0x00,   /* as the target of an operator that has one */
	AML_STORE = 0x70,       /* source, target */
	AML_AND = 0x7b,         /* a, b, target */
	AML_OR = 0x7d,          /* a, b, target */
	AML_NOTIFY = 0x86,      /* object, value */
	AML_DWORD_FIELD = 0x8a, /* CreateDWordField: buffer, byte offset, aml_path() */
	AML_LOR = 0x91,         /* a, b */
	AML_LNOT = 0x92,        /* a */
	AML_LEQUAL = 0x93,      /* a, b */
	AML_RETURN = 0xa4,      /* value */
} AmlOp;

Aml *aml_new(void);
/* The bytes; everything opened has been ended. */
GByteArray *aml_finish(Aml *aml);

/* ---- what aml_end() ends ---- */

void aml_scope(Aml *aml, const char *path);
void aml_device(Aml *aml, const char *path);
void aml_method(Aml *aml, const char *path, unsigned n_args, bool serialized);
void aml_package(Aml *aml, uint8_t n_elements);
void aml_if(Aml *aml); /* then the predicate, then the terms */
void aml_else(Aml *aml);
void aml_resources(Aml *aml); /* a resource template: only aml_res_...() in it */
void aml_end(Aml *aml);

/* ---- terms ---- */

/* The name of what follows: a value or package. */
void aml_name(Aml *aml, const char *path);
/* A reference: "\\_SB_.PWRB", "CDW1". Segments have four characters. */
void aml_path(Aml *aml, const char *path);
void aml_op(Aml *aml, AmlOp op);
void aml_int(Aml *aml, uint64_t value);
void aml_string(Aml *aml, const char *text);
void aml_buffer(Aml *aml, const void *data, uint8_t len);
void aml_eisa_id(Aml *aml, const char *id); /* "PNP0C02" */
void aml_uuid(Aml *aml, const char *uuid);  /* as ToUUID() does: the first three parts swapped */
void aml_arg(Aml *aml, unsigned n);

/* aml_name() and a value, for short. */
void aml_name_int(Aml *aml, const char *path, uint64_t value);
void aml_name_string(Aml *aml, const char *path, const char *text);
void aml_name_eisa_id(Aml *aml, const char *path, const char *id);

/* ---- resources ---- */

/* LEN ports from BASE, decoded with 16 bits. */
void aml_res_io(Aml *aml, uint16_t base, uint8_t len);
/* An edge, active high, not shared. */
void aml_res_irq(Aml *aml, uint32_t gsi);
/* Memory that the device itself takes up. */
void aml_res_memory(Aml *aml, uint64_t base, uint64_t len);
/* What a bridge hands down: bus numbers, memory below and above 4 GiB. LEN is not 0. */
void aml_res_buses(Aml *aml, uint8_t first, uint8_t last);
void aml_res_window32(Aml *aml, uint32_t base, uint32_t len);
void aml_res_window64(Aml *aml, uint64_t base, uint64_t len);

#endif
