# SPDX-License-Identifier: BSD-3-Clause
# A reboot of the guest resets the device and nothing that is to last.
same "memory device" "$(memdev_at 0d:00.0)" mem0
ask boot
boot=$answer

cxl disable-memdev -f mem0 >/tmp/out 2>&1 || fail "disable-memdev: $(cat /tmp/out)"
if [ "$boot" = 1 ]; then
	yes 'kept over reboots' | head -c 131072 >/tmp/labels
	cxl write-labels -i /tmp/labels mem0 >/tmp/out 2>&1 || fail "write-labels: $(cat /tmp/out)"
fi
cxl read-labels -o /tmp/read mem0 >/tmp/out 2>&1 || fail "read-labels: $(cat /tmp/out)"
yes 'kept over reboots' | head -c 131072 | cmp - /tmp/read || fail "labels are not as written"
cxl enable-memdev mem0 >/tmp/out 2>&1 || fail "enable-memdev: $(cat /tmp/out)"
same "memory device" "$(memdev_at 0d:00.0)" mem0

same "regions after boot" "$(ls -d /sys/bus/cxl/devices/region* 2>/dev/null | wc -l)" 0
create_region -m -t ram -d decoder0.0 -w 1 -s 256M mem0
ask committed
no_warnings
test "$boot" = 3 || reboot -f
