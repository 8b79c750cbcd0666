# SPDX-License-Identifier: BSD-3-Clause
"""The daemon dies under a guest whose agent has accepted: the next VM's agent has the same."""

from agent_host import DEVICES, FILES, MACHINE, MODULES, AgentHost, rows_of  # noqa: F401
from machine import Failure, same

KERNELS = ("new",)


def lose_device(guest, agent):
    """The guest lives on without it; or QEMU 11.1 dies of it, if just then the agent was reading a
    register: an assertion fails where it reports the second error of one access."""
    try:
        agent.event("reconnecting")
        same("identity of the device", agent.run("setpci -s 0d:00.0 VENDOR_ID.l"), "ffffffff")
    except Failure:
        if guest.process.poll() is None:
            raise
        print("QEMU has ended with the daemon", flush=True)


def outside(guest, pool):
    agent = AgentHost(guest, pool)
    agent.start()
    tags = [agent.backend(number, 64 << 20) for number in (1, 2)]
    groups = []
    for tag in tags:
        agent.offer("--tag", tag)
        groups.append(agent.event("accepted"))
    agent.check(*groups)
    before = agent.pool.extents("accepted")

    pool.kill()
    lose_device(guest, agent)
    pool.start()
    same("what the pool has accepted", agent.pool.extents("accepted"), before)

    guest.kill()
    guest.start()
    guest.hear("booted")
    agent = AgentHost(guest, pool)
    agent.start()
    found = [agent.event("accepted") for _ in tags]
    same("what was there before it came", [group["recovered"] for group in found], [True, True])
    same("what the next VM's agent found", sorted(row for group in found for row in rows_of(group)),
         before)
    agent.check(*found)
    for tag in tags:
        agent.command(f"release {tag}", "released")
    agent.until("given back", lambda: not agent.pool.extents())
    agent.stop()
    agent.end()
