/* SPDX-License-Identifier: BSD-3-Clause */
/* What tables show of each kind of object. */
#include "cli/columns.h"

const CliColumn cli_pool_columns[] = {
	{ "POOL", "name", CLI_COLUMN_TEXT },
	{ "PID", "pid", CLI_COLUMN_NUMBER },
	{ "LEDGER", "ledger.state", CLI_COLUMN_TEXT },
	{ "KEEPER", "keeper.state", CLI_COLUMN_TEXT },
	{ "HOSTS", "n-hosts", CLI_COLUMN_NUMBER },
	{ "TOTAL", "bytes.total", CLI_COLUMN_BYTES },
	{ "FREE", "bytes.free", CLI_COLUMN_BYTES },
	{ "RESERVED", "bytes.reserved", CLI_COLUMN_BYTES },
	{ "ACCEPTED", "bytes.accepted", CLI_COLUMN_BYTES },
	{ "DRAINING", "bytes.draining", CLI_COLUMN_BYTES },
	{ "QUARANTINED", "bytes.quarantined", CLI_COLUMN_BYTES },
	{ .title = NULL },
};

const CliColumn cli_device_columns[] = {
	{ "DEVICE", "id", CLI_COLUMN_TEXT },
	{ "HOST", "host.pid", CLI_COLUMN_NUMBER },
	{ "CONTROL-ONLY", "host.control-only", CLI_COLUMN_TEXT },
	{ "RAM", "ram", CLI_COLUMN_BYTES },
	{ "PMEM", "pmem", CLI_COLUMN_BYTES },
	{ "DC", "bytes.total", CLI_COLUMN_BYTES },
	{ "FREE", "bytes.free", CLI_COLUMN_BYTES },
	{ "ACCEPTED", "bytes.accepted", CLI_COLUMN_BYTES },
	{ "EXTENTS", "extents", CLI_COLUMN_NUMBER },
	{ "OFFERS", "offers", CLI_COLUMN_NUMBER },
	{ "RELEASES", "releases", CLI_COLUMN_NUMBER },
	{ "MISSED-READS", "host.missed-reads", CLI_COLUMN_NUMBER },
	{ "MISSED-WRITES", "host.missed-writes", CLI_COLUMN_NUMBER },
	{ "GENERATION", "generation", CLI_COLUMN_NUMBER },
	{ .title = NULL },
};

const CliColumn cli_backend_columns[] = {
	{ "BACKEND", "id", CLI_COLUMN_TEXT },
	{ "TYPE", "type", CLI_COLUMN_TEXT },
	{ "SIZE", "size", CLI_COLUMN_BYTES },
	{ "TAG", "tag", CLI_COLUMN_TEXT },
	{ "STATE", "state", CLI_COLUMN_TEXT },
	{ "COMMITTED", "committed", CLI_COLUMN_BYTES },
	{ "BACKED", "backed", CLI_COLUMN_BYTES },
	{ "RELEASE", "on-release", CLI_COLUMN_TEXT },
	{ "FLAGS", "clean shareable read-only contents-lost", CLI_COLUMN_FLAGS },
	{ "INCARNATION", "incarnation", CLI_COLUMN_TEXT },
	{ .title = NULL },
};

const CliColumn cli_extent_columns[] = {
	{ "DEVICE", "device", CLI_COLUMN_TEXT },
	{ "REGION", "region", CLI_COLUMN_NUMBER },
	{ "DPA", "dpa", CLI_COLUMN_HEX },
	{ "LEN", "len", CLI_COLUMN_BYTES },
	{ "TAG", "tag", CLI_COLUMN_TEXT },
	{ "SEQ", "seq", CLI_COLUMN_NUMBER },
	{ "STATE", "state", CLI_COLUMN_TEXT },
	{ "BACKEND", "backend", CLI_COLUMN_TEXT },
	{ "OFFSET", "backend-offset", CLI_COLUMN_BYTES },
	{ "OFFER", "offer", CLI_COLUMN_NUMBER },
	{ .title = NULL },
};

const CliColumn cli_offer_columns[] = {
	{ "OFFER", "id", CLI_COLUMN_NUMBER },
	{ "DEVICE", "device", CLI_COLUMN_TEXT },
	{ "REGION", "region", CLI_COLUMN_NUMBER },
	{ "LEN", "len", CLI_COLUMN_BYTES },
	{ "EXTENTS", "extents", CLI_COLUMN_NUMBER },
	{ "TAG", "tag", CLI_COLUMN_TEXT },
	{ "STATE", "state", CLI_COLUMN_TEXT },
	{ "WAITS-FOR", "waits-for", CLI_COLUMN_TEXT },
	{ .title = NULL },
};

const CliColumn cli_release_columns[] = {
	{ "RELEASE", "id", CLI_COLUMN_NUMBER },
	{ "DEVICE", "device", CLI_COLUMN_TEXT },
	{ "LEFT", "len", CLI_COLUMN_BYTES },
	{ "TAG", "tag", CLI_COLUMN_TEXT },
	{ "STATE", "state", CLI_COLUMN_TEXT },
	{ "RESENT", "resent", CLI_COLUMN_NUMBER },
	{ .title = NULL },
};
