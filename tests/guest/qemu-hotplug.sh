# SPDX-License-Identifier: BSD-3-Clause
# A device that comes while the guest runs is as good as one that was there.
same "first memory device" "$(memdev_at 0d:00.0)" mem0
test ! -e /sys/bus/pci/devices/0000:0e:00.0 || fail "the second device is there already"
ask ready
same "second memory device" "$(memdev_at 0e:00.0)" mem1
cxl list -m mem1 -H >/tmp/list 2>&1 || fail "cxl list: $(cat /tmp/list)"
same "serial number" "$(json /tmp/list serial)" $((0x5dcd0002))
same "health" "$(json /tmp/list media_normal)" true
grep -q cxl /proc/interrupts || grep -q 0000:0e:00.0 /proc/interrupts || fail "it has no interrupt"
trace=/sys/kernel/tracing
echo 1 >$trace/events/cxl/enable
ask there
until_true 60 grep -q 'cxl_general_media: memdev=mem1 host=0000:0e:00.0' $trace/trace
create_region -m -t ram -d decoder0.0 -w 2 -s 512M mem0 mem1
ask committed
destroy_region
no_warnings
