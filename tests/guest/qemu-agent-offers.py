# SPDX-License-Identifier: BSD-3-Clause
"""Offers to the agent: accepted, declined, given back when asked or not, withdrawn, forced away."""

from agent_host import (ADDRESS, DEVICES, FILES, MACHINE, MODULES, AgentHost,  # noqa: F401
                        rows_of, tag_of)
from machine import Failure, same

MIB = 1 << 20


def check_attached(told):
    same("address of the device", told["device"], ADDRESS)
    same("serial number", told["serial"], "000000005dcd0001")
    same("caching of the window", told["caching"], "write-back")
    region, = told["regions"]
    same("length of the region", region["len"], 1024 * MIB)
    return region["hpa"]


def check_decoder(agent, hpa):
    decoder, = agent.pool.device()["decoders"]
    same("decoder", [decoder[key] for key in ("hpa", "len", "dpa", "ways")],
         [hpa, 1024 * MIB, 0, 1])


def accept_and_release(agent, hpa):
    tag = agent.backend(1, 256 * MIB)
    agent.offer("--tag", tag)
    group = agent.event("accepted")
    same("tag", group["tag"], tag)
    same("where it is", [(row["hpa"], row["path"], row["offset"]) for row in group["maps"]],
         [(hpa + row["dpa"], "/dev/mem", hpa + row["dpa"]) for row in group["maps"]])
    agent.check(group)
    agent.pool.softdcd("release", "dev0", "--tag", tag)
    told = agent.event("released")
    same("why", (told["why"], told["tag"], told["len"]), ("asked", tag, 256 * MIB))
    agent.until("given back", lambda: not agent.pool.extents())
    agent.check()
    # Of its own accord
    agent.offer("--tag", tag)
    agent.event("accepted")
    told, = agent.command(f"release {tag}", "released")
    same("why", told["why"], "command")
    agent.until("given back", lambda: not agent.pool.extents())
    agent.check()


def accepted(agent, *offer):
    agent.offer(*offer)
    return agent.event("accepted")


def untagged(agent):
    group = accepted(agent, "--size", "64M")
    same("tag", group["tag"], None)
    agent.check(group)
    agent.command(f"release {group['group']}", "released")
    agent.check()


def declined(agent):
    tag = tag_of(1)
    other = agent.backend(2, 64 * MIB)
    agent.command(f"accept {tag}")
    agent.offer("--tag", other)
    told = agent.event("declined")
    same("what is declined", (told["tag"], told["len"], told["why"]), (other, 64 * MIB, "policy"))
    agent.pool.softdcd("wait", "dev0", other, "declined")
    agent.offer("--size", "64M")
    same("tag", agent.event("declined")["tag"], None)
    agent.check()
    agent.offer("--tag", tag)
    group = agent.event("accepted")
    agent.check(group)
    agent.command("accept all")
    agent.offer("--tag", other)
    agent.check(group, agent.event("accepted"))
    agent.command(f"release {tag}", "released")
    agent.command(f"release {other}", "released")
    agent.check()


def kept(agent):
    """What is in use stays; the device asks again, until it is given."""
    tag = tag_of(1)
    agent.offer("--tag", tag)
    group = agent.event("accepted")
    agent.command("hold on")
    agent.pool.softdcd("release", "dev0", "--tag", tag)
    for _ in range(2):
        same("what is kept", agent.event("kept")["tag"], tag)
    asked = [row for row in agent.pool.softdcd("list", "-R")["releases"] if row["state"] != "done"]
    same("tag of the open request", [row["tag"] for row in asked], [tag])
    agent.say("list")
    told = agent.event_after("kept", "list")
    same("what the agent holds", [held["tag"] for held in told["groups"]], [tag])
    agent.event_after("kept", "done")
    same("what the pool has accepted", agent.pool.extents("accepted"), sorted(rows_of(group)))
    agent.say("hold off")
    agent.event_after("kept", "done")
    agent.event("released")
    agent.check()


def parts(agent):
    """Part of an extent is asked for, part of another given back."""
    group = accepted(agent, "--size", "64M")
    start = group["maps"][0]["dpa"]
    agent.pool.softdcd("release", "dev0", "--extent", f"{start + 16 * MIB}:16M")
    told = agent.event("released")
    same("what is given back", told["extents"], [{"dpa": start + 16 * MIB, "len": 16 * MIB}])
    rest = [(start, 16 * MIB, None, 0), (start + 32 * MIB, 32 * MIB, None, 0)]
    agent.until("given back", lambda: agent.pool.extents() == rest)
    told, = agent.command("list", "list")
    same("what the agent holds", rows_of(told["groups"][0]), rest)
    told, = agent.command(f"release-range {start + 48 * MIB} {16 * MIB}", "released")
    same("why", told["why"], "command")
    rest[1] = (start + 32 * MIB, 16 * MIB, None, 0)
    agent.until("given back", lambda: agent.pool.extents() == rest)
    agent.command(f"release {group['group']}", "released")
    agent.check()


def forced(agent):
    group = accepted(agent, "--tag", tag_of(1))
    agent.pool.softdcd("release", "dev0", "--tag", tag_of(1), "--force")
    told = agent.event("lost")
    same("what is lost", (told["tag"], told["why"]), (tag_of(1), "forced"))
    agent.until("gone", lambda: not agent.pool.extents())
    agent.check()
    # The range can be offered again once the host has let go of it.
    place = f"{group['maps'][0]['dpa']}:{group['len']}"
    again = agent.until("free again", lambda: agent.try_offer("--tag", tag_of(1), "--extent", place))
    same("state of the offer", again["device"], "dev0")
    same("where it is", rows_of(agent.event("accepted")), rows_of(group))
    agent.command(f"release {tag_of(1)}", "released")


def withdrawn(agent):
    """What is withdrawn before the agent looks it never sees."""
    agent.run("kill -STOP $(pidof softdcd-agent)")
    agent.offer("--tag", tag_of(1))
    agent.pool.softdcd("wait", "dev0", tag_of(1), "offered", "--timeout", "60s")
    agent.pool.softdcd("withdraw", "dev0", "--tag", tag_of(1))
    agent.offer("--tag", tag_of(2))
    agent.guest.tell("signal CONT")
    group = agent.event("accepted")
    same("tag", group["tag"], tag_of(2))
    agent.check(group)
    agent.command(f"release {tag_of(2)}", "released")


def bad_commands(agent):
    for command, why in (("nonsense", "no such command"), ("release", "it is: release GROUP"),
                         (f"release {tag_of(9)}", "nothing accepted"), ("hold maybe", "on or off"),
                         ("read 1 0 99999999999999999999", "numbers of bytes"),
                         ("accept x", "not all, none")):
        agent.say(command)
        told = agent.event("failed")
        if why not in told["error"]:
            raise Failure(f"'{command}' fails with '{told['error']}', not '{why}'")
    agent.check()


def outside(guest, pool):
    agent = AgentHost(guest, pool)
    hpa = check_attached(agent.start())
    check_decoder(agent, hpa)
    accept_and_release(agent, hpa)
    untagged(agent)
    declined(agent)
    kept(agent)
    parts(agent)
    forced(agent)
    withdrawn(agent)
    bad_commands(agent)
    group = accepted(agent, "--tag", tag_of(1))
    told, _ = agent.stop("released")
    same("what it gives back", (told["why"], told["len"]), ("leaving", group["len"]))
    same("decoders after leaving", pool.device()["decoders"], [])
    same("extents after leaving", agent.pool.extents("accepted"), [])
    agent.end()
