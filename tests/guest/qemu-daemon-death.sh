# SPDX-License-Identifier: BSD-3-Clause
# A guest whose device's daemon dies: the device is lost to it, and it lives on.
device=0000:0d:00.0
if [ ! -e /sys/bus/pci/devices/$device ]; then # the reset after the daemon's death
	ask no-device
	exit 0
fi

tell accepting
hammer $device accept >/tmp/out || fail "$(cat /tmp/out)"
ask accepted "$(extents $device)"
same "what was said" "$answer" dead

# All ones, as where there is no device; and again when the daemon is back, for QEMU is not.
same "identity" "$(setpci -s 0d:00.0 VENDOR_ID.l)" ffffffff
! hammer $device list >/tmp/out 2>&1 || fail "a device without a daemon answers"
ask lost
same "what was said" "$answer" back
same "identity" "$(setpci -s 0d:00.0 VENDOR_ID.l)" ffffffff
# The guest itself goes on.
same "the guest's sum" "$(head -c 1048576 /dev/zero | md5sum | cut -c1-8)" b6d81b36
tell still-lost
hear nothing # but a reset
