# SPDX-License-Identifier: BSD-3-Clause
"""Outside of qemu-docs: runs docs/qemu.md, every command of it, where the page says.

Its pool is `softdcd serve` and its QEMU is what it calls qemu-system-x86_64: a script of that name,
which adds nothing but the lines between guest and test."""

import os
import re
import subprocess
import time
from pathlib import Path
from shlex import join, quote

from machine import WAIT_S, Failure
from qemu import program

KERNELS = ("new",)
DEVICES = {}  # the page adds its own
PAGE = Path(__file__).resolve().parent.parent.parent / "docs/qemu.md"


def blocks():
    """(where, commands) of each block of commands, in the order of the page."""
    found = re.findall(r"^```(.*)\n((?s:.*?))^```$", PAGE.read_text(), re.MULTILINE)
    if unknown := [kind for kind, _ in found if kind not in ("sh pool", "sh host", "sh guest")]:
        raise Failure(f"{PAGE.name} has blocks of no known kind: {unknown}")
    return [(kind.removeprefix("sh "), text) for kind, text in found]


def write_qemu(guest, path):
    qemu = program(guest.rig / "root")
    lines = ["-nic", "none", "-monitor", "none", "-no-reboot",
             "-chardev", f"file,id=console,path={guest.directory}/console", "-serial",
             "chardev:console", "-chardev", "stdio,id=line", "-serial", "chardev:line"]
    modules = quote(guest.environment()["QEMU_MODULE_DIR"])
    path.write_text("#!/bin/sh\n"
                    f"export QEMU_MODULE_DIR={modules}\nexec {join(qemu)} \"$@\" {join(lines)}\n")
    path.chmod(0o755)


class Reader:
    """Who does what the page says."""

    def __init__(self, guest, pool):
        self.guest, self.pool = guest, pool
        self.place = guest.directory / "docs"
        self.place.mkdir()
        write_qemu(guest, self.place / "qemu-system-x86_64")
        (self.place / "vmlinuz").symlink_to(guest.kernel / "vmlinuz")
        (self.place / "initrd").symlink_to(guest.directory / "initramfs")
        path = f"{self.place}:{Path(pool.softdcd_path).parent}:{os.environ['PATH']}"
        self.env = {**pool.env, "PATH": path}

    def start(self, commands, **more):
        return subprocess.Popen(["sh", "-euc", commands], env=self.env, cwd=self.place, **more)

    def pool_commands(self, commands):
        with open(self.pool.log, "ab") as log:
            self.pool.process = self.start(f"exec {commands}", stdin=subprocess.DEVNULL, stdout=log,
                                           stderr=log)
        deadline = time.monotonic() + WAIT_S
        while not (self.pool.runtime / "qmp.sock").exists():
            if time.monotonic() > deadline or self.pool.process.poll() is not None:
                raise Failure(f"no pool: {self.pool.log.read_text()}")
            time.sleep(0.05)

    def host_commands(self, commands):
        if "qemu-system" in commands:
            with open(self.guest.directory / "qemu.log", "ab") as log:
                self.guest.process = self.start(commands, stdin=subprocess.PIPE, stderr=log,
                                                stdout=subprocess.PIPE)
            self.guest.hear("booted")
            self.guest.hear("block")
            return
        out = self.start(commands, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        text = out.communicate(timeout=WAIT_S)[0]
        self.guest.output.append(text)
        if out.returncode != 0:
            raise Failure(f"this of {PAGE.name} ends with {out.returncode}:\n{commands}{text}")

    def guest_commands(self, name):
        self.guest.tell(name)
        self.guest.hear("block")


def outside(guest, pool):
    guest.kill()
    pool.stop()
    todo = blocks()
    files = {}
    reader = Reader(guest, pool)
    for number, (where, commands) in enumerate(todo):
        if where == "guest":
            files[f"docs/{number}"] = reader.place / str(number)
            files[f"docs/{number}"].write_text(commands)
    guest.write_initramfs((Path(__file__).parent / "qemu-docs.sh").read_text(), files=files)
    for number, (where, commands) in enumerate(todo):
        if where == "pool":
            reader.pool_commands(commands)
        elif where == "host":
            reader.host_commands(commands)
        else:
            reader.guest_commands(str(number))
    said = (guest.directory / "qemu.log").read_text()
    if "warning" in said:
        raise Failure(f"who follows {PAGE.name} is warned: {said}")
    guest.tell("end")
