# SPDX-License-Identifier: BSD-3-Clause
"""Outside of qemu-hotplug: device_add.  Never device_del: QEMU itself aborts then."""

from machine import Bridge, Failure, Machine, vfio_user

KERNELS = ("new",)
DEVICES = {"dev0": ("--ram", "256M"),
           "dev1": ("--ram", "256M", "--serial", "0x5dcd0002")}
MACHINE = Machine(bridges=(Bridge(devices=("dev0",), empty_ports=1),))


def outside(guest, pool):
    guest.hear("ready")
    guest.qemu("device_add", **vfio_user("dev1", "rp1", pool.runtime / "dev1.vfio"))
    guest.tell("added")
    guest.hear("there")
    pool.softdcd("inject", "general-media", "dev1", "--log", "warning", "--dpa", "0")
    guest.tell("injected")
    guest.hear("committed")
    decoders = [pool.device(name)["decoders"] for name in DEVICES]
    if decoders[0] != decoders[1] or decoders[0][0]["ways"] != 2:
        raise Failure(f"the devices' decoders are {decoders}")
    guest.tell("seen")
