# SPDX-License-Identifier: BSD-3-Clause
"""QEMU as a test wants it: CXL host bridges, windows, which device sits where, its monitor."""

import json
import os
import socket
from itertools import count
from typing import NamedTuple

from initramfs import in_root
from pool import WAIT_S, Failure

FIRST_BUS = 12  # of the first host bridge: its first device is 0d:00.0
BUSES = 16  # from one host bridge to the next: the second one's first device is 1d:00.0
# No timer check: on a busy host it fails, and a kernel that knew of a hypervisor would not do it.
KERNEL_OPTIONS = "console=ttyS0 panic=-1 no_timer_check"


def program(root):
    """The rig's QEMU, with where it finds its firmware."""
    return [*in_root(root, root / "usr/bin/qemu-system-x86_64"),
            "-L", str(root / "usr/share/qemu"), "-L", str(root / "usr/share/seabios")]


class Switch(NamedTuple):
    """A CXL switch with one downstream port for each device."""

    devices: tuple  # names of pool devices


class Bridge(NamedTuple):
    """A CXL host bridge (pxb-cxl) with one root port for each device, and further, empty ones.

    Root ports are named rp0, rp1, ... in this order over all bridges, and can be hot-plugged."""

    # Names of pool devices below it, or Switch(...)es; None: devices that no other bridge has
    devices: tuple = None
    empty_ports: int = 0

    def names(self):
        for below in self.devices or ():
            yield from below.devices if isinstance(below, Switch) else [below]


class Window(NamedTuple):
    """A CXL fixed memory window, interleaved over these bridges if it names several."""

    size: str = "4G"
    bridges: tuple = (0,)  # by number
    granularity: int = 256


class Machine(NamedTuple):
    """What a test may choose about its virtual machine, as MACHINE = Machine(...)."""

    bridges: tuple = (Bridge(),)
    windows: tuple = (Window(),)
    cpus: int = 1
    memory: str = "512M"
    cpu: str = "max,-hypervisor"  # Linux refuses to commit regions if it sees a hypervisor
    kernel_options: str = ""  # added to the kernel's command line
    properties: tuple = ()  # further ones of -M
    options: tuple = ()  # further ones of QEMU; bridges are cxl.1, cxl.2, ...
    reboots: bool = False  # else QEMU ends when the guest reboots or panics

    def bridge_options(self, sockets):
        """-device for each bridge, its ports and devices; sockets: path by name of the device."""
        named = {name for bridge in self.bridges for name in bridge.names()}
        ports, slots = count(), count(2)  # no two slots alike: they are named after their numbers
        for number, bridge in enumerate(self.bridges):
            bus = f"cxl.{number + 1}"
            yield f"pxb-cxl,bus_nr={FIRST_BUS + BUSES * number},bus=pcie.0,id={bus}"
            devices = bridge.devices
            if devices is None:
                devices = [name for name in sockets if name not in named]
                named.update(devices)
            for port, below in enumerate([*devices, *[None] * bridge.empty_ports]):
                root_port = f"rp{next(ports)}"
                yield (f"cxl-rp,bus={bus},id={root_port},port={port},chassis=0,"
                       f"slot={next(slots)}")
                if isinstance(below, Switch):
                    yield from switch_options(below, root_port, sockets, slots)
                elif below:
                    yield json.dumps(vfio_user(below, root_port, sockets[below]))

    def window_properties(self):
        for number, window in enumerate(self.windows):
            prefix = f"cxl-fmw.{number}"
            for way, bridge in enumerate(window.bridges):
                yield f"{prefix}.targets.{way}=cxl.{bridge + 1}"
            yield f"{prefix}.size={window.size}"
            yield f"{prefix}.interleave-granularity={window.granularity}"

    def command(self, root, kernel, initramfs, sockets, kernel_options):
        """The command that runs the rig's QEMU, but for consoles."""
        accel = os.environ.get("SOFTDCD_GUEST_ACCEL", "tcg,thread=single")
        properties = ["q35", "cxl=on", *self.properties, *self.window_properties()]
        cmd = [
            "nice", *program(root), "-nodefaults", "-no-user-config", "-display", "none",
            "-accel", accel, "-cpu", self.cpu, "-smp", str(self.cpus), "-m", self.memory,
            "-M", ",".join(properties), "-kernel", str(kernel), "-initrd", str(initramfs),
            "-append", " ".join([KERNEL_OPTIONS, kernel_options, self.kernel_options]),
            *self.options,
        ]
        if not self.reboots:
            cmd.append("-no-reboot")
        for device in self.bridge_options(sockets):
            cmd += ["-device", device]
        return cmd


def switch_options(switch, root_port, sockets, slots):
    """-device for a switch below a root port, its downstream ports and their devices."""
    yield f"cxl-upstream,bus={root_port},id={root_port}.up"
    for port, name in enumerate(switch.devices):
        downstream = f"{root_port}.down{port}"
        yield (f"cxl-downstream,bus={root_port}.up,id={downstream},port={port},chassis=0,"
               f"slot={next(slots)}")
        yield json.dumps(vfio_user(name, downstream, sockets[name]))


def vfio_user(name, bus, path):
    """What -device and device_add want for a device of a pool."""
    return {"driver": "vfio-user-pci", "id": name, "bus": bus,
            "socket": {"type": "unix", "path": str(path)}}


class Monitor:
    """QEMU's own QMP socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(WAIT_S)
        self.socket.connect(str(path))
        self.lines = self.socket.makefile("r")
        self.lines.readline()  # its greeting
        self.execute("qmp_capabilities")

    def execute(self, command, **arguments):
        """Run a command; returns what it returns."""
        request = {"execute": command, "arguments": arguments}
        try:
            self.socket.sendall(json.dumps(request).encode() + b"\n")
            for line in self.lines:
                reply = json.loads(line)
                if "error" in reply:
                    raise Failure(f"{command}: QEMU says {reply['error']['desc']}")
                if "return" in reply:  # else it is an event
                    return reply["return"]
        except ConnectionError:
            pass  # as at the end of what it says
        raise Failure(f"{command}: QEMU hung up")
