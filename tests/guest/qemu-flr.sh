# SPDX-License-Identifier: BSD-3-Clause
# A function level reset keeps committed decoders, and the device works on.
same "memory device" "$(memdev_at 0d:00.0)" mem0
device=/sys/bus/pci/devices/0000:0d:00.0
same "reset methods" "$(cut -d' ' -f1 $device/reset_method)" flr
echo flr >$device/reset_method

create_region -m -t ram -d decoder0.0 -w 1 -s 256M mem0
tell committed
hear reset
n=0
while [ $n -lt 5 ]; do
	echo 1 >$device/reset || fail "reset $n"
	n=$((n + 1))
done
cxl list -M -H >/tmp/list 2>&1 || fail "no answer after a reset: $(cat /tmp/list)"
same "health after a reset" "$(json /tmp/list media_normal)" true
same "state of $region" "$(cat "/sys/bus/cxl/devices/$region/commit")" 1
tell reset
hear checked
no_warnings
