# SPDX-License-Identifier: BSD-3-Clause
"""Outside of qemu-rebind: decoders of a region, before, while and after its device is away."""

from machine import same


def outside(guest, pool):
    if guest.kernel.name == "old":
        return  # regions of volatile memory came with Linux 6.3
    for word, committed in ("committed", 1), ("removed", 0), ("committed", 1):
        guest.hear(word)
        same(f"number of decoders when {word}", len(pool.device()["decoders"]), committed)
        guest.tell("go on")
