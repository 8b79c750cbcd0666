# SPDX-License-Identifier: BSD-3-Clause
# The region driver programs decoders from end to end, again and again, and undoes it.
# Nothing here touches the memory itself: QEMU's window leads to none of ours.
until_true 60 test -e /sys/bus/cxl/devices/endpoint2/driver

round()
{
	cxl create-region -m -t ram -d decoder0.0 -w 1 -s 256M mem0 >/tmp/region 2>&1 ||
		fail "create-region, round $1: $(cat /tmp/region)"
	region=$(json /tmp/region region)
	same "state of $region" "$(cat "/sys/bus/cxl/devices/$region/commit")" 1
	same "size of $region" "$(($(cat "/sys/bus/cxl/devices/$region/size")))" $((256 << 20))
	decoder=/sys/bus/cxl/devices/decoder2.0
	same "decoder's start" "$(cat $decoder/start)" "$(cat "/sys/bus/cxl/devices/$region/resource")"
	same "decoder's size" "$(($(cat $decoder/size)))" $((256 << 20))
	same "decoder's capacity" "$(($(cat $decoder/dpa_size)))" $((256 << 20))
}

undo()
{
	cxl disable-region "$region" >/tmp/undo 2>&1 || true # it has no driver to let go of it
	cxl destroy-region -f "$region" >/tmp/undo 2>&1 || fail "destroy-region: $(cat /tmp/undo)"
	test ! -e "/sys/bus/cxl/devices/$region" || fail "$region is still there"
	same "decoder's capacity afterwards" "$(($(cat $decoder/dpa_size)))" 0
}

round 1
tell committed "$(($(cat "/sys/bus/cxl/devices/$region/resource")))"
hear seen
undo
tell destroyed
hear seen
n=2
while [ $n -le 50 ]; do
	round $n
	undo
	n=$((n + 1))
done
no_warnings
