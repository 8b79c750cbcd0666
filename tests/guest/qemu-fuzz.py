# SPDX-License-Identifier: BSD-3-Clause
"""Outside of qemu-fuzz: pool, ledger and another device's host while a guest goes mad."""

import os
import time

from machine import Bridge, Failure, Machine
from witness import HAMMER, WAIT, Neighbour, books, next_vm_is_sane, same_books, same_extents, tease

KERNELS = ("new",)
DEVICES = {"dev0": ("--ram", "512M", "--dc", "1G", "--serial", "0x5dcd0001"),
           "dev1": ("--dc", "1G")}
MACHINE = Machine(bridges=(Bridge(("dev0",)),))
MODULES = ()  # no driver but hammer
FILES = HAMMER
TAG = "5be1f00d-2a6b-4f43-9c1e-0d5f3ac0ffee"
SEED = os.environ.get("FUZZ_SEED") or str(time.time_ns() & 0xffffffff)
SECONDS = os.environ.get("FUZZ_SECONDS") or "60"


def outside(guest, pool):
    print(f"FUZZ_SEED={SEED} FUZZ_SECONDS={SECONDS}", flush=True)
    pool.softdcd("backend", "add", "kept", "--size", "64M", "--tag", TAG)
    guest.hear("accepting")
    pool.softdcd("offer", "dev0", "--tag", TAG, *WAIT)
    same_extents(pool, "dev0", guest.hear("accepted"))
    before = books(pool, "dev0")
    with Neighbour(pool, "dev1", lambda: tease(pool, "dev0")) as neighbour:
        guest.tell(f"{SEED} {SECONDS}")
        accesses = int(guest.hear("hammered").split()[-1])
        if accesses < 500 * int(SECONDS):
            raise Failure(f"only {accesses} accesses in {SECONDS} s")
        neighbour.check()
        with neighbour.resting:
            neighbour.each_round = lambda: None
        same_books(before, books(pool, "dev0"), "after hammering")
        guest.tell("reset")
        same_extents(pool, "dev0", guest.hear("reset"))
        guest.tell("end")
        guest.finish()
        device = pool.device()
        print(f"{accesses} accesses, {device['messages']} messages, {device['commands']} commands; "
              f"meanwhile {neighbour.rounds} rounds of the other device, the slowest "
              f"{neighbour.slowest:.2f} s", flush=True)
        restart(pool, neighbour)
        same_books(before, books(pool, "dev0"), "after a restart of the daemon")
        next_vm_is_sane(guest, pool)
        neighbour.check()


def restart(pool, neighbour):
    """As after a crash; the other device's host goes on."""
    with neighbour.resting:
        pool.kill()
        pool.start()
    if pool.query("query-pool")["ledger"]["state"] != "ok":
        raise Failure("the ledger is not whole")
