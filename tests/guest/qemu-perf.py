# SPDX-License-Identifier: BSD-3-Clause
"""Outside of qemu-perf: a machine whose ACPI tells speeds; iasl reads the devices' CDATs."""

import re
import subprocess

from initramfs import in_root
from machine import MODULES, Failure, Machine, Window

KERNELS = ("new",)  # Linux looks at CDAT from 6.8 on
MODULES = (*MODULES, "dax_cxl", "kmem")
SPEEDS = {"plain": (150, 150, 16000), "slow": (400, 550, 4000)}  # ns, ns, MB/s
DEVICES = {
    "plain": ("--ram", "256M", "--pmem", "256M", "--dc", "1G"),
    "slow": ("--ram", "256M", "--pmem", "256M", "--read-latency", "400", "--write-latency", "550",
             "--bandwidth", "4000"),
}


def speed(target, latency, bandwidth):
    """HMAT: from node 0 to another one, in ns and MB/s."""
    for kind, value in (("latency", latency), ("bandwidth", f"{bandwidth}M")):
        yield "-numa"
        yield (f"hmat-lb,initiator=0,target={target},hierarchy=memory,data-type=access-{kind},"
               f"{kind}={value}")


# The kernel tells the speed of a node's memory once: a window, and so a node, for each device.
MACHINE = Machine(
    windows=(Window(), Window()), properties=("hmat=on",),
    kernel_options="memhp_default_state=offline",
    options=(
        "-object", "memory-backend-ram,id=ram,size=512M", "-numa", "node,nodeid=0,memdev=ram,cpus=0",
        "-numa", "node,nodeid=1", "-object", "acpi-generic-port,id=port,pci-bus=cxl.1,node=1",
        "-global", "pxb-cxl.numa_node=0", *speed(0, 10, 32768), *speed(1, 20, 131072)))


def iasl(guest, *args):
    root = guest.rig / "root"
    out = subprocess.run([*in_root(root, root / "usr/bin/iasl"), *args], text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if out.returncode:
        raise Failure(f"iasl {args}: {out.stdout}")


def check_cdat(guest, table, name):
    """iasl makes the same bytes from what it makes of them, and that has the device's speeds."""
    path = guest.directory / "cdat"
    path.write_bytes(table)
    iasl(guest, "-d", "-ds", "CDAT", path)
    iasl(guest, path.with_suffix(".dsl"))
    if path.with_suffix(".aml").read_bytes() != table:
        raise Failure(f"iasl does not make the CDAT of {name} again that it has read")
    text = path.with_suffix(".dsl").read_text()
    found = re.findall(r" Handle : (\w+)\n.*\n.* Data Type : (\w+)\n.*\n"
                       r".* Entry Base Unit : (\w+)\n.* Entry0 : (\w+)\n", text)
    seen = {}
    for fields in found:
        handle, kind, unit, value = (int(field, 16) for field in fields)
        seen.setdefault(handle, {})[kind] = unit * value
    read_ns, write_ns, mbps = SPEEDS[name]
    want = {1: read_ns * 1000, 2: write_ns * 1000, 4: mbps, 5: mbps}  # in ps, in MB/s
    ranges = {"plain": 3, "slow": 2}[name]
    if seen != {handle: want for handle in range(ranges)}:
        raise Failure(f"iasl sees {seen} in the CDAT of {name}:\n{text}")


def outside(guest, pool):
    for name in DEVICES:
        check_cdat(guest, bytes.fromhex(guest.hear("cdat")), name)
