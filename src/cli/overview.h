/* SPDX-License-Identifier: BSD-3-Clause */
/* What softdcd(1) says beyond the table: the words, the conventions, the files. */
#ifndef CLI_OVERVIEW_H
#define CLI_OVERVIEW_H

#include "cli/verb.h"

#define CLI_OVERVIEW_SUMMARY "a CXL Dynamic Capacity Device in software, with tagged memory"

extern const char cli_overview_text[];
extern const CliSection cli_overview_sections[];

#endif
