# SPDX-License-Identifier: BSD-3-Clause
"""The agent refuses what somebody else has, names who, and takes it when it is free."""

import json
import re

from agent_host import FILES, AgentHost
from machine import MODULES, Bridge, Failure, Machine, Window, same  # noqa: F401

# The third host bridge shares its only window with the first.
DEVICES = {"dev0": ("--dc", "1G", "--ram", "256M", "--serial", "0x5dcd0001"),
           "dev1": ("--dc", "1G", "--serial", "0x5dcd0002"),
           "dev2": ("--dc", "1G", "--serial", "0x5dcd0003")}
MACHINE = Machine(bridges=(Bridge(devices=("dev0",)), Bridge(devices=("dev1",), empty_ports=1),
                           Bridge(devices=("dev2",))),
                  windows=(Window(bridges=(0,)), Window(bridges=(1,)),
                           Window(bridges=(0, 2), size="8G")))
FIRST, SECOND, THIRD = "0000:0d:00.0", "0000:1d:00.0", "0000:2d:00.0"


def refused(agent, words, *options):
    why = agent.start_refused(*options)
    for word in words:
        if word not in why:
            raise Failure(f"it refuses with '{why}', which does not say '{word}'")


def bound(agent):
    """All devices have the kernel's driver."""
    refused(agent, [FIRST, "cxl_pci", "unbind"])
    refused(agent, [SECOND, "cxl_pci", "unbind"], "--device", SECOND)
    refused(agent, ["0000:00:1f.7", "probe"], "--device", "0000:00:1f.7")
    refused(agent, ["'nonsense'"], "--device", "nonsense")
    rows = json.loads(agent.run("softdcd-agent probe"))["devices"]
    same("devices", [(row["device"], row["driver"], row["may-be-taken"]) for row in rows],
         [(device, "cxl_pci", False) for device in (FIRST, SECOND, THIRD)])


def beside_kernel(agent):
    """The device is free; the host bridge's registers are the kernel's until its port is told."""
    for device in SECOND, THIRD:
        agent.run(f"echo {device} >/sys/bus/pci/drivers/cxl_pci/unbind")
    refused(agent, ["window", "host bridge 44"], "--device", THIRD)
    told = agent.start("--device", SECOND)
    decoder, = agent.pool.device("dev1")["decoders"]
    same("decoder", decoder["hpa"], told["regions"][0]["hpa"])
    port = re.fullmatch("host bridge 28: the kernel's (port[0-9]+) has let go of it",
                        agent.run("cat /tmp/agent-err").removeprefix("softdcd-agent: "))
    if not port:
        raise Failure(f"it says {agent.run('cat /tmp/agent-err')}")
    agent.run(f"test ! -e /sys/bus/cxl/devices/{port[1]}/driver")
    # The kernel's driver does not take it meanwhile, not even when it is told to look.
    probe = f"echo {SECOND} >/sys/bus/pci/drivers_probe 2>/dev/null; "
    agent.run(f"{probe} test ! -e /sys/bus/pci/devices/{SECOND}/driver")
    agent.guest.tell("kill TERM")
    agent.event("left")
    agent.ended("0")
    agent.run(f"test -e /sys/bus/cxl/devices/{port[1]}/driver")
    agent.run(f"{probe} test -e /sys/bus/pci/devices/{SECOND}/driver")
    refused(agent, [SECOND, "cxl_pci", "unbind"], "--device", SECOND)


def others(agent):
    """Without the kernel's drivers everything depends on the decoders."""
    agent.run("rmmod cxl_pmem; rmmod cxl_mem; rmmod cxl_pci; rmmod cxl_acpi; rmmod cxl_port; true")
    rows = json.loads(agent.run("softdcd-agent probe"))["devices"]
    same("devices", [(row["device"], row["driver"], row["may-be-taken"]) for row in rows],
         [(FIRST, None, True), (SECOND, None, True), (THIRD, None, False)])
    refused(agent, ["several", FIRST, SECOND])
    agent.start("--device", SECOND)
    agent.run("softdcd-agent --device 1d:00.0 2>/tmp/second || test $? = 1")
    if "another softdcd-agent" not in (why := agent.run("cat /tmp/second")):
        raise Failure(f"a second agent refuses with '{why}'")
    # An agent that died, and left no record: its decoders could be anybody's.
    agent.kill()
    agent.run("rm -r /run/softdcd-agent")
    decoders = agent.pool.device("dev1")["decoders"]
    refused(agent, ["decoder 0 of host bridge 28", "--reset-decoders"], "--device", SECOND)
    same("decoders after the refusal", agent.pool.device("dev1")["decoders"], decoders)
    agent.start("--device", SECOND, "--reset-decoders")
    agent.stop()
    same("decoders after leaving", agent.pool.device("dev1")["decoders"], [])


def beside_static(agent):
    """A device with static capacity has only its regions taken."""
    told = agent.start("--device", FIRST)
    decoder, = agent.pool.device("dev0")["decoders"]
    same("decoder", (decoder["dpa"], decoder["len"], decoder["hpa"]),
         (256 << 20, 1 << 30, told["regions"][0]["hpa"]))
    agent.offer("--size", "64M")
    group = agent.event("accepted")
    same("where it is", group["maps"][0]["hpa"] - decoder["hpa"], group["maps"][0]["dpa"] - (256 << 20))
    agent.stop("released")


def outside(guest, pool):
    agent = AgentHost(guest, pool)
    bound(agent)
    beside_kernel(agent)
    others(agent)
    beside_static(agent)
    agent.end()
