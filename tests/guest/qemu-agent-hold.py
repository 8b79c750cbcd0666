# SPDX-License-Identifier: BSD-3-Clause
"""An offer waits until the host has enabled DC events and read its extent list to the end."""

from agent_host import FILES, MACHINE, MODULES, AgentHost, same, tag_of  # noqa: F401
from machine import Failure

DEVICES = {"dev0": ("--dc", "1G", "--serial", "0x5dcd0001"),
           "eager": ("--dc", "1G", "--serial", "0x5dcd0002", "--hold", "off")}
MIB = 1 << 20


def offers(pool, device):
    return [offer for offer in pool.softdcd("list", "-O")["offers"] if offer["device"] == device]


def check_waiting(pool):
    """The daemon says what it waits for, and the log has no record of it."""
    offer, = offers(pool, "dev0")
    same("state", offer["state"], "queued")
    if "enable dynamic capacity events" not in offer["waits-for"]:
        raise Failure(f"the offer waits for {offer['waits-for']}")
    log = next(log for log in pool.device()["logs"] if log["log"] == "dc")
    same("records in the log", log["records"], 0)


def outside(guest, pool):
    agent = AgentHost(guest, pool)
    tag = agent.backend(1, 64 * MIB)
    agent.offer("--tag", tag)
    agent.offer("--size", "64M")
    withdrawn, = (row for row in offers(pool, "dev0") if row["tag"] is None)
    pool.softdcd("withdraw", "dev0", "--offer", str(withdrawn["id"]))
    check_waiting(pool)
    attached = agent.start("--device", "0d:00.0")
    accepted = agent.event("accepted")
    same("tag", accepted["tag"], tag)
    # The list is read after `attached` is told, and then it takes a second.
    if accepted["time"] - attached["time"] < 1000000:
        raise Failure(f"accepted {accepted['time'] - attached['time']} us after attaching")
    agent.check(accepted)
    agent.stop("released")

    # A device that does not hold: the record is there before the agent comes.
    other = agent.backend(2, 64 * MIB)
    agent.offer("--tag", other, device="eager")
    pool.softdcd("wait", "eager", other, "offered")
    agent.start("--device", "0e:00.0")
    same("tag", agent.event("accepted")["tag"], other)
    agent.command("resync")
    agent.stop("released")
    agent.end()
