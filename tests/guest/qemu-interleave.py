# SPDX-License-Identifier: BSD-3-Clause
"""Outside of qemu-interleave: the pool sees the same decoder on each device of a region."""

from machine import Bridge, Failure, Machine, Window

MIB = 1 << 20
SIZES = ("--ram", "256M", "--pmem", "256M", "--lsa", "128K")
DEVICES = {f"dev{n}": SIZES for n in range(4)}
MACHINE = Machine(bridges=(Bridge(("dev0", "dev1")), Bridge(("dev2", "dev3"))),
                  windows=(Window(), Window(bridges=(0, 1))))


def check_decoders(pool, committed):
    kind, *numbers = committed.split()
    ways, granularity, hpa, length = map(int, numbers)
    want = {"index": 0, "hpa": hpa, "len": length, "dpa": 256 * MIB if kind == "pmem" else 0,
            "ways": ways, "granularity": granularity}
    seen = {name: pool.device(name)["decoders"] for name in DEVICES}
    used = [decoders for decoders in seen.values() if decoders]
    if used != [[want]] * ways:
        raise Failure(f"the pool sees the decoders {seen}, not {want} on {ways} devices")


def outside(guest, pool):
    guest.hear("types")
    # Regions of volatile memory came with Linux 6.3.
    types = ("ram", "pmem") if guest.kernel.name == "new" else ("pmem",)
    guest.tell(" ".join(types))
    for _ in range(7 * len(types)):
        check_decoders(pool, guest.hear("committed"))
        guest.tell("checked")
        guest.hear("destroyed")
        if seen := [d for name in DEVICES for d in pool.device(name)["decoders"]]:
            raise Failure(f"the pool still sees the decoders {seen}")
        guest.tell("checked")
