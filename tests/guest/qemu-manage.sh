# SPDX-License-Identifier: BSD-3-Clause
# What an administrator does: alerts, each kind of reset; and events that came without a driver.
mem=$(memdev_at 0d:00.0)
device=/sys/bus/pci/devices/0000:0d:00.0
driver=/sys/bus/pci/drivers/cxl_pci
trace=/sys/kernel/tracing

cxl set-alert-config -L 70 --life-used-alert=on "$mem" >/tmp/out 2>&1 ||
	fail "set-alert-config: $(cat /tmp/out)"
cxl list -m "$mem" -A >/tmp/list 2>&1 || fail "cxl list: $(cat /tmp/list)"
same "alert on life used" "$(json /tmp/list life_used_prog_warn_threshold_valid)" true
same "its threshold" "$(json /tmp/list life_used_prog_warn_threshold)" 70
same "another alert" "$(json /tmp/list corrected_pmem_err_prog_warn_threshold_valid)" false

same "reset methods" "$(cat $device/reset_method)" "flr cxl_bus"
for method in flr cxl_bus; do
	echo $method >$device/reset_method
	echo 1 >$device/reset || fail "reset by $method"
	cxl list -m "$mem" -H >/tmp/list 2>&1 || fail "no answer after $method: $(cat /tmp/list)"
	same "health after $method" "$(json /tmp/list media_normal)" true
	ask reset $method
done

# More than the log takes: what was lost is counted, the rest comes in order.
echo 1 >$trace/events/cxl/enable
echo 0000:0d:00.0 >$driver/unbind
ask away
echo 0000:0d:00.0 >$driver/bind
memdev_at 0d:00.0 >/dev/null
until_true 60 grep -q ' dpa=fc0 ' $trace/trace
grep -q 'cxl_overflow: .* log=Warning : 2 records' $trace/trace ||
	fail "no word of what was lost: $(grep cxl_overflow $trace/trace)"
sed -n 's/.*cxl_general_media: .* log=Warning .* dpa=\([0-9a-f]*\) .*/\1/p' $trace/trace >/tmp/seen
n=0
while [ $n -lt 64 ]; do
	printf '%x\n' $((n * 64))
	n=$((n + 1))
done >/tmp/want
cmp /tmp/want /tmp/seen || fail "other events, or in another order: $(tr '\n' ' ' </tmp/seen)"
ask back
no_warnings
