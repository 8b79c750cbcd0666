# SPDX-License-Identifier: BSD-3-Clause
"""More chains of 1 to 2000 extents: all or nothing, in order, given back whole."""

from agent_host import FILES, MACHINE, MODULES, AgentHost, rows_of, tag_of  # noqa: F401
from machine import Failure, same

KIB = 1 << 10
BLOCK = 64 * KIB
LENGTHS = (1, 8, 9, 100, 2000)
DEVICES = {"dev0": ("--dc", "1G,block=64K", "--serial", "0x5dcd0001", "--max-chain", "2000"),
           "small": ("--dc", "1G,block=64K", "--serial", "0x5dcd0002")}


def places(n):
    """Places in the region: with gaps, so that no two are one, and from the highest down."""
    return [2 * BLOCK * (n - 1 - i) for i in range(n)]


def options(n):
    return [word for place in places(n) for word in ("--extent", f"{place}:{BLOCK}")]


def check_tagged(agent, n):
    tag = agent.backend(n, n * BLOCK)
    agent.offer("--tag", tag, *options(n))
    group = agent.event("accepted")
    same("the extents, in assembly order", rows_of(group),
         [(place, BLOCK, tag, 0) for place in places(n)])
    agent.check(group)
    agent.pool.softdcd("release", "dev0", "--tag", tag)
    # As many records as fit one mailbox payload are given back together.
    left = n * BLOCK
    while left > 0:
        left -= agent.event("released")["len"]
    same("length of what is given back too much", -left, 0)
    agent.until("given back", lambda: not agent.pool.extents())
    agent.check()


def check_untagged(agent, n):
    agent.offer("--size", str(n * BLOCK), *options(n))
    group = agent.event("accepted")
    same("number of extents", len(group["maps"]), n)
    agent.check(group)
    agent.command(f"release {group['group']}", "released")
    agent.until("given back", lambda: not agent.pool.extents())
    agent.check()


def check_declined(agent, n):
    agent.command("accept none")
    tag = tag_of(n)
    agent.offer("--tag", tag, *options(n))
    same("length of what is declined", agent.event("declined")["len"], n * BLOCK)
    agent.pool.softdcd("wait", "dev0", tag, "declined")
    agent.command("accept all")
    agent.check()


def check_limit(agent):
    """By default a chain is no longer than what Linux takes."""
    try:
        agent.offer("--size", str(101 * BLOCK), *options(101), device="small")
    except Failure as refusal:
        if "100" not in str(refusal):
            raise
        return
    raise Failure("an offer of 101 extents is not refused")


def outside(guest, pool):
    agent = AgentHost(guest, pool)
    agent.start("--device", "0000:0d:00.0")
    for n in LENGTHS:
        check_tagged(agent, n)
        check_untagged(agent, n)
    check_declined(agent, 100)
    check_declined(agent, 2000)
    check_limit(agent)
    agent.stop()
    agent.end()
