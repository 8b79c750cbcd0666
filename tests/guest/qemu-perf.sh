# SPDX-License-Identifier: BSD-3-Clause
# What CDAT says of speed arrives in sysfs and in what cxl list prints, and iasl can read the table.
plain=$(memdev_at 0d:00.0)
slow=$(memdev_at 0e:00.0)
for address in 0d:00.0 0e:00.0; do
	od -An -v -tx1 "/sys/bus/cxl/devices/$(endpoint_at $address)/CDAT" | tr -d ' \n' >/tmp/cdat
	tell cdat "$(cat /tmp/cdat)"
done

cxl list -M >/tmp/list
for memdev in "$plain" "$slow"; do
	for partition in ram pmem; do
		same "class of $partition of $memdev" \
			"$(cat "/sys/bus/cxl/devices/$memdev/$partition/qos_class")" 0
		same "classes of $partition in cxl list" \
			"$(grep -c "\"${partition}_qos_class\":0" /tmp/list)" 2
	done
done

# speed_of MEMDEV ROOT: what the kernel makes of it, which it says of memory that is online only.
# For the moment in which a block is, nothing can want it: QEMU's window leads nowhere.
speed_of()
{
	create_region -m -t ram -d "$2" -w 1 -s 256M "$1"
	block=$((0x$(cat /sys/devices/system/memory/block_size_bytes)))
	memory=$(($(cat "/sys/bus/cxl/devices/$region/resource") / block))
	state=/sys/devices/system/memory/memory$memory/state
	until_true 60 test -e $state
	echo online_movable >$state
	access=/sys/bus/cxl/devices/$region/access0
	until_true 60 test -e "$access"
	read_latency=$(cat "$access/read_latency")
	write_latency=$(cat "$access/write_latency")
	bandwidth="$(cat "$access/read_bandwidth") $(cat "$access/write_bandwidth")"
	echo offline >$state
}

speed_of "$plain" decoder0.0
same "bandwidth of $plain" "$bandwidth" "16000 16000"
way=$((read_latency - 150)) # 20 ns to the host bridge, and the link to the device
{ test $way -ge 20 && test $way -lt 60; } || fail "$plain is read in $read_latency ns"
same "time to write to $plain" "$write_latency" $((150 + way))

speed_of "$slow" decoder0.1
same "bandwidth of $slow" "$bandwidth" "4000 4000"
same "time to read from $slow" "$read_latency" $((400 + way))
same "time to write to $slow" "$write_latency" $((550 + way))
no_warnings
