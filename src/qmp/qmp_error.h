/* SPDX-License-Identifier: BSD-3-Clause */
/* QMP's error classes as GError codes. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#define QMP_ERROR qmp_error_quark()
GQuark qmp_error_quark(void);

/* In the daemon these choose the class of the answer; any other domain is answered GenericError. */
typedef enum QmpErrorClass {
	QMP_ERROR_GENERIC,
	QMP_ERROR_COMMAND_NOT_FOUND,
	QMP_ERROR_DEVICE_NOT_ACTIVE,
	QMP_ERROR_DEVICE_NOT_FOUND,
	QMP_ERROR_KVM_MISSING_CAP,
} QmpErrorClass;

/* "GenericError", ... */
const char *qmp_error_class_name(QmpErrorClass class);
/* Unknown names are QMP_ERROR_GENERIC. */
QmpErrorClass qmp_error_class_parse(const char *name);
/* The class that answers ERROR. */
QmpErrorClass qmp_error_class_of(const GError *error);
/* Sets a GenericError. Returns false. */
bool qmp_refuse(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
