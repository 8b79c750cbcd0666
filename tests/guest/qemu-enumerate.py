# SPDX-License-Identifier: BSD-3-Clause
"""Outside of qemu-enumerate: all that cxl list says is what was configured."""

import json

from machine import Failure

MIB = 1 << 20
DEVICES = {"dev0": ("--ram", "512M", "--pmem", "256M", "--lsa", "256K", "--dc", "1G",
                    "--serial", "0x5dcd0001")}

# Without dynamic capacity: these kernels do not know of it.
MEMDEV = {
    "memdev": "mem0", "ram_size": 512 * MIB, "pmem_size": 256 * MIB, "serial": 0x5dcd0001,
    "host": "0000:0d:00.0",
    "partition_info": {"total_size": 768 * MIB, "volatile_only_size": 512 * MIB,
                       "persistent_only_size": 256 * MIB, "partition_alignment_size": 0},
    "firmware": {"num_slots": 1, "active_slot": 1, "online_activate_capable": False},
    "health": {
        "maintenance_needed": False, "performance_degraded": False,
        "hw_replacement_needed": False, "media_normal": True, "media_not_ready": False,
        "media_persistence_lost": False, "media_data_lost": False, "ext_life_used": "normal",
        "ext_temperature": "normal", "ext_corrected_volatile": "normal",
        "ext_corrected_persistent": "normal", "life_used_percent": 0, "dirty_shutdowns": 0,
        "volatile_errors": 0, "pmem_errors": 0},
    "alert_config": {"life_used_crit_alert_threshold": 100,
                     "life_used_prog_warn_threshold_writable": True,
                     "life_used_prog_warn_threshold_valid": False},
}
IDLE = {"interleave_ways": 1, "state": "disabled"}
TREE = [{
    "bus": "root0", "provider": "ACPI.CXL", "nr_dports": 1,
    "ports:root0": [{
        "port": "port1", "depth": 1, "decoders_committed": 0,
        "dports": [{"dport": "0000:0c:00.0", "id": 0}],
        "endpoints:port1": [{
            "endpoint": "endpoint2", "host": "mem0", "depth": 2, "decoders_committed": 0,
            "memdev": MEMDEV,
            "decoders:endpoint2": [{"decoder": f"decoder2.{n}", **IDLE} for n in range(10)],
        }],
        "decoders:port1": [{
            "decoder": "decoder1.0", **IDLE,
            "targets": [{"target": "0000:0c:00.0", "position": 0, "id": 0}],
        }],
    }],
    "decoders:root0": [{
        "decoder": "decoder0.0", "size": 4096 * MIB, "interleave_ways": 1, "pmem_capable": True,
        "volatile_capable": True, "targets": [{"position": 0, "id": 0x0c}],
    }],
}]


def check(seen, want, where="cxl list"):
    """All of want is in seen, which may say more of an object, but may not have longer lists."""
    if isinstance(want, dict) and isinstance(seen, dict):
        for key, value in want.items():
            check(seen.get(key), value, f"{where}: {key}")
    elif isinstance(want, list) and isinstance(seen, list) and len(want) == len(seen):
        for n, value in enumerate(want):
            check(seen[n], value, f"{where} {n}")
    elif seen != want:
        raise Failure(f"{where} is {seen!r}, not {want!r}")


def outside(guest, pool):
    tree = json.loads(guest.hear("tree"))
    check(tree, TREE)
    firmware = tree[0]["ports:root0"][0]["endpoints:port1"][0]["memdev"]["firmware_version"]
    if not firmware.startswith("softdcd "):
        raise Failure(f"the firmware is {firmware!r}")
    # QEMU has registers of the device and no memory.
    check(pool.device(), {"link": "control-only", "host": {"control-only": True}}, "device")
