# SPDX-License-Identifier: BSD-3-Clause
"""This host, where its own KVM runs guests: scripts of the KVM machine's tests without emulation."""

import contextlib
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import report
from initramfs import in_root
from machine import HERE
from pool import WAIT_S, Pool

# Of the rig, so that the scripts find the same programs as on an emulated host.
PROGRAMS = ("usr/bin/jq", "usr/bin/passt", "usr/libexec/virtiofsd")
PEEK = "tests/guest/peek/guest-peek"
# Of the build directory, for the same reason.
BUILT = ("softdcd", "softdcd-keeper", "softdcd-guest-run", "agent/softdcd-agent", PEEK,
         "tests/guest/cycle/host-cycle")
RUN_S = WAIT_S * 10  # for a whole script
LOOK_S = 0.2  # between looks at what it prints


class Printed(list):
    """Lines that are printed as they come."""

    def append(self, line):
        super().append(line)
        print(line, flush=True)


class DirectHost:
    """Runs a script in a directory of its own, with the rig's busybox as its shell and tools."""

    def __init__(self, rig, directory, softdcd, verbose=False):
        self.rig, self.directory = Path(rig), Path(directory)
        self.softdcd = Path(softdcd).absolute()
        self.output = Printed() if verbose else []

    def prepare(self, script, kernel):
        """kernel: its name in the rig."""
        root, work = self.rig / "root", self.directory / "work"
        bin_dir = self.directory / "bin"
        for path in (work, bin_dir, self.directory / "run"):
            path.mkdir(mode=0o700, exist_ok=True)
        busybox = root / "usr/bin/busybox"
        subprocess.run([busybox, "--install", "-s", bin_dir], check=True)
        for name in PROGRAMS:
            self._wrap(bin_dir / Path(name).name, in_root(root, root / name))
        for name in BUILT:
            (bin_dir / Path(name).name).symlink_to(self.softdcd.parent / name)
        self.environment = {
            **os.environ, "PATH": f"{bin_dir}:{os.environ['PATH']}", "LC_ALL": "C",
            "XDG_RUNTIME_DIR": str(self.directory / "run"),
            "XDG_STATE_HOME": str(self.directory / "state"),
            "SOFTDCD_KEEPER": str(bin_dir / "softdcd-keeper"), "WORK": str(work),
            "KERNEL": str(self.rig / "kernel" / kernel / "vmlinuz"),
            "TOOLS": str(self.directory / "tools")}
        text = "\n".join((HERE / name).read_text() for name in ("functions", "host-functions"))
        (self.directory / "script").write_text(f"{text}\n{script}")

    @staticmethod
    def _wrap(path, command):
        path.unlink(missing_ok=True)
        path.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        path.chmod(0o755)

    def run(self):
        """What went wrong, or ''."""
        path = self.directory / "output"
        with open(path, "wb") as out, open(path, errors="replace") as log:
            process = subprocess.Popen(
                [self.directory / "bin/sh", "-eu", self.directory / "script"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                env=self.environment, start_new_session=True)
            try:
                code = self._wait(process, log)
            finally:
                self._end(process)
        found = report.sections_of_output(self.output)
        return report.brief(f"exit code {code}", found) if code else ""

    def _wait(self, process, log):
        """The exit code, or words; all that is printed meanwhile is taken from the log."""
        end, rest = time.monotonic() + RUN_S, ""
        while True:
            code = process.poll()
            *lines, rest = (rest + log.read()).split("\n")
            for line in lines:
                self.output.append(line)
            if code is not None or time.monotonic() > end:
                self.output += [rest] * bool(rest)
                return "none in time" if code is None else code
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_S)

    def _end(self, process):
        """Whatever the script has left, its pool's keeper too."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        Pool(self.directory, self.softdcd, self.environment["SOFTDCD_KEEPER"]).end()
