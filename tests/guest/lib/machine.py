# SPDX-License-Identifier: BSD-3-Clause
"""A guest in stock QEMU that runs a test's script.  Tests import all they need from here."""

import contextlib
import os
import select
import subprocess
import time
from pathlib import Path

import report
from initramfs import Initramfs
from pool import WAIT_S, Failure, Pool, same
from qemu import Bridge, Machine, Monitor, Switch, Window, vfio_user

__all__ = ["WAIT_S", "Bridge", "Failure", "Guest", "MODULES", "Machine", "Pool", "Switch", "Window",
           "same", "vfio_user"]

HERE = Path(__file__).resolve().parent
PROGRAMS = ("busybox", "cxl", "daxctl", "lspci", "setpci")
# No driver that would touch the memory behind the window: QEMU carries no data there.
MODULES = ("cxl_acpi", "cxl_pmem", "cxl_mem", "cxl_pci")


class Guest:
    """A virtual machine in QEMU, running a script."""

    patience_s = WAIT_S  # for a line

    def __init__(self, rig, directory, kernel, machine=Machine()):
        self.rig, self.directory = Path(rig), Path(directory)
        self.kernel = self.rig / "kernel" / kernel
        self.machine = machine
        self.output = []
        self.process = None
        self.pending = b""
        self.exit_code = None
        self.monitor = None
        self.sockets = {}

    def write_initramfs(self, script, modules=MODULES, programs=(), files=None):
        """programs: further ones of the rig; files: path here by path there."""
        image = Initramfs(self.rig / "root")
        for name in (*PROGRAMS, *programs):
            image.add_program(name)
        for path, source in (files or {}).items():
            image.add_file(path, source)
        image.add("init", (HERE / "init").read_bytes(), executable=True)
        image.add("lib/guest/functions", (HERE / "functions").read_bytes())
        image.add("lib/guest/test", script.encode())
        image.add_modules(self.kernel, modules)
        image.write(self.directory / "initramfs")

    def command(self, sockets, shell=False):
        cmd = self.machine.command(self.rig / "root", self.kernel / "vmlinuz",
                                   self.directory / "initramfs", sockets,
                                   "guest.shell loglevel=4" if shell else "loglevel=8")
        if shell:
            return [*cmd, "-serial", "mon:stdio"]
        return [*cmd, "-chardev", f"file,id=console,append=on,path={self.directory}/console",
                "-serial", "chardev:console", "-chardev", "stdio,id=line", "-serial", "chardev:line",
                "-qmp", f"unix:{self.directory}/monitor,server=on,wait=off"]

    def environment(self):
        modules = self.rig / "root/usr/lib/x86_64-linux-gnu/qemu"
        return {**os.environ, "QEMU_MODULE_DIR": str(modules)}

    def start(self, sockets=None):
        """sockets: path by name of the device; those of last time if there are none."""
        self.sockets = self.sockets if sockets is None else sockets
        self.exit_code = None
        with open(self.directory / "qemu.log", "ab") as log:
            self.process = subprocess.Popen(
                self.command(self.sockets), env=self.environment(), stderr=log,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def kill(self):
        """End QEMU at once; start() may follow."""
        if self.process:
            self.process.kill()
            self.process.wait()
            with contextlib.suppress(BrokenPipeError):  # what it was told and did not hear
                self.process.stdin.close()
            self.process.stdout.close()
        self.process = self.monitor = None
        self.pending = b""

    def qemu(self, command, **arguments):
        """A command to QEMU's monitor; returns its answer.  The guest must have been heard."""
        if not self.monitor:
            self.monitor = Monitor(self.directory / "monitor")
        return self.monitor.execute(command, **arguments)

    def _read_rest(self):
        """What the guest has said by now and nobody has waited for."""
        while self.process and select.select([self.process.stdout], [], [], 0)[0]:
            got = os.read(self.process.stdout.fileno(), 65536)
            if not got:
                break
            self.pending += got
        self.output += self.pending.decode(errors="replace").splitlines()
        self.pending = b""

    def report(self, what, *more):
        """WHAT went wrong, and what is known of what it did: output, console, QEMU, MORE files."""
        self._read_rest()
        found = report.sections_of_output(self.output)
        files = [self.directory / name for name in ("console", "qemu.log")]
        return report.brief(what, found + report.sections_of_files(*files, *more))

    def _line(self, deadline):
        """The next line from the guest, without its end."""
        while b"\n" not in self.pending:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise Failure(f"nothing from the guest for {self.patience_s} s")
            got = os.read(self.process.stdout.fileno(), 65536)
            if not got:
                raise Failure(f"QEMU ended with {self.process.wait()} before the script did")
            self.pending += got
        line, self.pending = self.pending.split(b"\n", 1)
        return line.decode(errors="replace").rstrip("\r")

    def hear(self, word):
        """Wait until the guest's script has told this word; returns what it told with it."""
        said = self._next_word()
        if said.split()[:2] != ["tell", word]:
            raise Failure(f"the guest said '{said}' instead of 'tell {word}'")
        return said.removeprefix(f"tell {word}").strip()

    def _next_word(self):
        """The next word that is not output; every line starts the wait anew."""
        while True:
            line = self._line(time.monotonic() + self.patience_s)
            before, mark, word = line.partition("\1")
            if before or not mark:
                self.output.append(before)
            if mark:
                if word.startswith("exit "):
                    self.exit_code = int(word.removeprefix("exit "))
                return word

    def tell(self, words):
        try:
            self.process.stdin.write(words.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            code = self.process.wait(WAIT_S)
            raise Failure(f"QEMU ended with {code} before it was told '{words}'") from None

    def finish(self):
        """Wait for the end of the script and of QEMU; the script's exit code."""
        if self.exit_code is None:
            said = self._next_word()
            if self.exit_code is None:
                raise Failure(f"the guest said '{said}' and nobody expected it")
        self.process.stdin.close()
        try:
            self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired as late:
            raise Failure(f"QEMU is still there {WAIT_S} s after the script's end") from late
        self.kill()
        return self.exit_code
