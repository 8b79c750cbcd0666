# SPDX-License-Identifier: BSD-3-Clause
"""A pool and a guest in stock QEMU that has the pool's devices, both under a test's control."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

from initramfs import Initramfs, in_root, modules_in_order

HERE = Path(__file__).resolve().parent
PROGRAMS = ("busybox", "cxl", "daxctl", "lspci", "setpci")
# No driver that would touch the memory behind the window: QEMU carries no data there.
MODULES = ("cxl_acpi", "cxl_pmem", "cxl_mem", "cxl_pci")
WAIT_S = 300  # for anything a guest does; emulated on a busy machine it is slow
WINDOW = "4G"
FIRST_BUS = 12  # of the CXL host bridge; the first device is 0d:00.0


class Failure(Exception):
    """What the test found wrong, or what kept it from finding out."""


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

    def device(self, name="dev0"):
        """What the pool says of a device."""
        query = {"execute": "query-devices", "arguments": {"id": name}}
        return self.softdcd("qmp", json.dumps(query))["return"][0]


class Guest:
    """A virtual machine in QEMU, running a script."""

    def __init__(self, rig, directory, kernel, memory="512M"):
        self.rig, self.directory = Path(rig), Path(directory)
        self.kernel = self.rig / "kernel" / kernel
        self.memory = memory
        self.output = []
        self.process = None
        self.pending = b""
        self.exit_code = None

    def write_initramfs(self, script, modules=MODULES, shell=False):
        image = Initramfs(self.rig / "root")
        for name in PROGRAMS:
            image.add_program(name)
        image.add("init", (HERE / "init").read_bytes(), executable=True)
        image.add("lib/guest/functions", (HERE / "functions").read_bytes())
        image.add("lib/guest/test", b"" if shell else script.encode())
        names = []
        for path in modules_in_order(self.kernel, modules):
            names.append(f"/lib/guest/{path.name}\n")
            image.add(names[-1].strip(), path.read_bytes())
        image.add("lib/guest/modules", "".join(names).encode())
        image.write(self.directory / "initramfs")

    def command(self, sockets, shell=False):
        root = self.rig / "root"
        accel = os.environ.get("SOFTDCD_GUEST_ACCEL", "tcg,thread=single")
        cmd = [
            *in_root(root, root / "usr/bin/qemu-system-x86_64"),
            "-L", str(root / "usr/share/qemu"), "-L", str(root / "usr/share/seabios"),
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-accel", accel, "-cpu", "max,-hypervisor", "-m", self.memory,
            "-M", f"q35,cxl=on,cxl-fmw.0.targets.0=cxl.1,cxl-fmw.0.size={WINDOW}",
            "-kernel", str(self.kernel / "vmlinuz"), "-initrd", str(self.directory / "initramfs"),
            "-append", "console=ttyS0 panic=-1 " + ("guest.shell" if shell else "loglevel=8"),
            "-device", f"pxb-cxl,bus_nr={FIRST_BUS},bus=pcie.0,id=cxl.1",
        ]
        if shell:
            cmd += ["-serial", "mon:stdio"]
        else:
            cmd += ["-serial", f"file:{self.directory}/console", "-chardev", "stdio,id=line",
                    "-serial", "chardev:line"]
        for n, path in enumerate(sockets):
            device = {"driver": "vfio-user-pci", "id": f"dev{n}", "bus": f"rp{n}",
                      "socket": {"type": "unix", "path": str(path)}}
            cmd += ["-device", f"cxl-rp,bus=cxl.1,id=rp{n},port={n},chassis=0,slot={n + 2}",
                    "-device", json.dumps(device)]
        return ["nice", *cmd]

    def environment(self):
        modules = self.rig / "root/usr/lib/x86_64-linux-gnu/qemu"
        return {**os.environ, "QEMU_MODULE_DIR": str(modules)}

    def start(self, sockets):
        with open(self.directory / "qemu.log", "wb") as log:
            self.process = subprocess.Popen(
                self.command(sockets), env=self.environment(), stderr=log,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def log(self):
        """All that is known about what it did: console, QEMU, output."""
        parts = []
        for name, lines in (("console", 60), ("qemu.log", 20)):
            path = self.directory / name
            if path.exists():
                text = path.read_text(errors="replace").splitlines()[-lines:]
                parts += [f"--- {name}", *text]
        return "\n".join([*parts, "--- output", *self.output])

    def _line(self, deadline):
        """The next line from the guest, without its end."""
        while b"\n" not in self.pending:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise Failure(f"nothing from the guest for {WAIT_S} s")
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
            line = self._line(time.monotonic() + WAIT_S)
            before, mark, word = line.partition("\1")
            if before or not mark:
                self.output.append(before)
            if mark:
                if word.startswith("exit "):
                    self.exit_code = int(word.removeprefix("exit "))
                return word

    def tell(self, words):
        self.process.stdin.write(words.encode() + b"\n")
        self.process.stdin.flush()

    def finish(self):
        """Wait for the end of the script and of QEMU; the script's exit code."""
        if self.exit_code is None:
            said = self._next_word()
            if self.exit_code is None:
                raise Failure(f"the guest said '{said}' and nobody expected it")
        self.process.stdin.close()
        self.process.wait(WAIT_S)
        self.process = None
        return self.exit_code
