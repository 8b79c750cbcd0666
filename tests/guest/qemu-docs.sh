# SPDX-License-Identifier: BSD-3-Clause
# The commands of docs/qemu.md that are for the guest, one block of them after the other.
until_true 60 test -e /sys/bus/cxl/devices/endpoint2/driver
while ask block && [ "$answer" != end ]; do
	sh -eu "/docs/$answer" </dev/null || fail "this of docs/qemu.md fails: $(cat "/docs/$answer")"
done
no_warnings
