# SPDX-License-Identifier: BSD-3-Clause
"""Outside of qemu-interleave: the pool sees the same decoder on each device of a region."""

from machine import Bridge, Machine, Window
from regions import SIZES, check_regions, types

DEVICES = {f"dev{n}": SIZES for n in range(4)}
MACHINE = Machine(bridges=(Bridge(("dev0", "dev1")), Bridge(("dev2", "dev3"))),
                  windows=(Window(), Window(bridges=(0, 1))))


def outside(guest, pool):
    check_regions(guest, pool, DEVICES, 7 * len(types(guest)))
