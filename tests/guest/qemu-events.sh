# SPDX-License-Identifier: BSD-3-Clause
# An event raised through the pool reaches the kernel by interrupt, as it was put in.
until_true 60 test -e /sys/bus/cxl/devices/mem0/driver
trace=/sys/kernel/tracing

interrupts()
{
	awk '/cxl|0000:0d:00.0/ { for (i = 2; i <= NF && $i ~ /^[0-9]+$/; i++) n += $i }
		END { print n + 0 }' /proc/interrupts
}

echo 1 >$trace/events/cxl/enable
before=$(interrupts)
tell ready
hear injected
until_true 60 grep -q cxl_general_media $trace/trace
until_true 60 grep -q cxl_dram $trace/trace
until_true 60 grep -q cxl_memory_module $trace/trace
cat $trace/trace
test "$(interrupts)" -gt "$before" || fail "no interrupt: $(cat /proc/interrupts)"

# event NAME WORDS...: there is one, of our device, and its line has all of these
event()
{
	grep "cxl_$1: memdev=mem0 host=0000:0d:00.0" $trace/trace >/tmp/event || true
	same "number of $1 events" "$(wc -l </tmp/event)" 1
	shift
	for words in "$@"; do
		grep -qF "$words" /tmp/event || fail "no '$words' in: $(cat /tmp/event)"
	done
}

event general_media log=Failure dpa=10000000 "descriptor='UNCORRECTABLE_EVENT|THRESHOLD_EVENT'" \
	"type='Invalid Address'" "transaction_type='Host Write'" channel=3 rank=1 \
	"validity_flags='CHANNEL|RANK'"
event dram log=Warning dpa=1000 "type='ECC Error'" row=77 "validity_flags='ROW'"
event memory_module log=Informational "event_type='Media Status Change'" \
	"health_status='MAINTENANCE_NEEDED'" life_used=7 device_temp=-3 dirty_shutdown_cnt=5
no_warnings
tell checked
