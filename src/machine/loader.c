/* SPDX-License-Identifier: BSD-3-Clause */
/* Loader: the 64-bit boot protocol of Linux on x86 (its Documentation/arch/x86/boot.rst). */
#include "machine/loader.h"

#include <gio/gio.h>
#include <string.h>

/* Guest physical places, all in the first 640 KiB but the reset vector's. */
#define GDT_AT          0x500u
#define BOOT_PARAMS_AT  0x7000u
#define STACK_TOP       0x8ff0u
#define PML4_AT         0x9000u
#define PDPT_AT         0xa000u
#define PD_AT           0xb000u /* four of them */
#define CMDLINE_AT      0x20000u
#define CMDLINE_MAX     0xffffu
#define LOW_RAM_END     0x9fc00u
#define RESET_VECTOR_AT 0xffff0u
#define HIGH_AREA       0x100000u
#define RESERVED_AREA   0xe0000u /* to HIGH_AREA: the reset vector */
#define PAGE_LEN        UINT64_C(4096)
#define HUGE_LEN        (UINT64_C(2) << 20)

/* boot_params: offsets of what is used */
enum {
	BP_RSDP = 0x070,
	BP_INITRD_HIGH = 0x0c0,
	BP_INITRD_LEN_HIGH = 0x0c4,
	BP_E820_N = 0x1e8,
	BP_HEADER = 0x1f1,
	BP_JUMP_LEN = 0x201,
	BP_MAGIC = 0x202,
	BP_VERSION = 0x206,
	BP_LOADER = 0x210,
	BP_INITRD = 0x218,
	BP_INITRD_LEN = 0x21c,
	BP_CMDLINE = 0x228,
	BP_XLOADFLAGS = 0x236,
	BP_CMDLINE_MAX = 0x238,
	BP_PREF_ADDRESS = 0x258,
	BP_INIT_LEN = 0x260,
	BP_E820 = 0x2d0,
	BP_LEN = 4096,
};

#define MAGIC            0x53726448u /* "HdrS" */
#define MIN_VERSION      0x020cu
#define XLF_64           (1u << 0)
#define SETUP_SECTS      0x1f1
#define SECTOR_LEN       512u
#define HEADER_END_FIRST 0x202u
#define ENTRY_64         0x200u

#define E820_RAM      1u
#define E820_RESERVED 2u
#define E820_ACPI     3u

#define CODE_SELECTOR 0x10
#define DATA_SELECTOR 0x18

/* What of a kernel file matters. */
typedef struct Kernel {
	const uint8_t *file;
	gsize file_len;
	uint32_t setup_len;  /* of the real-mode part at its beginning */
	uint32_t header_len; /* from BP_HEADER */
	uint64_t load_at, init_len;
	uint32_t cmdline_max;
} Kernel;

static uint16_t get16(const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return GUINT16_FROM_LE(value);
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return GUINT32_FROM_LE(value);
}

static uint64_t get64(const uint8_t *at)
{
	return get32(at) | (uint64_t)get32(at + 4) << 32;
}

static void put32(uint8_t *at, uint32_t value)
{
	value = GUINT32_TO_LE(value);
	memcpy(at, &value, sizeof(value));
}

static void put64(uint8_t *at, uint64_t value)
{
	put32(at, (uint32_t)value);
	put32(at + 4, (uint32_t)(value >> 32));
}

G_GNUC_PRINTF(3, 4) static bool refuse(GError **error, GIOErrorEnum code, const char *format, ...)
{
	g_autofree char *text = NULL;
	va_list args;

	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	g_set_error_literal(error, G_IO_ERROR, code, text);
	return false;
}

/* ---- the kernel ---- */

