/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd serve: the pool daemon. */
#include "cli/cmd.h"
#include "pool/pool_daemon.h"

#include <signal.h>
#include <sys/stat.h>

static ExitCode run(const CliArgs *args)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *config_path = NULL, *state_dir = NULL;
	PoolDaemonConfig config = {
		.name = cli_text(args, "name"),
		.group = cli_text(args, "group"),
		.ephemeral = cli_flag(args, "ephemeral"),
		.fault = cli_text(args, "fault"),
		.stall = cli_text(args, "stall"),
		.report_steps = cli_flag(args, "report-steps"),
	};
	PoolDaemon *daemon;

	if (cli_given(args, "config"))
		config_path = g_canonicalize_filename(cli_text(args, "config"), NULL);
	if (cli_given(args, "state"))
		state_dir = g_canonicalize_filename(cli_text(args, "state"), NULL);
	config.config_path = config_path;
	config.state_dir = state_dir;
	/* What we make is ours; a peer that has gone or a limit of files is an error of its call.
	 */
	umask(077);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	daemon = pool_daemon_new(&config, &error);
	if (!daemon) {
		cli_complain(args, "%s", error->message);
		return EXIT_REFUSED;
	}
	pool_daemon_run(daemon);
	pool_daemon_free(daemon);
	return EXIT_DONE;
}

static const CliParam options[] = {
	{ .name = "name",
	  .type = CLI_NAME,
	  .meta = "POOL",
	  .fallback = "default",
	  .help = "the pool's name, in the paths of its sockets and state" },
	{ .name = "config",
	  .type = CLI_TEXT,
	  .meta = "FILE",
	  .source = CLI_FROM_FILES,
	  .help = "backends and devices to make; read again on SIGHUP" },
	{ .name = "state",
	  .type = CLI_TEXT,
	  .meta = "DIR",
	  .source = CLI_FROM_DIRECTORIES,
	  .help = "where ledger, audit log, persistent memory and labels are kept, instead of "
		  "$XDG_STATE_HOME/softdcd/POOL or, for root, /var/lib/softdcd/POOL" },
	{ .name = "group",
	  .type = CLI_TEXT,
	  .meta = "GROUP",
	  .help = "let members of this group use the sockets too" },
	{ .name = "ephemeral",
	  .type = CLI_FLAG,
	  .help = "keep no ledger: everything is forgotten when the daemon ends" },
	{ .name = "fault", .type = CLI_TEXT, .hidden = true },
	{ .name = "stall", .type = CLI_TEXT, .hidden = true },
	{ .name = "report-steps", .type = CLI_FLAG, .hidden = true },
	{ .name = NULL },
};

static const CliExample examples[] = {
	{ "serve", "serve the pool \"default\" until SIGTERM" },
	{ "serve --name lab --config /etc/softdcd/lab.conf",
	  "with backends and devices from a file" },
	{ "serve --name test --ephemeral", "and leave nothing behind" },
	{ .command = NULL },
};

