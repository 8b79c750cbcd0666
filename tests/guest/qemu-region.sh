# SPDX-License-Identifier: BSD-3-Clause
# The region driver programs decoders from end to end, again and again, and undoes it.
# Nothing here touches the memory itself: QEMU's window leads to none of ours.
same "memory device" "$(memdev_at 0d:00.0)" mem0

round()
{
	create_region -m -t ram -d decoder0.0 -w 1 -s 256M mem0
	same "size of $region" "$(($(cat "/sys/bus/cxl/devices/$region/size")))" $((256 << 20))
	decoder=/sys/bus/cxl/devices/decoder2.0
	same "decoder's start" "$(cat $decoder/start)" "$(cat "/sys/bus/cxl/devices/$region/resource")"
	same "decoder's size" "$(($(cat $decoder/size)))" $((256 << 20))
	same "decoder's capacity" "$(($(cat $decoder/dpa_size)))" $((256 << 20))
}

undo()
{
	destroy_region
	same "decoder's capacity afterwards" "$(($(cat $decoder/dpa_size)))" 0
}

round
tell committed "$(($(cat "/sys/bus/cxl/devices/$region/resource")))"
hear seen
undo
tell destroyed
hear seen
n=2
while [ $n -le 50 ]; do
	round
	undo
	n=$((n + 1))
done
no_warnings
