/* SPDX-License-Identifier: BSD-3-Clause */
/* The scan of the buses: host bridges, root ports, switches, and the memory devices behind. */
#include "driver/driver_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_DEPTH   8 /* bridges between a host bridge and an endpoint */
#define MAX_MEMDEVS 256

/* State of the walk below one host bridge */
typedef struct Scan {
	CxlDriver *driver;
	uint8_t bus_last; /* the bridge has no more than these */
	uint8_t next_bus; /* when we number them */
} Scan;

static int scan_bus(Scan *scan, Port *port, uint8_t port_no, bool below_dport, uint8_t bus,
		    unsigned depth);

static Port *add_port(CxlDriver *driver, Port *parent, uint8_t parent_no)
{
	Port *port = calloc(1, sizeof(*port));

	if (!port)
		return NULL;
	port->parent = parent;
	port->parent_no = parent_no;
	port->hdm.name = port->name;
	port->next = driver->ports;
	driver->ports = port;
	return port;
}

static int add_memdev(CxlDriver *driver, Port *port, uint8_t port_no, uint32_t bdf)
{
	CxlMemdev **memdevs;
	CxlMemdev *memdev;
	Port *top = port;

	if (driver->n_memdevs >= MAX_MEMDEVS)
		return driver_fail(driver, -E2BIG, "more than %u memory devices", MAX_MEMDEVS);
	memdevs = realloc(driver->memdevs, (driver->n_memdevs + 1) * sizeof(CxlMemdev *));
	if (!memdevs)
		return -ENOMEM;
	driver->memdevs = memdevs;
	memdev = calloc(1, sizeof(*memdev));
	if (!memdev)
		return -ENOMEM;
	memdevs[driver->n_memdevs++] = memdev;
	while (top->parent)
		top = top->parent;
	memdev->driver = driver;
	memdev->port = port;
	memdev->port_no = port_no;
	memdev->info.bdf = bdf;
	memdev->info.bridge_uid = top->uid;
	memdev->hdm.endpoint = true;
	memdev->hdm.name = memdev->name;
	driver_name_bdf(memdev->name, "device", bdf);
	return 0;
}

/* Registers a downstream port under PORT; a number used twice makes routing by number impossible.
 */
static void add_dport(CxlDriver *driver, Port *port, uint8_t no)
{
	uint64_t bit = UINT64_C(1) << (no % 64);

	port->n_dports++;
	if (port->dport_seen[no / 64] & bit) {
		driver_log(driver, "%s: two downstream ports have number %u", port->name, no);
		port->broken = true;
	}
	port->dport_seen[no / 64] |= bit;
}

/* Component registers of a switch's upstream port; without HDM it passes all to its only port. */
static void probe_switch(CxlDriver *driver, Port *port)
{
	RegBlock component;
	Dvsecs dvsecs;
	int err;

	pci_find_dvsecs(driver, port->bdf, &dvsecs);
	err = pci_find_block(driver, port->bdf, &dvsecs, CXL_LOCATOR_ID_COMPONENT, &component);
	if (err >= 0)
		err = hdm_block_probe(&port->hdm, &component);
	if (err < 0) {
		driver_log(driver, "%s: %s", port->name, driver->error);
		port->broken = true;
	}
}

/* Numbers of the bus behind a bridge: ours if nobody gave any, else those it has. */
static int bridge_buses(Scan *scan, uint32_t bdf, uint8_t *ret_bus)
{
	CxlDriver *driver = scan->driver;
	uint8_t own = (uint8_t)(bdf >> 8);
	uint8_t secondary;

	if (!driver->assign_buses) {
		secondary = (uint8_t)pci_config_read(driver, bdf, PCI_CFG1_SECONDARY_BUS, 1);
		/* Buses only grow towards the leaves, which also ends every walk. */
		if (secondary <= own || secondary > scan->bus_last)
			return -ENXIO;
		*ret_bus = secondary;
		return 0;
	}
	if (scan->next_bus >= scan->bus_last)
		return driver_fail(driver, -ENOSPC, "no bus number left for the bridge on bus %u",
				   own);
	secondary = ++scan->next_bus;
	pci_config_write(driver, bdf, PCI_CFG1_PRIMARY_BUS, 1, own);
	pci_config_write(driver, bdf, PCI_CFG1_SECONDARY_BUS, 1, secondary);
	pci_config_write(driver, bdf, PCI_CFG1_SUBORDINATE_BUS, 1, scan->bus_last);
	pci_config_set_bits(driver, bdf, PCI_CFG_COMMAND, PCI_CMD_MEM | PCI_CMD_MASTER);
	*ret_bus = secondary;
	return 0;
}

