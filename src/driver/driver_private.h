/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the driver share: objects, register access, error texts. */
#ifndef DRIVER_PRIVATE_H
#define DRIVER_PRIVATE_H

#include "cxl/component.h"
#include "cxl/device.h"
#include "cxl/dvsec.h"
#include "cxl/pci.h"
#include "driver/cxl_driver.h"

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

/* A register block: 64 KiB of a host bridge, or a part of a BAR. Accesses are bounds-checked. */
typedef struct RegBlock {
	CxlDriver *driver;
	bool chbcr;
	uint32_t id; /* UID of the host bridge, or BDF */
	unsigned bar;
	uint64_t offset;
	uint64_t len;
} RegBlock;

int regs_read(const RegBlock *regs, uint64_t offset, void *buf, uint32_t len);
int regs_write(const RegBlock *regs, uint64_t offset, const void *buf, uint32_t len);
int regs_read32(const RegBlock *regs, uint64_t offset, uint32_t *ret_val);
int regs_read64(const RegBlock *regs, uint64_t offset, uint64_t *ret_val);
int regs_write32(const RegBlock *regs, uint64_t offset, uint32_t val);
int regs_write64(const RegBlock *regs, uint64_t offset, uint64_t val);
/* PART of WHOLE, or -ERANGE */
int regs_slice(const RegBlock *whole, uint64_t offset, uint64_t len, RegBlock *ret_part);

/* ---- configuration space (pci.c) ---- */

/* All-ones if the read fails, as from a slot with nothing in it; WIDTH is 1, 2 or 4 bytes. */
uint32_t pci_config_read(CxlDriver *driver, uint32_t bdf, uint32_t offset, unsigned width);
int pci_config_write(CxlDriver *driver, uint32_t bdf, uint32_t offset, unsigned width,
		     uint32_t val);
void pci_config_set_bits(CxlDriver *driver, uint32_t bdf, uint32_t offset, uint16_t bits);

#define PCI_MAX_EXTCAPS 128
typedef struct ExtCap {
	uint16_t offset;
	uint16_t id;
} ExtCap;

unsigned pci_find_cap(CxlDriver *driver, uint32_t bdf, uint8_t id); /* 0 = absent */
/* Every extended capability once, even if the list is a loop; returns their number. */
unsigned pci_read_extcaps(CxlDriver *driver, uint32_t bdf, ExtCap caps[PCI_MAX_EXTCAPS]);
uint64_t pci_bar_len(CxlDriver *driver, uint32_t bdf, unsigned bar);

/* Offsets of the CXL DVSECs by id, 0 = absent, and their lengths */
typedef struct Dvsecs {
	uint16_t offset[10];
	uint16_t len[10];
} Dvsecs;

void pci_find_dvsecs(CxlDriver *driver, uint32_t bdf, Dvsecs *ret_dvsecs);
/* Register block ID (CXL_LOCATOR_ID_*) of a function; -ENOENT if it has none, -ERANGE. */
int pci_find_block(CxlDriver *driver, uint32_t bdf, const Dvsecs *dvsecs, uint8_t id,
		   RegBlock *ret_block);

/* ---- HDM decoders (hdm.c) ---- */

typedef struct HdmDecoder {
	bool committed;
	bool locked;
	uint64_t hpa, len;
	unsigned ways;
	uint32_t granularity;
	uint64_t dpa, skip; /* endpoints */
	uint8_t targets[CXL_HDM_MAX_TARGETS];
	CxlRegion *region; /* ours; NULL: somebody else's */
} HdmDecoder;

typedef struct HdmBlock {
	RegBlock regs;
	const char *name; /* of the owner, for error texts */
	bool endpoint;
	unsigned n_decoders; /* 0 = no such capability */
	unsigned n_targets;
	uint32_t cap;
	HdmDecoder decoders[CXL_HDM_MAX_DECODERS];
} HdmBlock;

/* Finds the capability in a component register block and reads every decoder. No capability: 0. */
int hdm_block_probe(HdmBlock *hdm, const RegBlock *component);
/* First decoder after all committed ones, or n_decoders */
unsigned hdm_block_next(const HdmBlock *hdm);
uint64_t hdm_block_hpa_end(const HdmBlock *hdm); /* of the highest committed one, 0 if none */
uint64_t hdm_block_dpa_end(const HdmBlock *hdm);
/* Can it interleave WAYS at GRANULARITY */
bool hdm_block_can_interleave(const HdmBlock *hdm, unsigned ways, uint32_t granularity);
/* Programs decoder INDEX = hdm_block_next() as WANT says and waits for COMMITTED. */
int hdm_block_commit(HdmBlock *hdm, unsigned index, const HdmDecoder *want, bool lock);
int hdm_block_reset(HdmBlock *hdm, unsigned index);
int hdm_block_enable(HdmBlock *hdm);        /* global enable */
int hdm_block_enabled(const HdmBlock *hdm); /* 0, 1, -errno */

