# SPDX-License-Identifier: BSD-3-Clause
"""A host with KVM, emulated by QEMU: what the KVM machine's tests run in where no real KVM is."""

import contextlib
import json
import os
import subprocess
from pathlib import Path

from direct import BUILT, PEEK, DirectHost, Printed
from initramfs import Initramfs
from machine import HERE, WAIT_S, Failure, Guest, Machine

PROGRAMS = ("busybox", "cxl", "daxctl", "jq", "passt", "memtester", "mkfs.ext4")
FILES = ("usr/libexec/virtiofsd",)  # programs that are not in PATH
MODULES = ("ccp", "kvm_amd")
HOST = "outer"  # the kernel of the emulated host, as tests/guest/rig names it
# QEMU: an interrupt that KVM injects into a guest stays noted as an exception to be raised, and is
# raised a second time if the CPU is made to leave its loop, as happens 250 times a second when a
# thread emulates several CPUs.  The emulated host has one, so that nobody makes it.
MACHINE = Machine(bridges=(), windows=(), cpus=1, memory="3G", cpu="max",
                  kernel_options="quiet mitigations=off")

TOOLS = ("cxl", "daxctl", "jq", "lspci", "memtester", "mkfs.ext4", "ndctl", "numactl")  # for guests
TRIES = 2
LAST_WORDS_S = 20


class NestedHost(Guest):
    """The emulated host, with softdcd and the kernels its machines boot."""

    patience_s = 2 * WAIT_S  # longer than its scripts have with their guests: they know more

    def __init__(self, rig, directory, softdcd, verbose=False):
        super().__init__(rig, directory, HOST, MACHINE)
        self.build = Path(softdcd).parent
        if verbose:
            self.output = Printed()

    def write_initramfs(self, script, kernels=("new",), programs=(), files=None):
        """kernels: what lies in /boot; files: path here by path there."""
        root = self.rig / "root"
        image = Initramfs(root)
        for name in (*PROGRAMS, *programs):
            image.add_program(name)
        for name in FILES:
            image.add_file(name, root / name, libraries_of=root)
        for name in BUILT:
            if (self.build / name).exists():
                image.add_file(f"usr/bin/{Path(name).name}", self.build / name, libraries_of=root)
        for name in kernels:
            add_kernel(image, self.rig / "kernel" / name)
        for path, source in (files or {}).items():
            image.add_file(path, source, libraries_of=root)
        image.add("init", (HERE / "init").read_bytes(), executable=True)
        functions = [(HERE / name).read_bytes() for name in ("functions", "nested-functions")]
        image.add("lib/guest/functions", b"\n".join(functions))
        image.add("lib/guest/host-functions", (HERE / "host-functions").read_bytes())
        image.add("lib/guest/test", script.encode())
        image.add_modules(self.kernel, MODULES)
        image.write(self.directory / "initramfs")

    def explain(self, failure):
        """A report in which the script may say what it is doing, if it can."""
        self.patience_s = LAST_WORDS_S
        with contextlib.suppress(Failure, OSError):
            self.tell(str(failure))
            while self.exit_code is None:
                self._next_word()
        return self.report(str(failure))

    def crashed_by_emulation(self):
        """Whether the emulated host met a known fault of QEMU's, so that another try is fair."""
        console = self.directory / "console"
        return console.exists() and "Oops: int3" in console.read_text(errors="replace")


def add_kernel(image, kernel):
    """A kernel with its modules where Debian has them."""
    modules = next(path.parent for path in kernel.rglob("modules.dep"))
    image.add(f"boot/vmlinuz-{modules.name}", (kernel / "vmlinuz").read_bytes())
    for path in modules.rglob("*"):
        if path.is_file():
            image.add(f"lib/modules/{modules.name}/{path.relative_to(modules)}", path.read_bytes())


def write_tools(path, rig, build, script):
    """What the machine's guests need besides softdcd's own initramfs; SCRIPT is theirs to run."""
    image = Initramfs(rig / "root")
    for name in TOOLS:
        image.add_program(name)
    image.add_file("usr/bin/guest-peek", build / PEEK)
    image.add("usr/bin/guest-test", (HERE / "guest-test").read_bytes(), executable=True)
    functions = [(HERE / name).read_bytes() for name in ("functions", "machine-functions")]
    image.add("lib/guest/functions", b"\n".join(functions))
    image.add("lib/guest/test", script.encode())
    image.write(path)


PRELUDE = """
. /lib/guest/host-functions
export KERNEL=$(ls /boot/vmlinuz-*) TOOLS=/lib/guest/tools WORK=/tmp/work
mkdir -p $WORK
"""


def is_direct(softdcd):
    """Whether this host's own KVM can run machines; $SOFTDCD_GUEST_HOST overrides."""
    choice = os.environ.get("SOFTDCD_GUEST_HOST")
    if choice:
        return choice == "direct"
    out = subprocess.run([softdcd, "doctor", "--json"], text=True, capture_output=True, check=False)
    return any(check["check"] == "kvm" and check["state"] == "ok"
               for check in json.loads(out.stdout))


def run_test(tests, name, kernel, rig, directory, args):
    """Run tests/NAME.sh on the host, tests/NAME.guest in its machines; what went wrong, or ''."""
    guest_script, script = tests / f"{name}.guest", (tests / f"{name}.sh").read_text()
    tools = Path(directory) / "tools"
    write_tools(tools, Path(rig), Path(args.softdcd).parent,
                guest_script.read_text() if guest_script.exists() else "")
    script = f"trace\n{script}"
    if is_direct(args.softdcd):
        host = DirectHost(rig, directory, args.softdcd, args.verbose)
        host.prepare(script, kernel)
        trouble = host.run()
    else:
        host, trouble = run_nested(script, kernel, tools, rig, directory, args)
    if not trouble and not args.verbose:
        print_figures(host.output)
    return trouble


def run_nested(script, kernel, tools, rig, directory, args):
    """The last host that tried, and what went wrong."""
    for _ in range(TRIES):
        host = NestedHost(rig, directory, args.softdcd, args.verbose)
        host.write_initramfs(PRELUDE + script, (kernel,), files={"lib/guest/tools": tools})
        trouble = run_on(host)
        if not host.crashed_by_emulation():
            break
    return host, trouble


def print_figures(lines):
    """What a test has measured, it prints as an object with a figure's name in it."""
    for line in lines:
        if line.startswith('{"figure"'):
            print(line, flush=True)


def run_on(host):
    try:
        host.start({})
        host.hear("booted")
        code = host.finish()
        return host.report(f"exit code {code}") if code else ""
    except Failure as failure:
        return host.explain(failure)
    finally:
        host.kill()