static bool read_header(GBytes *bytes, Kernel *ret, GError **error)
{
	Kernel kernel = { 0 };
	unsigned n_sectors;

	kernel.file = g_bytes_get_data(bytes, &kernel.file_len);
	if (kernel.file_len < BP_LEN || get32(kernel.file + BP_MAGIC) != MAGIC)
		return refuse(error, G_IO_ERROR_INVALID_DATA,
			      "the kernel is no bzImage (vmlinuz) for x86");
	if (get16(kernel.file + BP_VERSION) < MIN_VERSION ||
	    !(get16(kernel.file + BP_XLOADFLAGS) & XLF_64))
		return refuse(error, G_IO_ERROR_INVALID_DATA,
			      "the kernel has no 64-bit entry (boot protocol %#x, at least %#x)",
			      get16(kernel.file + BP_VERSION), MIN_VERSION);
	n_sectors = kernel.file[SETUP_SECTS] ? kernel.file[SETUP_SECTS] : 4;
	kernel.setup_len = (n_sectors + 1) * SECTOR_LEN;
	kernel.header_len = HEADER_END_FIRST + kernel.file[BP_JUMP_LEN] - BP_HEADER;
	kernel.load_at = get64(kernel.file + BP_PREF_ADDRESS);
	kernel.init_len = get32(kernel.file + BP_INIT_LEN);
	kernel.cmdline_max = get32(kernel.file + BP_CMDLINE_MAX);
	if (kernel.setup_len >= kernel.file_len || BP_HEADER + kernel.header_len > BP_E820 ||
	    kernel.load_at < HIGH_AREA || kernel.load_at % PAGE_LEN ||
	    kernel.load_at >= MACHINE_RAM_LOW_MAX)
		return refuse(error, G_IO_ERROR_INVALID_DATA, "the kernel's header is damaged");
	*ret = kernel;
	return true;
}

/* The first byte after all the memory the kernel needs before it can look for some. */
static uint64_t kernel_end(const Kernel *kernel)
{
	uint64_t file_len = kernel->file_len - kernel->setup_len;

	return kernel->load_at + MAX(file_len, kernel->init_len);
}

static bool place_kernel(const MachineLayout *layout, uint8_t *low, const Kernel *kernel,
			 GError **error)
{
	if (kernel_end(kernel) > layout->acpi)
		return refuse(error, G_IO_ERROR_NO_SPACE,
			      "the kernel needs memory up to %" G_GUINT64_FORMAT
			      " MiB, there are %" G_GUINT64_FORMAT " MiB",
			      (kernel_end(kernel) >> 20) + 1, layout->ram_low_len >> 20);
	memcpy(low + kernel->load_at, kernel->file + kernel->setup_len,
	       kernel->file_len - kernel->setup_len);
	return true;
}

/* Below the ACPI tables, as high as can be. */
static bool place_initrd(const MachineLayout *layout, uint8_t *low, const Kernel *kernel,
			 GBytes *initrd, uint8_t *params, GError **error)
{
	gsize len = 0;
	const void *data = initrd ? g_bytes_get_data(initrd, &len) : NULL;
	uint64_t at;

	if (!len)
		return true;
	if (len > layout->acpi - kernel_end(kernel) ||
	    (layout->acpi - len) / PAGE_LEN * PAGE_LEN < kernel_end(kernel))
		return refuse(error, G_IO_ERROR_NO_SPACE,
			      "the initrd of %zu MiB does not fit between the kernel's end at "
			      "%" G_GUINT64_FORMAT " MiB and the end of low memory at "
			      "%" G_GUINT64_FORMAT " MiB",
			      (size_t)(len >> 20) + 1, (kernel_end(kernel) >> 20) + 1,
			      layout->acpi >> 20);
	at = (layout->acpi - len) / PAGE_LEN * PAGE_LEN;
	memcpy(low + at, data, len);
	put32(params + BP_INITRD, (uint32_t)at);
	put32(params + BP_INITRD_HIGH, (uint32_t)(at >> 32));
	put32(params + BP_INITRD_LEN, (uint32_t)len);
	put32(params + BP_INITRD_LEN_HIGH, (uint32_t)((uint64_t)len >> 32));
	return true;
}

/* ---- what the kernel is told ---- */

static void add_e820(uint8_t *params, uint64_t at, uint64_t len, uint32_t type)
{
	uint8_t *entry = params + BP_E820 + params[BP_E820_N] * 20u;

	if (!len)
		return;
	put64(entry, at);
	put64(entry + 8, len);
	put32(entry + 16, type);
	params[BP_E820_N]++;
}

