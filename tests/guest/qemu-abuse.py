# SPDX-License-Identifier: BSD-3-Clause
"""Outside of qemu-abuse: what of a guest's nonsense reaches the pool's books, namely nothing."""

import os
import time

from machine import Bridge, Failure, Machine
from witness import HAMMER, WAIT, Neighbour, books, same_books, same_extents, tease

KERNELS = ("new",)
DEVICES = {"dev0": ("--ram", "512M", "--lsa", "128K", "--dc", "1G", "--dc", "1G,block=4K"),
           "dev1": ("--dc", "1G")}
MACHINE = Machine(bridges=(Bridge(("dev0",)),))
MODULES = ()  # no driver but hammer
FILES = HAMMER
TAG = "5be1f00d-2a6b-4f43-9c1e-0d5f3ac0ffee"
SEED = os.environ.get("ABUSE_SEED") or str(time.time_ns() & 0xffffffff)
ROUNDS = os.environ.get("ABUSE_ROUNDS") or "4000"
OFFERS = 12  # to be accepted and given back while disturbed


def outside(guest, pool):
    print(f"ABUSE_SEED={SEED} ABUSE_ROUNDS={ROUNDS}", flush=True)
    pool.softdcd("backend", "add", "kept", "--size", "64M", "--tag", TAG)
    guest.hear("seed")
    guest.tell(SEED)
    guest.hear("accepting")
    pool.softdcd("offer", "dev0", "--tag", TAG, "--extent", "0:32M", "--extent", "64M:32M", *WAIT)
    same_extents(pool, "dev0", guest.hear("accepted"))
    before = books(pool, "dev0")
    with Neighbour(pool, "dev1", lambda: tease(pool, "dev0")) as neighbour:
        guest.tell(ROUNDS)
        same_extents(pool, "dev0", guest.hear("abused"))
        neighbour.check()
        with neighbour.resting:
            neighbour.each_round = lambda: None
        same_books(before, books(pool, "dev0"), "after bad commands")

        guest.tell(str(OFFERS))
        for number in range(OFFERS):
            pool.softdcd("offer", "dev0", "--region", "1", "--size", f"{4 * (number + 1)}K", *WAIT)
        same_extents(pool, "dev0", guest.hear("disturbed"))
        neighbour.check()
        if books(pool, "dev0")["extents"] != before["extents"]:
            raise Failure("what was given back while disturbed is not free")
        guest.tell("release")
        same_extents(pool, "dev0", guest.hear("released"))
        if left := pool.query("query-extents", device="dev0"):
            raise Failure(f"given back, and still there: {left}")
        guest.tell("end")
