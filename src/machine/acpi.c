/* SPDX-License-Identifier: BSD-3-Clause */
/* The ACPI tables a guest finds the machine by. */
#include "machine/acpi.h"

#include "machine/acpi_dsdt.h"
#include "machine/acpi_wire.h"

#include <gio/gio.h>
#include <string.h>

#define TABLE_ALIGN 16
#define MAX_TABLES  8 /* that the XSDT lists */

#define OEM_ID       "SFTDCD"
#define OEM_TABLE_ID "SOFTDCD " /* eight characters */
#define CREATOR_ID   "SDCD"

/*
 * Proximity domains: CPUs and RAM are 0. Generic ports have theirs far from those that Linux gives
 * the windows, which begin after the highest that memory has.
 */
#define DOMAIN_RAM       ACPI_DSDT_DOMAIN
#define DOMAIN_PORT(uid) (0x100u + (uid))

/*
 * What the tables say of RAM is what our devices' CDAT says of their memory by default, and a host
 * bridge adds next to nothing: CXL memory is RAM here, and Linux shall put both in the same memory
 * tier.
 */
#define RAM_LATENCY_NS    150
#define BRIDGE_LATENCY_NS 1
#define BANDWIDTH_GBPS    16
#define PS_PER_NS         1000
#define MBPS_PER_GBPS     1000

typedef struct Builder {
	const MachineLayout *layout;
	uint64_t at;
	GByteArray *bytes;
	uint64_t listed[MAX_TABLES]; /* for the XSDT */
	unsigned n_listed;
} Builder;

static void append(Builder *b, const void *data, size_t len)
{
	g_byte_array_append(b->bytes, data, (guint)len);
}

static guint align(Builder *b)
{
	static const uint8_t zeros[TABLE_ALIGN];

	append(b, zeros, -b->bytes->len % TABLE_ALIGN);
	return b->bytes->len;
}

static void fill_header(AcpiHeader *header, const char *signature, uint8_t revision)
{
	memcpy(header->signature, signature, sizeof(header->signature));
	header->revision = revision;
	memcpy(header->oem_id, OEM_ID, sizeof(header->oem_id));
	memcpy(header->oem_table_id, OEM_TABLE_ID, sizeof(header->oem_table_id));
	header->oem_revision = le32_put(1);
	memcpy(header->creator_id, CREATOR_ID, sizeof(header->creator_id));
	header->creator_revision = le32_put(1);
}

static uint8_t checksum(const uint8_t *bytes, size_t len)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += bytes[i];
	return (uint8_t)-sum;
}

/* TABLE begins with a header, and has LEN bytes so far; what is appended until end_table() is its.
 * Returns where it is in the block. */
static guint begin_table(Builder *b, void *table, size_t len, const char *signature,
			 uint8_t revision)
{
	guint start = align(b);

	fill_header(table, signature, revision);
	append(b, table, len);
	return start;
}

static void end_table(Builder *b, guint start)
{
	AcpiHeader *header = (AcpiHeader *)(b->bytes->data + start);

	header->length = le32_put(b->bytes->len - start);
	header->checksum = 0;
	header->checksum = checksum(b->bytes->data + start, b->bytes->len - start);
}

static void list_table(Builder *b, guint start)
{
	g_assert(b->n_listed < MAX_TABLES);
	end_table(b, start);
	b->listed[b->n_listed++] = b->at + start;
}

/* ---- each table ---- */

static uint64_t add_dsdt(Builder *b)
{
	g_autoptr(GByteArray) aml = acpi_dsdt_build(b->layout);
	AcpiHeader header = { 0 };
	guint start = begin_table(b, &header, sizeof(header), "DSDT", 2);

	append(b, aml->data, aml->len);
	end_table(b, start);
	return b->at + start;
}

static AcpiGas io_byte(uint16_t port)
{
	return (AcpiGas){
		.space = ACPI_GAS_IO,
		.bit_width = 8,
		.access_len = ACPI_GAS_BYTE,
		.address = le64_put(port),
	};
}

static void add_fadt(Builder *b, uint64_t dsdt)
{
	AcpiFadt fadt = {
		.dsdt = le32_put((uint32_t)dsdt),
		.boot_arch = le16_put(ACPI_FADT_BOOT_NO_VGA | ACPI_FADT_BOOT_NO_CMOS_RTC),
		.flags = le32_put(ACPI_FADT_HW_REDUCED | ACPI_FADT_RESET_REGISTER |
				  ACPI_FADT_NO_POWER_BUTTON | ACPI_FADT_NO_SLEEP_BUTTON |
				  ACPI_FADT_WBINVD),
		.reset = io_byte(MACHINE_PORT_RESET),
		.reset_value = MACHINE_RESET_VALUE,
		.minor_revision = 5,
		.x_dsdt = le64_put(dsdt),
		.sleep_control = io_byte(MACHINE_PORT_SLEEP_CONTROL),
		.sleep_status = io_byte(MACHINE_PORT_SLEEP_STATUS),
	};

	list_table(b, begin_table(b, &fadt, sizeof(fadt), "FACP", 6));
}

