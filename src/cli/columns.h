/* SPDX-License-Identifier: BSD-3-Clause */
/* What tables show of each kind of object. */
#ifndef CLI_COLUMNS_H
#define CLI_COLUMNS_H

#include "cli/output.h"

extern const CliColumn cli_pool_columns[];
extern const CliColumn cli_device_columns[];
extern const CliColumn cli_backend_columns[];
extern const CliColumn cli_extent_columns[];
extern const CliColumn cli_offer_columns[];
extern const CliColumn cli_release_columns[];

#endif
