# SPDX-License-Identifier: BSD-3-Clause
"""`softdcd serve` under a test's control."""

import contextlib
import json
import os
import signal
import socket
import subprocess
from pathlib import Path

WAIT_S = 300  # for anything a guest or a daemon does; emulated on a busy machine it is slow


class Failure(Exception):
    """What the test found wrong, or what kept it from finding out."""


def same(what, have, want):
    if have != want:
        raise Failure(f"{what} is {have!r}, not {want!r}")


class Pool:
    """`softdcd serve` in a directory of its own."""

    def __init__(self, directory, softdcd, keeper, options=()):
        self.log = Path(directory) / "serve.log"
        self.softdcd_path = softdcd
        self.env = {**os.environ, "XDG_RUNTIME_DIR": f"{directory}/run", "SOFTDCD_KEEPER": keeper,
                    "XDG_STATE_HOME": f"{directory}/state", "NOTIFY_SOCKET": f"{directory}/notify"}
        for name in ("RUNTIME_DIRECTORY", "STATE_DIRECTORY"):
            self.env.pop(name, None)
        self.runtime = Path(directory) / "run/softdcd/default"
        self.state = Path(directory) / "state"
        os.makedirs(f"{directory}/run", mode=0o700, exist_ok=True)
        os.makedirs(self.state, mode=0o700, exist_ok=True)
        self.process = None
        self.options = tuple(options)

    def start(self):
        path = self.env["NOTIFY_SOCKET"]
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, open(self.log, "ab") as log:
            notify.bind(path)
            notify.settimeout(WAIT_S)
            state = ("--state", self.state)
            self.process = subprocess.Popen(
                [self.softdcd_path, "serve", *state, *self.options], env=self.env, stderr=log,
                stdin=subprocess.DEVNULL, stdout=log)
            while b"READY=1" not in notify.recv(4096):
                pass

    def kill(self):
        """As if it had crashed."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            code = self.process.wait(WAIT_S)
            self.process = None
            if code != 0:
                raise Failure(f"softdcd serve ended with {code}: {self.log.read_text()}")

    def end(self):
        """Leave nothing behind, whatever became of the daemon: its keeper outlives a crash."""
        if self.process:
            self.kill()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as keeper:
            try:
                keeper.connect(str(self.runtime / "keeper.sock"))
            except OSError:
                return
            peer = keeper.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            pid = int.from_bytes(peer[:4], "little")
        if str(self.runtime) in Path(f"/proc/{pid}/cmdline").read_text():
            os.kill(pid, signal.SIGKILL)

    def softdcd(self, *args):
        """Run a client verb; returns what it prints, from JSON."""
        out = subprocess.run([self.softdcd_path, *args], env=self.env, text=True,
                             capture_output=True, check=False)
        if out.returncode != 0:
            raise Failure(f"softdcd {' '.join(args)}: exit code {out.returncode}: {out.stderr}")
        return json.loads(out.stdout) if out.stdout.strip() else None

    def query(self, command, **arguments):
        """What a QMP query returns."""
        request = {"execute": command, "arguments": arguments}
        return self.softdcd("qmp", json.dumps(request))["return"]

    def device(self, name="dev0"):
        """What the pool says of a device."""
        return self.query("query-devices", id=name)[0]

    def extents(self, state=None, **arguments):
        """(dpa, len, tag, seq) of extents, of those in this state if it is named; by address."""
        rows = self.query("query-extents", **arguments)
        return sorted((row["dpa"], row["len"], row["tag"], row["seq"]) for row in rows
                      if state in (None, row["state"]))