static void add_madt(Builder *b)
{
	AcpiMadt madt = { .lapic = le32_put((uint32_t)MACHINE_LAPIC) };
	AcpiMadtIoapic ioapic = {
		.type = 1,
		.length = sizeof(ioapic),
		.address = le32_put((uint32_t)MACHINE_IOAPIC),
	};
	guint start = begin_table(b, &madt, sizeof(madt), "APIC", 5);

	for (unsigned i = 0; i < b->layout->n_cpus; i++) {
		AcpiMadtLapic lapic = {
			.type = 0,
			.length = sizeof(lapic),
			.uid = (uint8_t)i,
			.apic_id = (uint8_t)i,
			.flags = le32_put(ACPI_ENABLED),
		};

		append(b, &lapic, sizeof(lapic));
	}
	append(b, &ioapic, sizeof(ioapic));
	list_table(b, start);
}

static void add_mcfg(Builder *b)
{
	AcpiMcfg mcfg = {
		.base = le64_put(b->layout->ecam),
		.bus_last = (uint8_t)((b->layout->ecam_len >> 20) - 1),
	};

	list_table(b, begin_table(b, &mcfg, sizeof(mcfg), "MCFG", 1));
}

static void add_srat_memory(Builder *b, uint64_t base, uint64_t len)
{
	AcpiSratMemory memory = {
		.type = 1,
		.length = sizeof(memory),
		.domain = le32_put(DOMAIN_RAM),
		.base = le64_put(base),
		.len = le64_put(len),
		.flags = le32_put(ACPI_ENABLED),
	};

	if (len)
		append(b, &memory, sizeof(memory));
}

/*
 * All RAM, but no window. Linux: without the one it takes no domain seriously, and makes a node for
 * each window that is not here.
 */
static void add_srat(Builder *b)
{
	AcpiSrat srat = { .reserved_1 = le32_put(1) };
	guint start = begin_table(b, &srat, sizeof(srat), "SRAT", 3);

	for (unsigned i = 0; i < b->layout->n_cpus; i++) {
		AcpiSratLapic lapic = {
			.type = 0,
			.length = sizeof(lapic),
			.domain_low = DOMAIN_RAM,
			.apic_id = (uint8_t)i,
			.flags = le32_put(ACPI_ENABLED),
		};

		append(b, &lapic, sizeof(lapic));
	}
	add_srat_memory(b, 0, b->layout->ram_low_len);
	add_srat_memory(b, MACHINE_RAM_HIGH, b->layout->ram_high_len);
	for (unsigned i = 0; i < b->layout->n_bridges; i++) {
		const MachineBridge *bridge = &b->layout->bridges[i];
		AcpiSratPort port = {
			.type = 6,
			.length = sizeof(port),
			.domain = le32_put(DOMAIN_PORT(bridge->uid)),
			.hid = { 'A', 'C', 'P', 'I', '0', '0', '1', '6' },
			.uid = le32_put(bridge->uid),
			.flags = le32_put(ACPI_ENABLED),
		};

		if (bridge->is_cxl)
			append(b, &port, sizeof(port));
	}
	list_table(b, start);
}

/* One initiator, the CPUs; the targets are RAM and every CXL host bridge. */
static void add_hmat_locality(Builder *b, uint8_t data_type, uint64_t base_unit, uint16_t ram,
			      uint16_t bridge)
{
	const MachineLayout *layout = b->layout;
	unsigned n_targets = 1;
	AcpiHmatLocality locality = {
		.type = le16_put(1),
		.data_type = data_type,
		.n_initiators = le32_put(1),
		.base_unit = le64_put(base_unit),
	};
	le32 domain = le32_put(DOMAIN_RAM);
	le16 value = le16_put(ram);

	for (unsigned i = 0; i < layout->n_bridges; i++)
		n_targets += layout->bridges[i].is_cxl;
	locality.n_targets = le32_put(n_targets);
	locality.length = le32_put((uint32_t)(sizeof(locality) + sizeof(domain) +
					      n_targets * (sizeof(domain) + sizeof(value))));
	append(b, &locality, sizeof(locality));
	append(b, &domain, sizeof(domain));
	append(b, &domain, sizeof(domain));
	for (unsigned i = 0; i < layout->n_bridges; i++) {
		domain = le32_put(DOMAIN_PORT(layout->bridges[i].uid));
		if (layout->bridges[i].is_cxl)
			append(b, &domain, sizeof(domain));
	}
	append(b, &value, sizeof(value));
	value = le16_put(bridge);
	for (unsigned i = 1; i < n_targets; i++)
		append(b, &value, sizeof(value));
}

