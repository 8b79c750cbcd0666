# SPDX-License-Identifier: BSD-3-Clause
"""Outside of qemu-switch: two switches below two root ports, two devices below each."""

from machine import Bridge, Machine, Switch
from regions import SIZES, check_regions, types

DEVICES = {f"dev{n}": SIZES for n in range(4)}
MACHINE = Machine(bridges=(Bridge((Switch(("dev0", "dev1")), Switch(("dev2", "dev3")))),))


def outside(guest, pool):
    check_regions(guest, pool, DEVICES, 4 * len(types(guest)))
