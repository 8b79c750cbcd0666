/* SPDX-License-Identifier: BSD-3-Clause */
/* Data object exchange: the mailbox in configuration space through which the CDAT is read. */
#include "device/doe.h"
#include <string.h>

typedef struct DoeObject {
	uint32_t dwords[DOE_MAX_DWORDS];
	unsigned n;
} DoeObject;

struct Doe {
	const Cdat *cdat;
	bool error;
	DoeObject request;
	DoeObject response;
	unsigned n_read; /* dwords of the response that were acknowledged */
};

typedef struct DoeProtocol {
	uint16_t vendor;
	uint8_t type;
	unsigned n_request; /* dwords, with the header */
	/* Appends to the response, which has its header already; false: malformed */
	bool (*run)(const Doe *doe, const uint32_t *payload, DoeObject *response);
} DoeProtocol;

static bool run_discovery(const Doe *doe, const uint32_t *payload, DoeObject *response);
static bool run_cdat(const Doe *doe, const uint32_t *payload, DoeObject *response);

static const DoeProtocol protocols[] = {
	{ PCI_VENDOR_PCISIG, PCI_DOE_TYPE_DISCOVERY, PCI_DOE_DISCOVERY_DWORDS, run_discovery },
	{ PCI_VENDOR_CXL, CXL_DOE_TYPE_CDAT, CXL_CDAT_DOE_REQUEST_DWORDS, run_cdat },
};

static void append(DoeObject *object, uint32_t dword)
{
	g_assert(object->n < DOE_MAX_DWORDS);
	object->dwords[object->n++] = dword;
}

static bool run_discovery(const Doe *doe, const uint32_t *payload, DoeObject *response)
{
	unsigned index = CXL_FIELD_GET(PCI_DOE_DISCOVERY_REQ_INDEX, payload[0]);
	unsigned next = index + 1 < G_N_ELEMENTS(protocols) ? index + 1 : 0;

	if (index >= G_N_ELEMENTS(protocols)) {
		/* "Nothing here" is vendor FFFFh */
		append(response, PCI_DOE_DISCOVERY_RSP_VENDOR);
		return true;
	}
	append(response,
	       CXL_FIELD_PUT(PCI_DOE_DISCOVERY_RSP_VENDOR, (uint32_t)protocols[index].vendor) |
		       CXL_FIELD_PUT(PCI_DOE_DISCOVERY_RSP_TYPE, (uint32_t)protocols[index].type) |
		       CXL_FIELD_PUT(PCI_DOE_DISCOVERY_RSP_NEXT, (uint32_t)next));
	return true;
}

static bool run_cdat(const Doe *doe, const uint32_t *payload, DoeObject *response)
{
	unsigned index = CXL_FIELD_GET(CXL_CDAT_DOE_HANDLE, payload[0]);
	unsigned n = cdat_n_entries(doe->cdat),
		 next = index + 1 < n ? index + 1 : CXL_CDAT_DOE_LAST;
	const uint8_t *entry;
	uint32_t len;

	if (CXL_FIELD_GET(CXL_CDAT_DOE_CODE, payload[0]) != CXL_CDAT_DOE_READ ||
	    CXL_FIELD_GET(CXL_CDAT_DOE_TABLE_TYPE, payload[0]) != CXL_CDAT_DOE_TABLE_CDAT ||
	    index >= n)
		return false;
	append(response, CXL_FIELD_PUT(CXL_CDAT_DOE_CODE, (uint32_t)CXL_CDAT_DOE_READ) |
				 CXL_FIELD_PUT(CXL_CDAT_DOE_HANDLE, (uint32_t)next));
	entry = cdat_peek_entry(doe->cdat, index, &len);
	for (uint32_t i = 0; i < len; i += 4)
		append(response, le32_load(entry + i));
	return true;
}

Doe *doe_new(const Cdat *cdat)
{
	Doe *doe = g_new0(Doe, 1);

	doe->cdat = cdat;
	return doe;
}

void doe_free(Doe *doe)
{
	g_free(doe);
}

void doe_reset(Doe *doe)
{
	*doe = (Doe){ .cdat = doe->cdat };
}

static bool is_ready(const Doe *doe)
{
	return doe->n_read < doe->response.n;
}

static bool run(Doe *doe)
{
	const uint32_t *dwords = doe->request.dwords;
	unsigned vendor = CXL_FIELD_GET(PCI_DOE_OBJECT_VENDOR, dwords[0]);
	unsigned type = CXL_FIELD_GET(PCI_DOE_OBJECT_TYPE, dwords[0]);
	DoeObject response = { .n = 0 };

	if (doe->request.n < PCI_DOE_HEADER_DWORDS)
		return false;
	/* A length of 0 stands for 2^18, which no object here has */
	if (CXL_FIELD_GET(PCI_DOE_OBJECT_LEN, dwords[1]) != doe->request.n)
		return false;
	for (size_t i = 0; i < G_N_ELEMENTS(protocols); i++) {
		const DoeProtocol *p = &protocols[i];

		if (p->vendor != vendor || p->type != type)
			continue;
		if (doe->request.n != p->n_request)
			return false;
		append(&response, dwords[0] & (PCI_DOE_OBJECT_VENDOR | PCI_DOE_OBJECT_TYPE));
		append(&response, 0);
		if (!p->run(doe, dwords + PCI_DOE_HEADER_DWORDS, &response))
			return false;
		response.dwords[1] = response.n;
		doe->response = response;
		doe->n_read = 0;
		return true;
	}
	return false;
}

static void write_ctrl(Doe *doe, uint32_t value)
{
	if (value & PCI_DOE_CONTROL_ABORT) {
		doe_reset(doe);
		return;
	}
	if (!(value & PCI_DOE_CONTROL_GO) || doe->error)
		return;
	/* A response that nobody has read yet is not overwritten */
	if (is_ready(doe) || !run(doe))
		doe->error = true;
	doe->request.n = 0;
}

uint32_t doe_read(const Doe *doe, unsigned reg)
{
	switch (reg) {
	case PCI_DOE_REG_STATUS:
		return (doe->error ? PCI_DOE_STA_ERROR : 0) |
		       (is_ready(doe) && !doe->error ? PCI_DOE_STA_READY : 0);
	case PCI_DOE_REG_READ:
		return is_ready(doe) && !doe->error ? doe->response.dwords[doe->n_read] : 0;
	default:
		return 0; /* no interrupt support: nothing in the capability and control registers
			   */
	}
}

void doe_write(Doe *doe, unsigned reg, uint32_t value, uint32_t mask)
{
	if (mask != UINT32_MAX)
		return;
	switch (reg) {
	case PCI_DOE_REG_CTRL:
		write_ctrl(doe, value);
		break;
	case PCI_DOE_REG_WRITE:
		if (doe->error)
			break;
		if (doe->request.n < DOE_MAX_DWORDS)
			append(&doe->request, value);
		else
			doe->error = true;
		break;
	case PCI_DOE_REG_READ:
		if (is_ready(doe) && !doe->error)
			doe->n_read++;
		break;
	default:
		break;
	}
}
