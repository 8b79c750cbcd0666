/* SPDX-License-Identifier: BSD-3-Clause */
/* What softdcd(1) says beyond the table: the words, the conventions, the files. */
#include "cli/overview.h"

const char cli_overview_text[] =
	"softdcd is a CXL Type-3 Dynamic Capacity Device (DCD) in software. A pool, served by one "
	"daemon, owns memory and devices. Memory of the pool is given to a device's host, and "
	"taken "
	"back, while the host runs; each piece may carry a tag that names what it is for.\n\n"
	"The life of a tagged allocation:\n\n"
	"\tsoftdcd serve &\n"
	"\tsoftdcd device add dev0 --dc 16G\n"
	"\tsoftdcd backend add kv-cache --size 1G --tag 5be1f00d-2a6b-4f43-9c1e-0d5f3ac0ffee\n"
	"\tsoftdcd offer dev0 --tag 5be1f00d-2a6b-4f43-9c1e-0d5f3ac0ffee --wait\n"
	"\tsoftdcd list\n"
	"\tsoftdcd release dev0 --tag 5be1f00d-2a6b-4f43-9c1e-0d5f3ac0ffee --wait\n\n"
	"A backend is host memory. An offer reserves it and tells the host; nothing is mapped yet. "
	"When the host accepts, the memory is mapped where the host decodes it, wholly or not at "
	"all. When the host releases, the mapping is revoked, the memory wiped, and only then "
	"free.";

const CliSection cli_overview_sections[] = {
	{ "Output",
	  "The result is JSON on standard output: keys are stable, sizes are numbers of bytes, "
	  "tags "
	  "are lower-case UUIDs. With -H, and without any option on a terminal, it is a table with "
	  "sizes for people; --json prints JSON on a terminal too. Sentences go to standard "
	  "error; an error names the object, the rule it breaks and the cure." },
	{ "Sizes, tags and times",
	  "A size is a number of bytes, decimal or hex after 0x, or a whole number with K, M, G or "
	  "T, of which each is 1024 times the one before; iB or B may follow.\n\n"
	  "A tag is a UUID in either case, also in braces or after urn:uuid:.\n\n"
	  "A time is a whole number of seconds, or with ms, s, m, h or d." },
	{ "Files",
	  "A pool's sockets are in $XDG_RUNTIME_DIR/softdcd/POOL, or in /run/softdcd/POOL for root "
	  "and where that variable is not set: qmp.sock, which the verbs speak to, and NAME.vfio "
	  "and NAME.mem of each device. Its state is in $XDG_STATE_HOME/softdcd/POOL or "
	  "/var/lib/softdcd/POOL; see softdcd-serve(1)." },
	{ .title = NULL },
};
