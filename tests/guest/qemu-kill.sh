# SPDX-License-Identifier: BSD-3-Clause
# A guest that works with its device until somebody kills its QEMU.
if [ -e /sys/bus/pci/drivers/cxl_pci ]; then
	memdev=$(memdev_at 0d:00.0)
	while :; do
		create_region -m -t ram -d decoder0.0 -w 1 -s 256M "$memdev"
		destroy_region
	done
fi
while :; do # without CXL drivers it takes and gives back what it is offered
	hammer 0000:0d:00.0 disturb 100 >/tmp/out || fail "$(cat /tmp/out)"
done
