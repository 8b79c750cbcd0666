# SPDX-License-Identifier: BSD-3-Clause
"""Outside of qemu-events: one event of each kind, into three logs."""


KERNELS = ("new",)  # events came with Linux 6.3


def outside(guest, pool):
    guest.hear("ready")
    pool.softdcd("inject", "general-media", "dev0", "--log", "failure", "--dpa", "256M",
                 "--descriptor", "3", "--type", "1", "--transaction-type", "2",
                 "--channel", "3", "--rank", "1")
    pool.softdcd("inject", "dram", "dev0", "--log", "warning", "--dpa", "0x1000",
                 "--row", "77")
    pool.softdcd("inject", "memory-module", "dev0", "--log", "informational", "--type", "1",
                 "--health-status", "1", "--life-used", "7", "--temperature", "-3",
                 "--dirty-shutdown-count", "5")
    guest.tell("injected")
    guest.hear("checked")
