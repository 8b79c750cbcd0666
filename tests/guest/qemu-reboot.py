# SPDX-License-Identifier: BSD-3-Clause
"""Outside of qemu-reboot: three boots of one QEMU, which is one host to the pool."""

import json

from agent_host import rows_of, tag_of
from machine import Bridge, Machine, Window, same

KERNELS = ("new",)  # regions of volatile memory came with Linux 6.3
DEVICES = {"dev0": ("--ram", "256M", "--lsa", "128K"), "dcd": ("--dc", "1G")}
FILES = {"usr/bin/softdcd-agent": "{build}/agent/softdcd-agent"}
MACHINE = Machine(bridges=(Bridge(devices=("dev0",)), Bridge(devices=("dcd",))),
                  windows=(Window(), Window(bridges=(1,))), reboots=True)
BOOTS = 3


def decoders(pool):
    return [len(pool.device(name)["decoders"]) for name in DEVICES]


def outside(guest, pool):
    pool.softdcd("backend", "add", "b1", "--size", "256M", "--tag", tag_of(1))
    hosts = [pool.device(name)["host"] for name in DEVICES]
    kept = None
    for boot in range(1, BOOTS + 1):
        same(f"hosts in boot {boot}", [pool.device(name)["host"] for name in DEVICES], hosts)
        same(f"decoders before boot {boot} made any", decoders(pool), [0, 0])
        guest.hear("boot")
        guest.tell(str(boot))
        guest.hear("committed")
        same(f"decoders in boot {boot}", decoders(pool), [1, 0])
        guest.tell("seen")
        guest.hear("attached")
        if boot == 1:
            pool.softdcd("offer", "dcd", "--tag", tag_of(1))
        guest.tell("accepted")
        held = json.loads(guest.hear("holds"))
        kept = kept or pool.extents("accepted")
        same(f"what the pool has accepted in boot {boot}", pool.extents("accepted"), kept)
        same(f"recovered in boot {boot}", held["recovered"], boot > 1)
        same(f"what the agent holds in boot {boot}", rows_of(held), kept)
        same(f"decoders with the agent in boot {boot}", decoders(pool), [1, 1])
        guest.tell("seen")
        if boot < BOOTS:
            guest.hear("booted")
