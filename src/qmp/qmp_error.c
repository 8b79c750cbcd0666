/* SPDX-License-Identifier: BSD-3-Clause */
/* QMP's error classes as GError codes. */
#include "qmp/qmp_error.h"

G_DEFINE_QUARK(softdcd - qmp - error, qmp_error)

static const char *const class_names[] = {
	[QMP_ERROR_GENERIC] = "GenericError",
	[QMP_ERROR_COMMAND_NOT_FOUND] = "CommandNotFound",
	[QMP_ERROR_DEVICE_NOT_ACTIVE] = "DeviceNotActive",
	[QMP_ERROR_DEVICE_NOT_FOUND] = "DeviceNotFound",
	[QMP_ERROR_KVM_MISSING_CAP] = "KVMMissingCap",
};

const char *qmp_error_class_name(QmpErrorClass class)
{
	g_assert((unsigned)class < G_N_ELEMENTS(class_names));
	return class_names[class];
}

QmpErrorClass qmp_error_class_parse(const char *name)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(class_names); i++) {
		if (g_strcmp0(name, class_names[i]) == 0)
			return (QmpErrorClass)i;
	}
	return QMP_ERROR_GENERIC;
}

QmpErrorClass qmp_error_class_of(const GError *error)
{
	if (error->domain != QMP_ERROR || (unsigned)error->code >= G_N_ELEMENTS(class_names))
		return QMP_ERROR_GENERIC;
	return (QmpErrorClass)error->code;
}

bool qmp_refuse(GError **error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	g_propagate_error(error, g_error_new_valist(QMP_ERROR, QMP_ERROR_GENERIC, format, args));
	va_end(args);
	return false;
}
