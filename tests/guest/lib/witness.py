# SPDX-License-Identifier: BSD-3-Clause
"""What must not notice a guest's misdeeds: the pool's books, and another device's host."""

import contextlib
import json
import signal
import subprocess
import threading
import time
import zlib
from pathlib import Path

from pool import WAIT_S, Failure

MIB = 1 << 20
HAMMER = {"usr/bin/hammer": "{build}/tests/guest/guest-hammer"}  # FILES of a test that hammers
TESTS = Path(__file__).resolve().parent.parent
WAIT = ("--wait", "--timeout", "120s")  # of offer and release


def books(pool, device=None):
    """What the pool owes and is owed: extents, and what of its backends is used."""
    arguments = {"device": device} if device else {}
    extents = pool.query("query-extents", **arguments)
    generation = {d["id"]: d["generation"] for d in pool.query("query-devices")
                  if device in (None, d["id"])}
    backends = {b["id"]: (b["state"], b["committed"], b["incarnation"])
                for b in pool.query("query-backends") if b["tag"]}
    return {"extents": extents, "generation": generation, "backends": backends}


def same_books(before, after, when):
    for part, was in before.items():
        if after[part] != was:
            raise Failure(f"{part} {when}: {after[part]}, not {was}")


def same_extents(pool, device, told):
    """The extent list that the guest's device has (`hammer list`) is the pool's."""
    want = [f"extent {e['dpa']:#x} {e['len']:#x} {(e['tag'] or '0' * 32).replace('-', '')} {e['seq']}"
            for e in pool.query("query-extents", device=device) if e["state"] == "accepted"]
    seen = [line for line in told.split(";") if line.startswith("extent ")]
    if seen != want:
        raise Failure(f"the guest reads the extents {seen}, and the pool has {want}")


def write_initramfs(guest, pool, script, **more):
    """For a guest that runs this script, by its path here, with hammer at hand."""
    build = Path(pool.softdcd_path).parent
    files = {path: source.format(build=build) for path, source in HAMMER.items()}
    guest.write_initramfs((TESTS / script).read_text(), files=files, **more)


def next_vm_is_sane(guest, pool, device="dev0"):
    """The guest's next VM, with the stock drivers, finds the device as any other, and the extents
    that the pool has."""
    write_initramfs(guest, pool, "lib/sane.sh")
    guest.start()
    guest.hear("booted")
    same_extents(pool, device, guest.hear("sane"))


def tease(pool, device):
    """An offer that is taken back at once, unless the host was quicker and declined it."""
    offer = pool.softdcd("offer", device, "--size", "2M")["offer"]
    with contextlib.suppress(Failure):
        pool.softdcd("withdraw", device, "--offer", str(offer))
    if left := pool.query("query-offers", device=device):
        raise Failure(f"offers that were taken back: {left}")


class Neighbour:
    """A process host on another device of the pool.  It keeps one extent and checks its memory, and
    accepts and gives back others all the time."""

    def __init__(self, pool, device, each_round=None):
        self.pool, self.device = pool, device
        self.each_round = each_round or (lambda: None)  # what else to do, by the same thread
        self.rounds = 0
        self.slowest = 0.0
        self.trouble = None
        self.stopping = threading.Event()
        self.resting = threading.Lock()  # held while a round is under way; take it for some peace
        self.process = self.thread = None

    def __enter__(self):
        self.process = subprocess.Popen(
            [self.pool.softdcd_path, "host", "--device", self.device, "--check", "1"],
            env=self.pool.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self._event("attached")
        self.pool.softdcd("offer", self.device, "--size", "32M", *WAIT)
        maps = self._event("accepted")["maps"]
        self.kept = [(m["path"], m["offset"], m["len"]) for m in maps]
        self.extents = [(e["dpa"], e["len"]) for e in self.pool.query("query-extents",
                                                            device=self.device)]
        self.sum = self._checksum()
        self.thread = threading.Thread(target=self._work)
        self.thread.start()
        return self

    def __exit__(self, kind, _value, _traceback):
        self.stopping.set()
        self.thread.join()
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.communicate(timeout=WAIT_S)
        self.process.kill()
        if kind:
            return
        if self.trouble:
            raise self.trouble
        if self.process.returncode != 0:
            raise Failure(f"the host of {self.device} ended with {self.process.returncode}")

    def check(self):
        """Whether all was well so far, and goes on: two more rounds, and the memory it keeps."""
        end, deadline = self.rounds + 2, time.monotonic() + WAIT_S
        while not self.trouble and self.rounds < end:
            if time.monotonic() > deadline:
                raise Failure(f"{self.device} hangs after {self.rounds} rounds")
            time.sleep(0.01)
        if self.trouble:
            raise self.trouble
        if self._checksum() != self.sum:
            raise Failure(f"memory accepted by the host of {self.device} has changed")

    def _event(self, word):
        for line in self.process.stdout:
            event = json.loads(line)
            if event["event"] == word:
                return event
            if event["event"] in ("lost", "mismatch", "left"):
                raise Failure(f"the host of {self.device} says {line}")
        raise Failure(f"the host of {self.device} ended")

    def _checksum(self):
        value = 0
        for path, offset, length in self.kept:
            with open(path, "rb") as file:
                file.seek(offset)
                for _ in range(length // MIB):
                    value = zlib.crc32(file.read(MIB), value)
        return value

    def _work(self):
        try:
            while not self.stopping.wait(0.02):  # not at once, or nobody else gets the lock
                with self.resting:
                    self._round()
                    self.each_round()
        except Exception as failure:  # to be raised by the thread that waits for us
            self.trouble = failure

    def _round(self):
        started = time.monotonic()
        self.pool.softdcd("offer", self.device, "--size", "4M", *WAIT)
        self._event("accepted")
        new = [e for e in self.pool.query("query-extents", device=self.device)
               if (e["dpa"], e["len"]) not in self.extents]
        if [(e["len"], e["state"]) for e in new] != [(4 * MIB, "accepted")]:
            raise Failure(f"{self.device} has {new} besides what it had")
        self.pool.softdcd("release", self.device, "--extent", f"{new[0]['dpa']:#x}:4M", *WAIT)
        self._event("released")
        self.rounds += 1
        self.slowest = max(self.slowest, time.monotonic() - started)
