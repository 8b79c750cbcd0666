/* SPDX-License-Identifier: BSD-3-Clause */
/* The driver object: creation, lists, error texts. */
#include "driver/driver_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_COMMAND_MS 2000
#define DEFAULT_MEDIA_MS   60000

static void *copy_array(const void *array, size_t n, size_t size)
{
	void *copy = calloc(n ? n : 1, size);

	if (copy && n)
		memcpy(copy, array, n * size);
	return copy;
}

CxlDriver *cxl_driver_new(const CxlBus *bus, void *opaque, const CxlPlatform *platform,
			  const CxlDriverOptions *options)
{
	CxlDriver *driver = calloc(1, sizeof(*driver));

	if (!driver)
		return NULL;
	driver->bus = *bus;
	driver->opaque = opaque;
	if (options)
		driver->options = *options;
	if (!driver->options.command_ms)
		driver->options.command_ms = DEFAULT_COMMAND_MS;
	if (!driver->options.media_ms)
		driver->options.media_ms = DEFAULT_MEDIA_MS;
	driver->assign_buses = platform->assign_buses;
	driver->n_windows = platform->n_windows;
	driver->n_bridges = platform->n_bridges;
	driver->windows = copy_array(platform->windows, platform->n_windows, sizeof(CxlWindow));
	driver->bridges = copy_array(platform->bridges, platform->n_bridges, sizeof(CxlHostBridge));
	if (!driver->windows || !driver->bridges) {
		cxl_driver_free(driver);
		return NULL;
	}
	return driver;
}

void cxl_driver_free(CxlDriver *driver)
{
	if (!driver)
		return;
	for (unsigned i = 0; i < driver->n_memdevs; i++)
		memdev_free(driver->memdevs[i]);
	free(driver->memdevs);
	while (driver->ports) {
		Port *port = driver->ports;

		driver->ports = port->next;
		free(port);
	}
	while (driver->regions) {
		CxlRegion *region = driver->regions;

		driver->regions = region->next;
		free(region);
	}
	free(driver->windows);
	free(driver->bridges);
	free(driver);
}

static int check_platform(CxlDriver *driver)
{
	for (unsigned i = 0; i < driver->n_windows; i++) {
		const CxlWindow *window = &driver->windows[i];

		if (window->ways > ARRAY_LEN(window->targets) || cxl_iw_encode(window->ways) < 0)
			return driver_fail(driver, -EINVAL, "window %u: %u ways cannot be", i,
					   window->ways);
		if (window->ways > 1 && cxl_ig_encode(window->granularity) < 0)
			return driver_fail(driver, -EINVAL, "window %u: granularity %u cannot be",
					   i, window->granularity);
		if (!window->len || (window->hpa | window->len) % CXL_HDM_ALIGN ||
		    window->hpa + window->len < window->hpa)
			return driver_fail(driver, -EINVAL,
					   "window %u: base and length are not 256 MiB multiples",
					   i);
	}
	for (unsigned i = 0; i < driver->n_bridges; i++) {
		const CxlHostBridge *bridge = &driver->bridges[i];

		if (bridge->bus_first > bridge->bus_last)
			return driver_fail(driver, -EINVAL, "host bridge %u: buses %u to %u",
					   bridge->uid, bridge->bus_first, bridge->bus_last);
	}
	return 0;
}

int cxl_driver_enumerate(CxlDriver *driver)
{
	int err;

	if (driver->enumerated)
		return driver_fail(driver, -EALREADY, "this driver has enumerated already");
	err = check_platform(driver);
	if (err < 0)
		return err;
	driver->enumerated = true;
	err = driver_scan(driver);
	if (err < 0)
		return err;
	for (unsigned i = 0; i < driver->n_memdevs; i++) {
		CxlMemdev *memdev = driver->memdevs[i];

		err = memdev_probe(memdev);
		if (err == -ENOMEM)
			return err;
		memdev->usable = err >= 0;
		if (err < 0) {
			snprintf(memdev->error, sizeof(memdev->error), "%s", driver->error);
			driver_log(driver, "cannot use %s: %s", memdev->name, memdev->error);
		}
	}
	if (driver->options.adopt) {
		err = driver_adopt(driver);
		if (err < 0)
			return err;
	}
	driver->error[0] = '\0';
	return (int)driver->n_memdevs;
}

const char *cxl_driver_error(const CxlDriver *driver)
{
	return driver->error;
}

unsigned cxl_driver_n_memdevs(const CxlDriver *driver)
{
	return driver->n_memdevs;
}

CxlMemdev *cxl_driver_memdev(CxlDriver *driver, unsigned index)
{
	return index < driver->n_memdevs ? driver->memdevs[index] : NULL;
}

CxlMemdev *cxl_driver_find_serial(CxlDriver *driver, uint64_t serial)
{
	for (unsigned i = 0; i < driver->n_memdevs; i++) {
		if (driver->memdevs[i]->info.serial == serial)
			return driver->memdevs[i];
	}
	return NULL;
}

CxlMemdev *cxl_driver_find_bdf(CxlDriver *driver, uint32_t bdf)
{
	for (unsigned i = 0; i < driver->n_memdevs; i++) {
		if (driver->memdevs[i]->info.bdf == bdf)
			return driver->memdevs[i];
	}
	return NULL;
}

unsigned cxl_driver_n_windows(const CxlDriver *driver)
{
	return driver->n_windows;
}

const CxlWindow *cxl_driver_window(const CxlDriver *driver, unsigned index)
{
	return index < driver->n_windows ? &driver->windows[index] : NULL;
}

int driver_fail(CxlDriver *driver, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(driver->error, sizeof(driver->error), format, args);
	va_end(args);
	return err;
}

void driver_log(CxlDriver *driver, const char *format, ...)
{
	char line[512];
	va_list args;

	if (!driver->bus.log)
		return;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	driver->bus.log(driver->opaque, line);
}

uint64_t driver_now_us(const CxlDriver *driver)
{
	return driver->bus.now_us(driver->opaque);
}

void driver_sleep_us(const CxlDriver *driver, uint64_t us)
{
	driver->bus.sleep_us(driver->opaque, us);
}

void driver_name_bdf(char name[24], const char *kind, uint32_t bdf)
{
	snprintf(name, 24, "%s %02x:%02x.%x", kind, bdf >> 8 & 0xff, bdf >> 3 & 0x1f, bdf & 7);
}
