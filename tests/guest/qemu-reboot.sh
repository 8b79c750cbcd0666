# SPDX-License-Identifier: BSD-3-Clause
# A reboot of the guest resets its devices and nothing that is to last: labels, accepted extents.
mem=$(memdev_at 0d:00.0)
ask boot
boot=$answer

cxl disable-memdev -f "$mem" >/tmp/out 2>&1 || fail "disable-memdev: $(cat /tmp/out)"
if [ "$boot" = 1 ]; then
	yes 'kept over reboots' | head -c 131072 >/tmp/labels
	cxl write-labels -i /tmp/labels "$mem" >/tmp/out 2>&1 || fail "write-labels: $(cat /tmp/out)"
fi
cxl read-labels -o /tmp/read "$mem" >/tmp/out 2>&1 || fail "read-labels: $(cat /tmp/out)"
yes 'kept over reboots' | head -c 131072 | cmp - /tmp/read || fail "labels are not as written"
cxl enable-memdev "$mem" >/tmp/out 2>&1 || fail "enable-memdev: $(cat /tmp/out)"
mem=$(memdev_at 0d:00.0)

same "regions after boot" "$(ls -d /sys/bus/cxl/devices/region* 2>/dev/null | wc -l)" 0
create_region -m -t ram -d decoder0.0 -w 1 -s 256M "$mem"
ask committed

# The kernel's driver has nothing to do with the second device: the agent is its host.
memdev_at 1d:00.0 >/dev/null
echo 0000:1d:00.0 >/sys/bus/pci/drivers/cxl_pci/unbind
softdcd-agent --device 0000:1d:00.0 >/tmp/agent 2>&1 &
agent=$!
told()
{
	kill -0 $agent || fail "the agent has ended: $(cat /tmp/agent)"
	grep -q "\"event\": *\"$1\"" /tmp/agent
}
until_true 60 told attached
ask attached
until_true 60 told "$answer"
tell holds "$(grep "\"event\": *\"$answer\"" /tmp/agent)"
cat /tmp/agent
hear seen
no_warnings
test "$boot" = 3 || reboot -f
kill $agent
wait $agent || fail "the agent ended with $?: $(cat /tmp/agent)"
