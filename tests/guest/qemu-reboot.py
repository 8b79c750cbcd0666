# SPDX-License-Identifier: BSD-3-Clause
"""Outside of qemu-reboot: three boots of one QEMU, which is one host to the pool."""

from machine import Failure, Machine

KERNELS = ("new",)
DEVICES = {"dev0": ("--ram", "256M", "--lsa", "128K")}
MACHINE = Machine(reboots=True)


def same(what, have, want):
    if have != want:
        raise Failure(f"{what} is {have!r}, not {want!r}")


def outside(guest, pool):
    host = pool.device()["host"]
    for boot in range(1, 4):
        same(f"the host in boot {boot}", pool.device()["host"], host)
        same(f"its decoders before boot {boot} made any", pool.device()["decoders"], [])
        guest.hear("boot")
        guest.tell(str(boot))
        guest.hear("committed")
        same(f"number of decoders in boot {boot}", len(pool.device()["decoders"]), 1)
        guest.tell("seen")
        if boot < 3:
            guest.hear("booted")