/* Every key of the table in src/pool/pool_config.c; a test compares. */
static const char config_text[] =
	"Sections of keys and values as in .desktop files; a line beginning with # is a comment. "
	"Sizes are bytes, or have K, M, G or T. What is unknown or wrong is refused with its "
	"section, key and value.\n\n"
	"[pool], at most once:\n\n"
	"\tgroup=GROUP\n\n"
	"Members of this group may use the pool's sockets too. Read at the start only; the option "
	"--group comes first.\n\n"
	"[backend NAME], for each backend:\n\n"
	"\ttype=memfd|hugetlb|file|devdax\n\n"
	"What the memory is: anonymous (the default), anonymous in huge pages, a regular file, or "
	"a "
	"devdax device.\n\n"
	"\tsize=SIZE\n\n"
	"Needed for memfd and hugetlb, and for a file that does not exist yet. Otherwise the whole "
	"file or device is the default.\n\n"
	"\ttag=UUID\n\n"
	"The name its capacity is offered under; unique in the pool.\n\n"
	"\tpath=PATH\n\n"
	"The file or device, absolute.\n\n"
	"\tpage-size=SIZE\n\n"
	"Of huge pages; default: the system's.\n\n"
	"\tshareable=true|false\n\n"
	"Several hosts may hold it at once, in sharable regions. Default: false.\n\n"
	"\tread-only=true|false\n\n"
	"Hosts can only read it. Default: false.\n\n"
	"\tprealloc=true|false\n\n"
	"Allocate all of it at once and not on first use. Default: false.\n\n"
	"\ton-release=wipe|keep\n\n"
	"What becomes of its contents when a host has given it back. Default: wipe for memfd and "
	"hugetlb, keep for files, devdax and read-only memory.\n\n"
	"[device NAME], for each device:\n\n"
	"\tdc-regions=SIZE[,block=SIZE][,sharable][,read-only][,sanitize][,non-volatile][;...]\n\n"
	"Up to 8 regions of dynamic capacity, parted by semicolons. Sizes are multiples of 256 "
	"MiB, "
	"blocks powers of two from 4 KiB; default 2 MiB.\n\n"
	"\tram=SIZE\n\n"
	"Static volatile capacity, a multiple of 256 MiB. Default: 0.\n\n"
	"\tpmem=SIZE\n\n"
	"Static persistent capacity, a multiple of 256 MiB, kept in NAME.pmem in the state "
	"directory. Default: 0.\n\n"
	"\tlsa=SIZE\n\n"
	"Label storage, kept in NAME.lsa in the state directory. Default: 0.\n\n"
	"\tserial=NUMBER\n\n"
	"Decimal, or 0x and hex. Default: made from the name.\n\n"
	"\tmax-extents=NUMBER\n\n"
	"Extents the device supports, 1 to 65536. Default: 65536.\n\n"
	"\tmax-chain=NUMBER\n\n"
	"Extents one offer may have, 1 to 65535. Default: 100, because Linux drops longer "
	"chains.\n\n"
	"\tlog-depth=NUMBER\n\n"
	"Records its dynamic capacity event log holds, 1 to 65535. Default: 4096.\n\n"
	"\tread-latency=NUMBER\n\n"
	"\twrite-latency=NUMBER\n\n"
	"Nanoseconds that the device's CDAT says, 1 to 65534. Default: 150.\n\n"
	"\tbandwidth=NUMBER\n\n"
	"MB/s that the device's CDAT says. Default: 16000.\n\n"
	"\thold=auto|off\n\n"
	"auto, the default: offers wait until the host has enabled dynamic capacity events and "
	"read "
	"its extent list, because Linux declines earlier ones for good. off: they go out at once.";

static const char change_text[] =
	"On SIGHUP the configuration is read again and the pool made as it says: what is new is "
	"added, what has left the file is removed, what has changed is replaced. Only free "
	"backends, and devices without host and capacity in use, can be removed or replaced; if "
	"one cannot, nothing is changed and the reason is told on stderr and as event "
	"CONFIG_APPLIED. What was made through the control socket stays.\n\n"
	"At the start what is in use stays as it was, and is told; the rest is done. Without "
	"--config "
	"nothing is added or removed.";

static const char restart_text[] =
	"What a host has accepted stays its own when the daemon ends, in whatever way, and when "
	"the "
	"host ends: a rebooting kernel finds it in its extent list. The ledger in the state "
	"directory knows all offers, extents, release requests and drains; each is recorded before "
	"anybody is told. softdcd-keeper, a small process started with the daemon, holds the "
	"memory "
	"itself meanwhile, so hosts keep using it. Should both end, the contents are lost, which "
	"is "
	"told on stderr, in query-backends and as event; what was accepted is then taken back by "
	"force.";

static const CliSection sections[] = {
	{ "Configuration file", config_text },
	{ "Changing the configuration", change_text },
	{ "What outlives the daemon", restart_text },
	{ NULL, NULL },
};

static const char *const see_also[] = { "backend add", "device add", "list", "events", NULL };

const CliVerb verb_serve = {
	.name = "serve",
	.run = run,
	.summary = "serve a pool of memory until SIGTERM",
	.text = "Serves devices, each on a vfio-user socket (NAME.vfio) and a memory link "
		"(NAME.mem), "
		"and a control socket (qmp.sock) that speaks QEMU's QMP and takes its commands for "
		"dynamic capacity. The sockets are in $XDG_RUNTIME_DIR/softdcd/POOL or, for root, "
		"/run/softdcd/POOL, mode 0600.\n\n"
		"It stays in the foreground, tells systemd when it is ready ($NOTIFY_SOCKET), and "
		"takes sockets from it that are named as its own (FileDescriptorName=). SIGTERM "
		"and "
		"SIGINT end it in good order, SIGHUP reads the configuration again.",
	.options = options,
	.examples = examples,
	.sections = sections,
	.see_also = see_also,
};