/* ---- topology ---- */

/* What routes by HPA between a window and an endpoint: a host bridge or a switch */
typedef struct Port {
	struct Port *next;
	struct Port *parent; /* NULL: a host bridge */
	uint8_t parent_no;   /* port number of the downstream port of PARENT we hang from */
	uint32_t uid;        /* host bridge */
	uint32_t bdf;        /* upstream port of a switch */
	char name[24];
	unsigned n_dports;
	uint64_t dport_seen[4];
	HdmBlock hdm;
	bool broken; /* nothing can be programmed through it */
} Port;

struct CxlMemdev {
	CxlDriver *driver;
	Port *port;
	uint8_t port_no;
	char name[24];
	char error[256];
	bool usable;
	CxlMemdevInfo info;

	Dvsecs dvsecs;
	RegBlock component, device;
	RegBlock status, mailbox, memdev_status, ras;
	HdmBlock hdm;

	volatile uint64_t *payload; /* NULL: by bar_read and bar_write */
	uint32_t mbox_caps;
	bool mbox_clean;  /* the last command completed: the doorbell is known to be clear */
	bool irq_pending; /* one came while a command was waited for; events may be why */
	uint64_t last_command_us, last_command_begun_us;
	CxlCommandTrace trace;
	void *trace_opaque;

	struct CelEntry {
		uint16_t opcode, effects;
	} * cel;
	unsigned n_cel;
	CxlMemRange *ranges;
	unsigned n_ranges;
	CxlDcRegionInfo dc_regions[CXL_DC_MAX_REGIONS];
	CxlDcd *dcd;
};

struct CxlRegion {
	CxlRegion *next;
	CxlDriver *driver;
	CxlRegionInfo info;
};

struct CxlDriver {
	CxlBus bus;
	void *opaque;
	CxlDriverOptions options;
	CxlWindow *windows;
	unsigned n_windows;
	CxlHostBridge *bridges;
	unsigned n_bridges;
	bool assign_buses;
	bool enumerated;
	Port *ports;
	CxlMemdev **memdevs;
	unsigned n_memdevs;
	CxlRegion *regions;
	char error[256];
};

/* Notes the sentence as the driver's error and returns ERR (negative). */
int driver_fail(CxlDriver *driver, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void driver_log(CxlDriver *driver, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint64_t driver_now_us(const CxlDriver *driver);
void driver_sleep_us(const CxlDriver *driver, uint64_t us);
void driver_name_bdf(char name[24], const char *kind, uint32_t bdf);

/* ---- stages of enumeration ---- */

int driver_scan(CxlDriver *driver);  /* enumerate.c: fills ports and memdevs */
int memdev_probe(CxlMemdev *memdev); /* memdev.c */
void memdev_free(CxlMemdev *memdev);
int memdev_wait_mailbox(CxlMemdev *memdev);     /* memdev.c: until it is ready */
uint64_t memdev_read_serial(CxlMemdev *memdev); /* 0 = it has none */
int memdev_probe_mailbox(CxlMemdev *memdev);    /* mailbox.c */
int memdev_identify(CxlMemdev *memdev);         /* identify.c: all command based facts */
int memdev_read_cdat(CxlMemdev *memdev);        /* cdat.c; -ENOENT: no such table */
int memdev_enable_mem(CxlMemdev *memdev);       /* memdev.c */
int driver_adopt(CxlDriver *driver);            /* region.c */

/* One exchange with a DOE mailbox at CAP; lengths in dwords without header (doe.c). */
int doe_abort(CxlDriver *driver, uint32_t bdf, unsigned cap);
bool doe_supports(CxlDriver *driver, uint32_t bdf, unsigned cap, uint16_t vendor, uint8_t type);
int doe_exchange(CxlDriver *driver, uint32_t bdf, unsigned cap, uint16_t vendor, uint8_t type,
		 const uint32_t *request, unsigned n_request, uint32_t *response,
		 unsigned max_response, unsigned *ret_n_response);

/*
 * memdev_command() with the checks nearly every caller wants: 0 if the device said Success and gave
 * at least MIN_OUT bytes; else an error text and -EIO, -EPROTO or what cxl_memdev_command()
 * returned.
 */
int memdev_call(CxlMemdev *memdev, uint16_t opcode, const void *in, uint32_t in_len, void *out,
		uint32_t out_max, uint32_t min_out, uint32_t *ret_out_len);

#endif