static void add_hmat(Builder *b)
{
	AcpiHmat hmat = { 0 };
	AcpiHmatDomain domain = {
		.type = le16_put(0),
		.length = le32_put(sizeof(domain)),
		.flags = le16_put(ACPI_HMAT_INITIATOR_VALID),
		.initiator_domain = le32_put(DOMAIN_RAM),
		.memory_domain = le32_put(DOMAIN_RAM),
	};
	guint start = begin_table(b, &hmat, sizeof(hmat), "HMAT", 2);

	append(b, &domain, sizeof(domain));
	add_hmat_locality(b, ACPI_HMAT_ACCESS_LATENCY, PS_PER_NS, RAM_LATENCY_NS,
			  BRIDGE_LATENCY_NS);
	add_hmat_locality(b, ACPI_HMAT_ACCESS_BANDWIDTH, MBPS_PER_GBPS, BANDWIDTH_GBPS,
			  BANDWIDTH_GBPS);
	list_table(b, start);
}

/* CXL 3.1, table 9-22: powers of two up to 16, then three times powers of two */
static uint8_t encode_ways(unsigned ways)
{
	return (uint8_t)(ways % 3 ? g_bit_storage(ways) - 1 : 7 + g_bit_storage(ways / 3));
}

/* 0 is 256 bytes; a window of one way need not have any. */
static uint32_t encode_granularity(const FabricWindow *window)
{
	return window->granularity > 256 ? g_bit_storage(window->granularity) - 9 : 0;
}

static void add_cedt_window(Builder *b, const FabricWindow *window)
{
	AcpiCedtWindow wire = {
		.type = 1,
		.length = le16_put((uint16_t)(sizeof(wire) + window->ways * sizeof(le32))),
		.base = le64_put(window->hpa),
		.len = le64_put(window->len),
		.ways = encode_ways(window->ways),
		.granularity = le32_put(encode_granularity(window)),
		.restrictions = le16_put(window->restrictions),
		.qtg_id = le16_put(window->qtg_id),
	};

	append(b, &wire, sizeof(wire));
	for (unsigned i = 0; i < window->ways; i++) {
		le32 target = le32_put(window->targets[i]);

		append(b, &target, sizeof(target));
	}
}

static void add_cedt(Builder *b)
{
	AcpiHeader cedt = { 0 };
	guint start = begin_table(b, &cedt, sizeof(cedt), "CEDT", 1);

	for (unsigned i = 0; i < b->layout->n_bridges; i++) {
		const MachineBridge *bridge = &b->layout->bridges[i];
		AcpiCedtBridge wire = {
			.type = 0,
			.length = le16_put(sizeof(wire)),
			.uid = le32_put(bridge->uid),
			.version = le32_put(1),
			.base = le64_put(bridge->chbcr),
			.len = le64_put(MACHINE_CHBCR_LEN),
		};

		if (bridge->is_cxl)
			append(b, &wire, sizeof(wire));
	}
	for (unsigned i = 0; i < b->layout->n_windows; i++)
		add_cedt_window(b, &b->layout->windows[i]);
	list_table(b, start);
}

static uint64_t add_xsdt(Builder *b)
{
	AcpiHeader xsdt = { 0 };
	guint start = begin_table(b, &xsdt, sizeof(xsdt), "XSDT", 1);

	for (unsigned i = 0; i < b->n_listed; i++) {
		le64 address = le64_put(b->listed[i]);

		append(b, &address, sizeof(address));
	}
	end_table(b, start);
	return b->at + start;
}

/* ---- all of them ---- */

static uint64_t add_rsdp(Builder *b, uint64_t xsdt)
{
	AcpiRsdp rsdp = {
		.signature = { 'R', 'S', 'D', ' ', 'P', 'T', 'R', ' ' },
		.revision = 2,
		.length = le32_put(sizeof(rsdp)),
		.xsdt = le64_put(xsdt),
	};
	guint start = align(b);

	memcpy(rsdp.oem_id, OEM_ID, sizeof(rsdp.oem_id));
	rsdp.checksum = checksum((const uint8_t *)&rsdp, ACPI_RSDP_V1_LEN);
	rsdp.extended_checksum = checksum((const uint8_t *)&rsdp, sizeof(rsdp));
	append(b, &rsdp, sizeof(rsdp));
	return b->at + start;
}

bool acpi_tables_build(const MachineLayout *layout, uint64_t at, uint64_t at_len, GByteArray **ret,
		       uint64_t *ret_rsdp, GError **error)
{
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	Builder b = { .layout = layout, .at = at, .bytes = bytes };
	uint64_t rsdp;

	g_assert(at % TABLE_ALIGN == 0);
	add_fadt(&b, add_dsdt(&b));
	add_madt(&b);
	add_mcfg(&b);
	add_srat(&b);
	add_hmat(&b);
	add_cedt(&b);
	rsdp = add_rsdp(&b, add_xsdt(&b));
	if (bytes->len > at_len || at + bytes->len > UINT64_C(1) << 32) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE,
			    "the ACPI tables take %u bytes, but there are only %" G_GUINT64_FORMAT
			    " for them",
			    bytes->len, at_len);
		return false;
	}
	*ret = g_steal_pointer(&bytes);
	*ret_rsdp = rsdp;
	return true;
}
