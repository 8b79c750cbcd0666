# SPDX-License-Identifier: BSD-3-Clause
"""Outside of qemu-daemon-death: kill -9 of the daemon under a guest that has accepted extents."""

import contextlib

from machine import Bridge, Failure, Machine
from witness import HAMMER, WAIT, Neighbour, books, next_vm_is_sane, same_books, same_extents

KERNELS = ("new",)
DEVICES = {"dev0": ("--ram", "512M", "--dc", "1G"), "dev1": ("--dc", "1G")}
MACHINE = Machine(bridges=(Bridge(("dev0",)),), reboots=True)
MODULES = ()  # no driver but hammer
FILES = HAMMER
TAG = "5be1f00d-2a6b-4f43-9c1e-0d5f3ac0ffee"


def reset(guest):
    """It does not bring the device back.  QEMU 11.1 even ends itself, for what it says to the dead
    daemon then; in one that does not the guest finds nothing there."""
    with contextlib.suppress(Failure):  # it may end before it answers
        guest.qemu("system_reset")
    try:
        guest.hear("booted")
    except Failure:
        if guest.process.poll() is None:
            raise
        return
    guest.hear("no-device")
    guest.tell("end")
    guest.finish()


def outside(guest, pool):
    pool.softdcd("backend", "add", "kept", "--size", "64M", "--tag", TAG)
    guest.hear("accepting")
    pool.softdcd("offer", "dev0", "--tag", TAG, "--extent", "0:32M", "--extent", "64M:32M", *WAIT)
    same_extents(pool, "dev0", guest.hear("accepted"))
    before = books(pool, "dev0")
    with Neighbour(pool, "dev1") as neighbour:
        with neighbour.resting:
            pool.kill()
            guest.tell("dead")
            guest.hear("lost")
            pool.start()
        guest.tell("back")
        guest.hear("still-lost")
        same_books(before, books(pool, "dev0"), "after the daemon's death")
        if (link := pool.query("query-devices", id="dev0")[0]["link"]) != "awaited":
            raise Failure(f"the link of dev0 is {link}, not awaited: its host lives")
        reset(guest)
        guest.kill()
        next_vm_is_sane(guest, pool)
        same_books(before, books(pool, "dev0"), "with the next VM")
        neighbour.check()
