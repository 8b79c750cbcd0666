# SPDX-License-Identifier: BSD-3-Clause
"""Initramfs images made from a list of files: programs with their libraries, modules, texts."""

import os
import re
import subprocess
from pathlib import Path

DIRECTORIES = ("dev", "proc", "sys", "tmp", "run", "root", "etc", "usr/bin", "usr/sbin", "usr/lib",
               "usr/lib64", "usr/share", "lib/guest")
# As in Debian, where everything is below /usr.
LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib64": "usr/lib64"}
LINKER = "/lib64/ld-linux-x86-64.so.2"


class Initramfs:
    """A cpio archive (newc) in the making."""

    def __init__(self, root):
        self.root = Path(root)  # whose programs and libraries are taken
        self.entries = {}  # path -> (mode, bytes)
        for path in DIRECTORIES:
            self._directory(path)
        for path, target in LINKS.items():
            self.entries[path] = (0o120777, target.encode())

    def _directory(self, path):
        parts = path.split("/")
        for n in range(1, len(parts) + 1):
            self.entries.setdefault("/".join(parts[:n]), (0o040755, b""))

    def add(self, path, data, executable=False):
        path = path.lstrip("/")
        self._directory(os.path.dirname(path))
        self.entries[path] = (0o100755 if executable else 0o100644, data)

    def add_program(self, name):
        """A program of the root and all libraries it needs, where it expects them."""
        found = next((p for d in ("usr/bin", "usr/sbin") if (p := self.root / d / name).exists()))
        self.add(str(found.relative_to(self.root)), found.read_bytes(), executable=True)
        self._add_libraries(self.root, found)

    def add_file(self, path, source, libraries_of="/"):
        """A file of this machine; a program gets those libraries that no program before needed."""
        source = Path(source)
        executable = os.access(source, os.X_OK)
        self.add(path, source.read_bytes(), executable)
        if executable:
            self._add_libraries(Path(libraries_of), source)

    def add_modules(self, kernel, wanted):
        """Modules that the first script loads, in the order in which it is to do that."""
        modules = modules_in_order(kernel, wanted)
        for path in modules:
            self.add(f"lib/guest/{path.name}", path.read_bytes())
        names = "".join(f"/lib/guest/{path.name}\n" for path in modules)
        self.add("lib/guest/modules", names.encode())

    def _add_libraries(self, root, program):
        for library in libraries(root, program):
            path = re.sub("^/lib", "/usr/lib", library)
            if path.lstrip("/") not in self.entries:
                self.add(path, (root / library.lstrip("/")).read_bytes(), executable=True)

    def write(self, path):
        with open(path, "wb") as out:
            for number, (name, (mode, data)) in enumerate(sorted(self.entries.items()), 1):
                out.write(_entry(number, name, mode, data))
            out.write(_entry(0, "TRAILER!!!", 0, b""))


def _entry(number, name, mode, data):
    name = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def in_root(root, program):
    """The command that runs a program of the root on this machine, without chroot."""
    root = Path(root)
    path = ":".join(str(root / d) for d in ("usr/lib/x86_64-linux-gnu",
                                            "usr/lib/x86_64-linux-gnu/pulseaudio"))
    return [str(root / f"usr{LINKER}"), "--library-path", path, str(program)]


def libraries(root, program):
    """What the dynamic linker would load, as paths in the root."""
    if LINKER.encode() not in Path(program).read_bytes()[:4096]:
        return []  # static
    cmd = in_root(root, program)
    out = subprocess.run([*cmd[:1], "--list", *cmd[1:]], text=True, capture_output=True, check=False)
    if out.returncode:
        raise RuntimeError(f"{program}: {out.stdout}{out.stderr}")
    names = re.findall(r"(?:=> )?(/\S+) \(0x", out.stdout)
    prefix = str(root).rstrip("/")
    return sorted({n.removeprefix(prefix) for n in names} | {LINKER})


def modules_in_order(kernel, wanted):
    """Paths of the wanted modules and of those they need, each after what it needs."""
    there = {path.stem.replace("-", "_"): path for path in Path(kernel).rglob("*.ko")}
    order = []

    def visit(name):
        path = there.get(name.replace("-", "_"))
        if not path or path in order:
            return  # built in, or already there
        match = re.search(rb"\0depends=([^\0]*)\0", b"\0" + path.read_bytes())
        for needed in filter(None, match[1].decode().split(",") if match else []):
            visit(needed)
        order.append(path)

    for name in wanted:
        visit(name)
    return order
