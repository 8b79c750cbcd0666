# SPDX-License-Identifier: BSD-3-Clause
# A kernel that knows nothing of dynamic capacity is not bothered by offers: it stays idle, and what
# it does know goes on.  Its second device delivers offers without waiting for a kernel to be ready.
memdev_at 0d:00.0
memdev_at 0e:00.0
trace=/sys/kernel/tracing
test ! -d $trace/events/cxl || echo 1 >$trace/events/cxl/enable

interrupts()
{
	awk '/cxl|0000:0[de]:00.0/ { for (i = 2; i <= NF && $i ~ /^[0-9]+$/; i++) n += $i }
		END { print n + 0 }' /proc/interrupts
}

# ticks: of the only CPU, not idle, and all
ticks()
{
	awk '$1 == "cpu" { print $2 + $3 + $4 + $7 + $8, $2 + $3 + $4 + $5 + $6 + $7 + $8 }' /proc/stat
}

# idle WHY: for five seconds it is
idle()
{
	before=$(interrupts)
	ticks >/tmp/ticks
	sleep 5
	ticks >>/tmp/ticks
	same "number of interrupts in five seconds $1" $(($(interrupts) - before)) 0
	awk 'NR == 1 { busy = $1; all = $2 } NR == 2 { exit !(($1 - busy) * 5 < $2 - all) }' /tmp/ticks ||
		fail "the guest is busy $1: ticks $(cat /tmp/ticks), $(top -b -n 1 | head -n 12)"
}

tell ready
hear offered
tell idling
idle "with offers"
ask idled
if [ "$answer" = inject ]; then
	tell ready
	hear injected
	until_true 60 grep -q 'cxl_general_media: memdev=mem[01] host=0000:0d:00.0' $trace/trace
	until_true 60 grep -q 'cxl_general_media: memdev=mem[01] host=0000:0e:00.0' $trace/trace
	idle "after events"
	same "number of events" "$(grep -c ': cxl_' $trace/trace)" 2
	tell idled
fi
cxl list -vvv >/tmp/list 2>&1 || fail "cxl list: $(cat /tmp/list)"
same "devices in cxl list" "$(grep -c '"memdev":"mem' /tmp/list)" 2
no_warnings
