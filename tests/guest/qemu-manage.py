# SPDX-License-Identifier: BSD-3-Clause
"""Outside of qemu-manage: what resets leave, and more events than the log holds."""

from machine import Failure, same

KERNELS = ("new",)  # events came with Linux 6.3
DEPTH = 64  # of the log


def warnings(pool):
    return next(log for log in pool.device()["logs"] if log["log"] == "warning")


def inject(pool, number):
    pool.softdcd("inject", "general-media", "dev0", "--log", "warning", "--dpa", str(number * 64))


def outside(guest, pool):
    # A function level reset leaves what the driver has chosen; Linux does not choose again after the
    # other one.
    for method, interrupts in ("flr", True), ("cxl_bus", False):
        same("kind of reset", guest.hear("reset"), method)
        same(f"interrupts after {method}", warnings(pool)["interrupts"], interrupts)
        guest.tell("seen")
    guest.hear("away")
    for number in range(DEPTH):
        inject(pool, number)
    for number in range(2):
        try:
            inject(pool, DEPTH)
        except Failure as refusal:
            if "log is full" not in str(refusal):
                raise
        else:
            raise Failure(f"the log of {DEPTH} records took {DEPTH + 1 + number}")
    log = warnings(pool)
    same("records in the log", (log["records"], log["lost"]), (DEPTH, 2))
    guest.tell("injected")
    guest.hear("back")
    log = warnings(pool)
    same("records in the log afterwards", (log["records"], log["lost"]), (0, 0))
    guest.tell("seen")
