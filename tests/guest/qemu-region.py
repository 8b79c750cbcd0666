# SPDX-License-Identifier: BSD-3-Clause
"""Outside of qemu-region: the pool sees the decoder that the guest's kernel has programmed."""

from machine import Failure

KERNELS = ("new",)  # regions of volatile memory came with Linux 6.3


def outside(guest, pool):
    hpa = int(guest.hear("committed"))
    want = {"index": 0, "hpa": hpa, "len": 256 << 20, "dpa": 0, "ways": 1}
    seen = pool.device()["decoders"]
    if len(seen) != 1 or want.items() - seen[0].items():
        raise Failure(f"the pool sees the decoders {seen}, not {want}")
    guest.tell("seen")
    guest.hear("destroyed")
    if seen := pool.device()["decoders"]:
        raise Failure(f"the pool still sees the decoders {seen}")
    guest.tell("seen")
