# SPDX-License-Identifier: BSD-3-Clause
"""Outside of qemu-kill: QEMU is killed at random points of its life, 50 times, and the pool lives on.

A point is a number of vfio-user messages: so many and the place in a guest's life is the same on
every machine, fast or slow."""

import os
import random
import signal
import subprocess
import time

from machine import WAIT_S, Bridge, Failure, Guest, Machine
from qemu import Monitor
from witness import (HAMMER, MIB, WAIT, Neighbour, books, next_vm_is_sane, same_books,
                     write_initramfs)

KERNELS = ("new",)
DEVICES = {"dev0": ("--ram", "512M", "--dc", "1G"), "dev1": ("--dc", "1G")}
MACHINE = Machine(bridges=(Bridge(("dev0",)),))
FILES = HAMMER
TAG = "5be1f00d-2a6b-4f43-9c1e-0d5f3ac0ffee"
SEED = os.environ.get("KILL_SEED") or str(time.time_ns() & 0xffffffff)
# How often, and between which numbers of messages since QEMU's start.
STOCK_POINTS = ((20, 0, 60),  # QEMU and its firmware find the device
                (9, 60, 700),  # the kernel finds it
                (9, 700, 1800))  # its drivers bind, regions come and go
DC_POINTS = ((11, 900, 4000),)  # extents are accepted and given back


class Killer:
    def __init__(self, pool):
        self.pool = pool
        self.monitor = Monitor(pool.runtime / "qmp.sock")
        self.random = random.Random(int(SEED))
        self.kills = 0

    def messages(self):
        return self.monitor.execute("query-devices", id="dev0")[0]["messages"]

    def kill(self, guest, low, high, meanwhile):
        """Start a guest and kill its QEMU somewhere between so many messages."""
        end = self.messages() + self.random.randint(low, high)
        deadline = time.monotonic() + WAIT_S
        guest.start({"dev0": self.pool.runtime / "dev0.vfio"})
        while self.messages() < end:
            if guest.process.poll() is not None or time.monotonic() > deadline:
                raise Failure(f"QEMU ended or hangs before {low}-{high} messages")
            meanwhile()
            time.sleep(self.random.random() / 100)
        guest.kill()
        self.kills += 1


def keep_extents(pool):
    """A host accepts the tagged backend on dev0 and leaves it accepted."""
    pool.softdcd("backend", "add", "kept", "--size", "64M", "--tag", TAG)
    host = subprocess.Popen([pool.softdcd_path, "host", "--device", "dev0", "--keep"], env=pool.env,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    host.stdout.readline()
    pool.softdcd("offer", "dev0", "--tag", TAG, "--extent", "0:32M", "--extent", "64M:32M", *WAIT)
    host.send_signal(signal.SIGTERM)
    host.communicate(timeout=WAIT_S)
    return books(pool, "dev0")


def check_counters(pool):
    """Each byte is counted once."""
    for holder in (*pool.query("query-devices"), *pool.query("query-backends")):
        counted = dict(holder["bytes"])
        if counted.pop("total") != sum(counted.values()):
            raise Failure(f"{holder['id']} has {holder['bytes']}")


def same_kept(pool, before):
    """What was accepted before is, and whatever else is, is whole."""
    now = pool.query("query-extents", device="dev0")
    others = [extent for extent in now if extent not in before["extents"]]
    if len(others) + len(before["extents"]) != len(now):
        raise Failure(f"of the extents {before['extents']} these are left: {now}")
    for extent in others:
        if extent["tag"] or extent["len"] != 2 * MIB:
            raise Failure(f"an extent nobody offered: {extent}")
    check_counters(pool)


def kill_stock(killer, guest, before):
    """Guests with the stock drivers, which leave an offer pending."""
    pool = killer.pool
    offer = pool.softdcd("offer", "dev0", "--size", "2M")["offer"]
    for n, low, high in STOCK_POINTS:
        for _ in range(n):
            killer.kill(guest, low, high, lambda: None)
            same_kept(pool, before)
    pool.softdcd("withdraw", "dev0", "--offer", str(offer))
    same_books(before, books(pool, "dev0"), "after the kills of stock guests")


def kill_accepting(killer, guest, before):
    """Guests in the middle of 4802h and 4803h."""
    pool = killer.pool
    directory = guest.directory / "accepting"
    directory.mkdir()
    accepting = Guest(guest.rig, directory, guest.kernel.name, guest.machine)
    write_initramfs(accepting, pool, "qemu-kill.sh", modules=())

    def offer():
        if not killer.monitor.execute("query-offers", device="dev0"):
            killer.pool.softdcd("offer", "dev0", "--size", "2M")

    try:
        for n, low, high in DC_POINTS:
            for _ in range(n):
                killer.kill(accepting, low, high, offer)
                same_kept(pool, before)
    finally:
        accepting.kill()


def outside(guest, pool):
    print(f"KILL_SEED={SEED}", flush=True)
    guest.kill()
    before = keep_extents(pool)
    killer = Killer(pool)
    with Neighbour(pool, "dev1") as neighbour:
        kill_stock(killer, guest, before)
        neighbour.check()
        kill_accepting(killer, guest, before)
        neighbour.check()
        print(f"killed {killer.kills + 1} times; meanwhile {neighbour.rounds} rounds of the other "
              f"device, the slowest {neighbour.slowest:.2f} s", flush=True)
        for offer in pool.query("query-offers", device="dev0"):
            pool.softdcd("withdraw", "dev0", "--offer", str(offer["id"]))
        last = books(pool, "dev0")
        with neighbour.resting:
            pool.kill()
            pool.start()
        now = books(pool, "dev0")
        # An acceptance that was undone when its host was killed has a number in the ledger.
        if now["generation"]["dev0"] < last["generation"].pop("dev0"):
            raise Failure(f"the generation number went back to {now['generation']}")
        now["generation"] = {}
        same_books(last, now, "after a restart of the daemon")
        next_vm_is_sane(guest, pool)
        neighbour.check()