static void fill_e820(const MachineLayout *layout, uint8_t *params)
{
	add_e820(params, 0, LOW_RAM_END, E820_RAM);
	add_e820(params, RESERVED_AREA, HIGH_AREA - RESERVED_AREA, E820_RESERVED);
	add_e820(params, HIGH_AREA, layout->acpi - HIGH_AREA, E820_RAM);
	add_e820(params, layout->acpi, layout->acpi_len, E820_ACPI);
	add_e820(params, layout->ecam, layout->ecam_len, E820_RESERVED);
	add_e820(params, MACHINE_IDENTITY_MAP, MACHINE_KVM_OWN_LEN, E820_RESERVED);
	add_e820(params, MACHINE_RAM_HIGH, layout->ram_high_len, E820_RAM);
}

static bool place_cmdline(uint8_t *low, const Kernel *kernel, const char *cmdline, uint8_t *params,
			  GError **error)
{
	size_t len = strlen(cmdline);
	uint32_t max = MIN(kernel->cmdline_max, CMDLINE_MAX);

	if (len > max)
		return refuse(error, G_IO_ERROR_INVALID_ARGUMENT,
			      "a kernel command line of %zu bytes; this kernel takes %u", len, max);
	memcpy(low + CMDLINE_AT, cmdline, len + 1);
	put32(params + BP_CMDLINE, CMDLINE_AT);
	return true;
}

/* ---- the state at entry ---- */

static void place_tables(uint8_t *low)
{
	static const uint64_t gdt[] = { 0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff };
	const uint64_t table = 0x03, huge_page = 0x83; /* present, writable; a 2 MiB page */

	for (size_t i = 0; i < G_N_ELEMENTS(gdt); i++)
		put64(low + GDT_AT + i * 8, gdt[i]);
	put64(low + PML4_AT, PDPT_AT | table);
	for (uint64_t i = 0; i < 4; i++)
		put64(low + PDPT_AT + i * 8, (PD_AT + i * PAGE_LEN) | table);
	for (uint64_t i = 0; i < 4 * 512; i++)
		put64(low + PD_AT + i * 8, i * HUGE_LEN | huge_page);
}

/*
 * Linux: without EFI and with hardware-reduced ACPI it reboots by a jump to the reset vector, in
 * real mode. There it finds: mov dx, port; mov al, value; out dx, al; hlt; jmp to the hlt.
 */
static void place_reset_stub(uint8_t *low)
{
	static const uint8_t stub[] = {
		0xba,
		MACHINE_PORT_RESET & 0xff,
		MACHINE_PORT_RESET >> 8,
		0xb0,
		MACHINE_RESET_VALUE,
		0xee,
		0xf4,
		0xeb,
		0xfd,
	};

	memcpy(low + RESET_VECTOR_AT, stub, sizeof(stub));
}

bool loader_load(const MachineLayout *layout, uint8_t *low, const LoaderImage *image,
		 LoaderEntry *ret, GError **error)
{
	uint8_t *params = low + BOOT_PARAMS_AT;
	Kernel kernel = { 0 };

	if (!read_header(image->kernel, &kernel, error) ||
	    !place_kernel(layout, low, &kernel, error))
		return false;
	if (image->acpi->len > layout->acpi_len)
		return refuse(error, G_IO_ERROR_NO_SPACE,
			      "ACPI tables of %u bytes; there is room for %" G_GUINT64_FORMAT,
			      image->acpi->len, layout->acpi_len);
	memcpy(low + layout->acpi, image->acpi->data, image->acpi->len);
	memset(params, 0, BP_LEN);
	memcpy(params + BP_HEADER, kernel.file + BP_HEADER, kernel.header_len);
	params[BP_LOADER] = 0xff; /* of no registered kind */
	put64(params + BP_RSDP, image->rsdp);
	fill_e820(layout, params);
	if (!place_initrd(layout, low, &kernel, image->initrd, params, error) ||
	    !place_cmdline(low, &kernel, image->cmdline, params, error))
		return false;
	place_tables(low);
	place_reset_stub(low);
	*ret = (LoaderEntry){
		.rip = kernel.load_at + ENTRY_64,
		.rsi = BOOT_PARAMS_AT,
		.rsp = STACK_TOP,
		.cr3 = PML4_AT,
		.gdt = GDT_AT,
		.gdt_len = 32,
		.code_selector = CODE_SELECTOR,
		.data_selector = DATA_SELECTOR,
	};
	return true;
}
