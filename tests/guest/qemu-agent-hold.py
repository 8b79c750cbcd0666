# SPDX-License-Identifier: BSD-3-Clause
"""An offer waits until the host has enabled DC events and read its extent list to the end."""

from agent_host import FILES, MACHINE, MODULES, AgentHost, tag_of  # noqa: F401
from machine import Failure, same

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
    both(agent)
    agent.end()


def both(agent):
    """Two devices below one host bridge belong to one agent, also after a crash."""
    devices = "--device 0d:00.0", "--device 0e:00.0"
    agent.start(*devices)
    agent.event("attached")
    agent.kill()
    first = agent.start(*devices)["regions"][0]["hpa"]
    second = agent.event("attached")["regions"][0]["hpa"]
    same("decoders", [agent.pool.device(name)["decoders"][0]["hpa"] for name in DEVICES],
         [first, second])
    code = agent.run("softdcd-agent --state /run/softdcd-agent 2>/tmp/other; echo $?; cat /tmp/other")
    if "several devices" not in code:
        raise Failure(f"an agent that could take both says '{code}'")
    agent.kill()
    # The way of the one is not free as long as an agent has the other.
    agent.start(devices[0], "--reset-decoders")
    said = agent.run("softdcd-agent --device 0e:00.0 2>&1 || true")
    if "bridge-12 is locked" not in said:
        raise Failure(f"a second agent below the host bridge says '{said}'")
    agent.stop()
    same("decoders after leaving", agent.pool.device()["decoders"], [])
