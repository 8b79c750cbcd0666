# SPDX-License-Identifier: BSD-3-Clause
"""Outside of qemu-no-dcd: offers wait, and the pool says for what; nothing is asked meanwhile."""

import subprocess

from machine import Failure, same

DEVICES = {
    "waiting": ("--ram", "256M", "--dc", "1G"),
    "eager": ("--ram", "256M", "--dc", "1G", "--hold", "off"),
}
WAITS_FOR = "the host to enable dynamic capacity events"


def log(pool, device, name):
    return next(log for log in pool.device(device)["logs"] if log["log"] == name)


def check_offers(pool):
    """The first device's has not been told, the second's cannot be heard."""
    offers = {offer["device"]: offer for offer in pool.softdcd("list", "-O")["offers"]}
    for device, state, records in ("waiting", "queued", 0), ("eager", "offered", 1):
        same(f"state of the offer to {device}", offers[device]["state"], state)
        dc = log(pool, device, "dc")
        same(f"records in the log of {device}", dc["records"], records)
        same(f"interrupts for the log of {device}", dc["interrupts"], False)
    same("what the offer waits for", offers["waiting"]["waits-for"], WAITS_FOR)
    table = subprocess.run([pool.softdcd_path, "list", "-O", "--human"], env=pool.env, text=True,
                           capture_output=True, check=True).stdout
    if WAITS_FOR not in table:
        raise Failure(f"softdcd list -O does not tell what an offer waits for:\n{table}")


def commands(pool):
    return {device: pool.device(device)["commands"] for device in DEVICES}


def outside(guest, pool):
    guest.hear("ready")
    for device in DEVICES:
        pool.softdcd("offer", device, "--size", "256M")
    guest.tell("offered")
    guest.hear("idling")
    before = commands(pool)
    guest.hear("idled")
    same("number of commands since the offers", commands(pool), before)
    check_offers(pool)
    # Linux: events came with 6.3.
    events = guest.kernel.name != "old"
    guest.tell("inject" if events else "done")
    if events:
        guest.hear("ready")
        for device in DEVICES:
            pool.softdcd("inject", "general-media", device, "--log", "warning", "--dpa", "0")
        guest.tell("injected")
        guest.hear("idled")
        for device in DEVICES:
            same(f"records in the warning log of {device}", log(pool, device, "warning")["records"],
                 0)
        check_offers(pool)
