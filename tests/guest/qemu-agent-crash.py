# SPDX-License-Identifier: BSD-3-Clause
"""What is accepted outlives a crash of the agent, of the guest's kernel, and of QEMU."""

from agent_host import DEVICES, FILES, MACHINE, MODULES, AgentHost, rows_of, tag_of  # noqa: F401
from machine import same

MACHINE = MACHINE._replace(reboots=True)
MIB = 1 << 20


def accept(agent, number, *options):
    tag = agent.backend(number, 64 * MIB)
    agent.offer("--tag", tag, *options)
    return agent.event("accepted")


def recovered(agent, *groups):
    """A new agent finds exactly these, in the order of their addresses."""
    agent.start()
    for group in groups:
        told = agent.event("accepted")
        same("what is found accepted", (told["recovered"], rows_of(told)), (True, rows_of(group)))
    agent.check(*groups)


def agent_crash(agent, groups):
    agent.kill()
    same("what the pool has accepted", agent.pool.extents("accepted"),
         sorted(row for group in groups for row in rows_of(group)))
    recovered(agent, *groups)
    # The same on command
    agent.guest.tell("last abandon")
    agent.ended("0")
    recovered(agent, *groups)


def keep(agent, groups):
    """--keep leaves everything, also the decoders; what happens meanwhile the next one learns."""
    agent.kill()
    agent.guest.tell("start --keep")
    agent.event("attached")
    for _ in groups:
        agent.event("accepted")
    agent.stop()
    same("number of decoders", len(agent.pool.device()["decoders"]), 1)
    gone = groups.pop()
    agent.pool.softdcd("release", "dev0", "--tag", gone["tag"], "--force")
    agent.until("gone", lambda: len(agent.pool.extents("accepted")) == sum(
        len(group["maps"]) for group in groups))
    agent.offer("--tag", tag_of(9), "--extent", "768M:64M")  # waits for an agent
    agent.start()
    for group in groups:
        same("what is found accepted", rows_of(agent.event("accepted")), rows_of(group))
    told = agent.event("accepted")
    same("what is new", (told["tag"], told["recovered"]), (tag_of(9), False))
    groups.append(told)
    agent.check(*groups)


def guest_crash(agent, guest, groups):
    guest.tell("crash")
    guest.hear("booted")
    again = AgentHost(guest, agent.pool)
    same("what the pool has accepted", again.pool.extents("accepted"),
         sorted(row for group in groups for row in rows_of(group)))
    same("decoders", again.pool.device()["decoders"], [])
    # An offer in flight at the crash comes again, after the list has been read.
    recovered(again, *groups)
    return again


def qemu_crash(agent, guest, groups):
    guest.kill()
    agent.until("host gone", lambda: agent.pool.device()["host"] is None)
    guest.start()
    guest.hear("booted")
    again = AgentHost(guest, agent.pool)
    recovered(again, *groups)
    return again


def other_policy(agent, groups):
    """What is found accepted and is not wanted is given back."""
    agent.kill()
    agent.start("--accept", groups[0]["tag"])
    told = [agent.event_of("accepted", "declined") for _ in groups]
    same("what is declined", sorted(event["tag"] for event in told if event["event"] == "declined"),
         sorted(group["tag"] for group in groups[1:]))
    agent.until("given back", lambda: agent.pool.extents() == sorted(rows_of(groups[0])))
    agent.check(groups[0])


def outside(guest, pool):
    agent = AgentHost(guest, pool)
    agent.backend(9, 64 * MIB)
    agent.start()
    groups = [accept(agent, 1, "--extent", "32M:32M", "--extent", "0:32M"),
              accept(agent, 2, "--extent", "128M:64M"), accept(agent, 3, "--extent", "256M:64M")]
    agent_crash(agent, groups)
    keep(agent, groups)
    agent = guest_crash(agent, guest, groups)
    agent = qemu_crash(agent, guest, groups)
    other_policy(agent, groups)
    agent.stop("released")
    agent.end()
