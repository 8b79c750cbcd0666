# SPDX-License-Identifier: BSD-3-Clause
"""Sharable regions: tags and sequence numbers, one backend at two devices, one agent for both."""

from agent_host import FILES, MODULES, AgentHost, rows_of, tag_of  # noqa: F401
from machine import Bridge, Failure, Machine, Window, same

MIB = 1 << 20
GIB = 1 << 30
DEVICES = {"dev0": ("--dc", "1G", "--dc", "1G,sharable", "--serial", "0x5dcd0001"),
           "dev1": ("--dc", "1G,sharable", "--serial", "0x5dcd0002")}
MACHINE = Machine(bridges=(Bridge(devices=("dev0",)), Bridge(devices=("dev1",))),
                  windows=(Window(bridges=(0,)), Window(bridges=(1,))))
NAMES = {"dev0": "0000:0d:00.0", "dev1": "0000:1d:00.0"}


def share(agent, device, region, start, tag):
    """Two extents, the second one first in address order."""
    agent.offer("--tag", tag, "--region", str(region), "--extent", "64M:32M", "--extent", "0:32M",
                device=device)
    group = agent.event("accepted")
    same("device", group["device"], NAMES[device])
    same("extents and sequence numbers", rows_of(group),
         [(start + 64 * MIB, 32 * MIB, tag, 0), (start, 32 * MIB, tag, 1)])
    same("what the pool has accepted", agent.pool.extents(device=device), sorted(rows_of(group)))


def refused(agent, why, *options, device):
    try:
        agent.offer(*options, device=device)
    except Failure as refusal:
        if why not in str(refusal):
            raise
        return
    raise Failure(f"an offer of {options} to {device} is not refused")


def attach_both(agent):
    """Returns nothing: the agent tells of both, in this order."""
    first = agent.start("--device", NAMES["dev0"], "--device", NAMES["dev1"])
    same("regions", [(row["region"], row["sharable"]) for row in first["regions"]],
         [(0, False), (1, True)])
    same("device", agent.event("attached")["device"], NAMES["dev1"])


def outside(guest, pool):
    agent = AgentHost(guest, pool)
    attach_both(agent)
    shared = agent.backend(1, 64 * MIB, "--shareable")
    own = agent.backend(2, 64 * MIB)
    share(agent, "dev0", 1, GIB, shared)
    # A host has a tag once, so of the second device it must decline it.
    agent.offer("--tag", shared, device="dev1")
    pool.softdcd("wait", "dev1", shared, "declined")
    agent.say(f"release {shared}")
    agent.event("released")
    agent.event("done")
    share(agent, "dev1", 0, 0, shared)
    # Beside it, memory that is not shared.
    agent.offer("--tag", own, device="dev0")
    group = agent.event("accepted")
    same("sequence numbers", [row["sequence"] for row in group["maps"]], [0])
    refused(agent, "shar", "--tag", own, "--region", "0", device="dev1")
    # After a crash the numbers come back from the list.
    agent.kill()
    attach_again(agent, group, shared)
    agent.stop("released", "released", "left")
    same("extents after leaving", pool.extents(), [])
    agent.end()


def attach_again(agent, group, shared):
    agent.start("--device", NAMES["dev0"], "--device", NAMES["dev1"])
    told = agent.event("accepted")
    same("what is found accepted", (told["recovered"], rows_of(told)), (True, rows_of(group)))
    agent.event("attached")
    told = agent.event("accepted")
    same("what is found accepted", (told["recovered"], rows_of(told)),
         (True, [(64 * MIB, 32 * MIB, shared, 0), (0, 32 * MIB, shared, 1)]))
