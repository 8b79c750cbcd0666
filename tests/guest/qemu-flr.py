# SPDX-License-Identifier: BSD-3-Clause
"""Outside of qemu-flr: the pool's decoders before and after the resets."""

from machine import Failure

KERNELS = ("new",)  # regions of volatile memory came with Linux 6.3


def outside(guest, pool):
    guest.hear("committed")
    before = pool.device()["decoders"]
    if len(before) != 1:
        raise Failure(f"the pool sees the decoders {before}, not one")
    guest.tell("reset")
    guest.hear("reset")
    if (after := pool.device()["decoders"]) != before:
        raise Failure(f"the decoders were {before} before the resets, and are {after}")
    guest.tell("checked")
