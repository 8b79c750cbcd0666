# SPDX-License-Identifier: BSD-3-Clause
"""The other end of show_interleaved (lib/functions): a region's decoders as the pool sees them."""

from machine import Failure

MIB = 1 << 20
# As large as what show_interleaved takes of each device
SIZES = ("--ram", "256M", "--pmem", "256M", "--lsa", "128K")


def types(guest):
    """Tell the guest which types of regions its kernel can make; returns them."""
    guest.hear("types")
    # Regions of volatile memory came with Linux 6.3.
    names = ("ram", "pmem") if guest.kernel.name == "new" else ("pmem",)
    guest.tell(" ".join(names))
    return names


def check_regions(guest, pool, devices, number):
    """So many regions of the guest, one after the other, are on as many devices as they should be,
    and then on none."""
    for _ in range(number):
        kind, *numbers = guest.hear("committed").split()
        ways, granularity, hpa, length = map(int, numbers)
        want = {"index": 0, "hpa": hpa, "len": length, "dpa": 256 * MIB if kind == "pmem" else 0,
                "ways": ways, "granularity": granularity}
        seen = {name: pool.device(name)["decoders"] for name in devices}
        used = [decoders for decoders in seen.values() if decoders]
        if used != [[want]] * ways:
            raise Failure(f"the pool sees the decoders {seen}, not {want} on {ways} devices")
        guest.tell("checked")
        guest.hear("destroyed")
        if seen := [decoder for name in devices for decoder in pool.device(name)["decoders"]]:
            raise Failure(f"the pool still sees the decoders {seen}")
        guest.tell("checked")
