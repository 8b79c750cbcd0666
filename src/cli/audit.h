/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads the daemon's audit log, page by page. */
#ifndef CLI_AUDIT_H
#define CLI_AUDIT_H

#include "qmp/qmp_client.h"

/* TIME_US: of the epoch; 0 = the record has none. */
typedef void CliAuditFunc(JsonObject *record, int64_t time_us, void *opaque);

/* All records since then, oldest first. TIMEOUT_MS is for each page. */
bool cli_read_audit(QmpClient *client, int64_t since_us, unsigned timeout_ms, CliAuditFunc *func,
		    void *opaque, GError **error);

#endif
