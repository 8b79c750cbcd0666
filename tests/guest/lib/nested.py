# SPDX-License-Identifier: BSD-3-Clause
"""A host with KVM, emulated by QEMU: what the KVM machine's tests run in where no real KVM is."""

from pathlib import Path

from initramfs import Initramfs, modules_in_order
from machine import HERE, Guest, Machine

PROGRAMS = ("busybox", "cxl", "daxctl", "passt", "memtester", "mkfs.ext4")
FILES = ("usr/libexec/virtiofsd",)  # programs that are not in PATH
MODULES = ("ccp", "kvm_amd")
HOST = "outer"  # the kernel of the emulated host, as tests/guest/rig names it
# One thread for all CPUs: with more, kernel code patching of the emulated host goes wrong at times.
MACHINE = Machine(bridges=(), windows=(), cpus=2, memory="3G", cpu="max",
                  kernel_options="quiet mitigations=off")


class Printed(list):
    """Lines that are printed as they come."""

    def append(self, line):
        super().append(line)
        print(line, flush=True)


class NestedHost(Guest):
    """The emulated host, with softdcd and the kernels its machines boot."""

    def __init__(self, rig, directory, softdcd, verbose=False, machine=MACHINE):
        super().__init__(rig, directory, HOST, machine)
        self.softdcd = Path(softdcd)
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
        self._add_softdcd(image, root)
        for name in kernels:
            add_kernel(image, self.rig / "kernel" / name)
        for path, source in (files or {}).items():
            image.add_file(path, source, libraries_of=root)
        image.add("init", (HERE / "init").read_bytes(), executable=True)
        functions = [(HERE / name).read_bytes() for name in ("functions", "nested-functions")]
        image.add("lib/guest/functions", b"\n".join(functions))
        image.add("lib/guest/test", script.encode())
        names = []
        for path in modules_in_order(self.kernel, MODULES):
            names.append(f"/lib/guest/{path.name}\n")
            image.add(names[-1].strip(), path.read_bytes())
        image.add("lib/guest/modules", "".join(names).encode())
        image.write(self.directory / "initramfs")

    def _add_softdcd(self, image, root):
        """softdcd and what was built with it, with libraries of the rig's Debian."""
        for path in (self.softdcd, self.softdcd.with_name("softdcd-keeper"),
                     self.softdcd.parent / "agent/softdcd-agent"):
            if path.exists():
                image.add_file(f"usr/bin/{path.name}", path, libraries_of=root)

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
