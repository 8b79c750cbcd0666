/* SPDX-License-Identifier: BSD-3-Clause */
/* A machine without CPUs: its PCI host, windows and devices of a real pool, on a fake VM. */
#ifndef TESTS_MACHINE_FIXTURE_H
#define TESTS_MACHINE_FIXTURE_H

/*
 * The test is firmware and operating system: it numbers buses and places BARs as any firmware, and
 * then runs the driver, whose every access is one that a vCPU would make, to memory where a slot
 * is and else to the bus.
 */

#include "driver/cxl_driver.h"
#include "machine/pci_host.h"
#include "serve_fixture.h"
#include "vm_fake.h"

#define FAKE_MAX_DEVICES 4

typedef struct FakeMachine FakeMachine;

typedef struct FakeDevice {
	FakeMachine *machine;
	unsigned index;
	uint32_t bdf;
	unsigned n_vectors;
	CxlMemdev *memdev;
	CxlDcd *dcd;
	unsigned n_mapped, n_refused, n_released;
	uint64_t hpa, len; /* of the first extent mapped last */
} FakeDevice;

struct FakeMachine {
	Serve *serve;
	Uuid session;
	KvmVm *vm;
	MachineBus *bus;
	GuestMemory *memory;
	GuestListener *listener;
	MachineLayout layout;
	PciHost *pci;
	CxlDriver *driver;
	FakeDevice devices[FAKE_MAX_DEVICES];
	unsigned n_devices;
	GMutex lock;
	GString *said; /* what the machine logged, under LOCK */
};

/* Devices dev0, dev1, ... of the pool. WINDOWS may be NULL. Not booted. */
FakeMachine *fake_machine_new(Serve *serve, unsigned n_devices, const MachineWindowSpec *windows,
			      unsigned n_windows);
void fake_machine_free(FakeMachine *machine);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FakeMachine, fake_machine_free)
/* What limits the memory that devices may lend, before they attach. */
typedef struct FakeMachineLimits {
	uint32_t max_maps; /* slots in all; 0 = as many as ever */
	/* A back end with a table of MAX_REGIONS, which hears of RAM too; OPS may be NULL. */
	const GuestListenerOps *ops;
	void *opaque;
	uint32_t max_regions;
	const GuestRegion *ram;
	bool no_dma; /* it hears of nothing else */
} FakeMachineLimits;

FakeMachine *fake_machine_new_with(Serve *serve, unsigned n_devices,
				   const MachineWindowSpec *windows, unsigned n_windows,
				   const FakeMachineLimits *limits);

/* Firmware, then the driver up to the list of devices. */
void fake_machine_boot(FakeMachine *machine);
/* All but process and session is anew, as in a machine that reboots: stop, start, boot. */
void fake_machine_stop(FakeMachine *machine);
void fake_machine_start(FakeMachine *machine);
/* Decoders for N devices, from DPA on; commits that came too late are tried again. */
CxlRegion *fake_machine_program(FakeMachine *machine, CxlMemdev *const *memdevs, unsigned n,
				uint64_t dpa, uint64_t len, uint32_t granularity);
void fake_machine_unprogram(FakeMachine *machine, CxlRegion *region);
/* What was accepted before the boot comes when the device has time: until a word can be written. */
void fake_machine_wait_there(FakeMachine *machine, uint64_t gpa);
/* Begins to answer the device's events. */
void fake_device_serve(FakeDevice *device);
/* Until *COUNTER has reached VALUE. */
void fake_device_poll(FakeDevice *device, const unsigned *counter, unsigned value);
/*
 * Offers dev0 the backend with this name and tag and polls until the device has it. A response has
 * a second by the pool's clock, which can be too short on a machine that is busy: then once more.
 */
void fake_device_take(FakeDevice *device, Serve *serve, const char *name, const char *tag);
/* Asks for it back and polls until the device has given it; the pool asks again by itself. */
void fake_device_give(FakeDevice *device, Serve *serve, const char *name, const char *tag);
/* Until the machine has said TEXT N times. */
void fake_machine_wait_said(FakeMachine *machine, const char *text, unsigned n);

void fake_machine_load(FakeMachine *machine, uint64_t gpa, void *buf, uint64_t len);
void fake_machine_store(FakeMachine *machine, uint64_t gpa, const void *buf, uint64_t len);
uint64_t fake_machine_word(FakeMachine *machine, uint64_t gpa);
void fake_machine_set_word(FakeMachine *machine, uint64_t gpa, uint64_t word);
/* Whether it is in a memory slot. */
bool fake_machine_is_memory(FakeMachine *machine, uint64_t gpa);
uint32_t fake_machine_config(FakeMachine *machine, uint32_t bdf, uint32_t offset, uint32_t len);

#endif