/* A type 1 function: a downstream port of PORT, or the upstream port of a switch below it */
static int scan_bridge(Scan *scan, Port *port, uint8_t port_no, bool below_dport, uint32_t bdf,
		       unsigned depth)
{
	CxlDriver *driver = scan->driver;
	unsigned pcie = pci_find_cap(driver, bdf, PCI_CAP_PCIE);
	unsigned type = PCI_PCIE_TYPE_ENDPOINT;
	bool is_dport;
	uint8_t bus = 0;
	int err;

	if (pcie)
		type = CXL_FIELD_GET(PCI_PCIE_CAPS_TYPE,
				     pci_config_read(driver, bdf, pcie + PCI_PCIE_CAPS, 2));
	is_dport = type == PCI_PCIE_TYPE_ROOT_PORT || type == PCI_PCIE_TYPE_DOWNSTREAM;
	if (is_dport == below_dport || (!is_dport && type != PCI_PCIE_TYPE_UPSTREAM))
		return 0; /* a PCI bridge, or a port where none can be: nothing CXL behind it */
	if (is_dport) {
		port_no = (uint8_t)CXL_FIELD_GET(
			PCI_PCIE_LNKCAP_PORT,
			pci_config_read(driver, bdf, pcie + PCI_PCIE_LNKCAP, 4));
		add_dport(driver, port, port_no);
	} else {
		port = add_port(driver, port, port_no);
		if (!port)
			return -ENOMEM;
		port->bdf = bdf;
		driver_name_bdf(port->name, "switch", bdf);
	}
	err = bridge_buses(scan, bdf, &bus);
	if (err < 0)
		return err == -ENXIO ? 0 : err; /* not numbered: nobody can be reached behind it */
	if (!is_dport)
		probe_switch(driver, port);
	err = scan_bus(scan, port, port_no, is_dport, bus, depth + 1);
	if (driver->assign_buses)
		pci_config_write(driver, bdf, PCI_CFG1_SUBORDINATE_BUS, 1, scan->next_bus);
	return err;
}

static int scan_function(Scan *scan, Port *port, uint8_t port_no, bool below_dport, uint32_t bdf,
			 unsigned depth)
{
	CxlDriver *driver = scan->driver;
	unsigned type = pci_config_read(driver, bdf, PCI_CFG_HEADER_TYPE, 1) & PCI_HDR_TYPE;

	if (type == PCI_HDR_TYPE_1)
		return scan_bridge(scan, port, port_no, below_dport, bdf, depth);
	if (type != PCI_HDR_TYPE_0 || !below_dport ||
	    pci_config_read(driver, bdf, PCI_CFG_REVISION, 4) >> 8 != PCI_CLASS_CXL_MEMDEV)
		return 0;
	return add_memdev(driver, port, port_no, bdf);
}

static int scan_bus(Scan *scan, Port *port, uint8_t port_no, bool below_dport, uint8_t bus,
		    unsigned depth)
{
	CxlDriver *driver = scan->driver;
	/* A link has one device at its far end. */
	unsigned n_devices = below_dport ? 1 : 32;

	if (depth > MAX_DEPTH)
		return driver_fail(driver, -ELOOP, "%s: more than %u bridges deep", port->name,
				   MAX_DEPTH);
	for (unsigned dev = 0; dev < n_devices; dev++) {
		unsigned n_functions = 1;

		for (unsigned fn = 0; fn < n_functions; fn++) {
			uint32_t bdf = (uint32_t)bus << 8 | dev << 3 | fn;
			int err;

			if (pci_config_read(driver, bdf, PCI_CFG_VENDOR_ID, 2) == 0xffff)
				continue;
			if (fn == 0 && pci_config_read(driver, bdf, PCI_CFG_HEADER_TYPE, 1) &
					       PCI_HDR_MULTI_FUNCTION)
				n_functions = 8;
			err = scan_function(scan, port, port_no, below_dport, bdf, depth);
			if (err < 0)
				return err;
		}
	}
	return 0;
}

static int scan_host_bridge(CxlDriver *driver, const CxlHostBridge *bridge)
{
	RegBlock component = {
		.driver = driver,
		.chbcr = true,
		.id = bridge->uid,
		.len = CXL_COMPONENT_LEN,
	};
	Scan scan = {
		.driver = driver,
		.bus_last = bridge->bus_last,
		.next_bus = bridge->bus_first,
	};
	Port *port = add_port(driver, NULL, 0);
	int err;

	if (!port)
		return -ENOMEM;
	port->uid = bridge->uid;
	snprintf(port->name, sizeof(port->name), "host bridge %u", bridge->uid);
	err = hdm_block_probe(&port->hdm, &component);
	if (err < 0) {
		driver_log(driver, "%s: %s", port->name, driver->error);
		port->broken = true;
	}
	return scan_bus(&scan, port, 0, false, bridge->bus_first, 0);
}

int driver_scan(CxlDriver *driver)
{
	for (unsigned i = 0; i < driver->n_bridges; i++) {
		int err = scan_host_bridge(driver, &driver->bridges[i]);

		if (err < 0)
			return err == -ENOMEM ? driver_fail(driver, err, "out of memory") : err;
	}
	return 0;
}
