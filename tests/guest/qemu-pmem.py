# SPDX-License-Identifier: BSD-3-Clause
"""Outside of qemu-pmem: what the device has."""

DEVICES = {"dev0": ("--ram", "512M", "--pmem", "512M", "--lsa", "128K")}
