# SPDX-License-Identifier: BSD-3-Clause
# The driver leaves and comes back, and so does the device; neither leaves anything behind.
address=0d:00.0
device=/sys/bus/pci/devices/0000:$address
driver=/sys/bus/pci/drivers/cxl_pci

# works WHEN: the device is there and answers commands
works()
{
	memdev=$(memdev_at $address)
	cxl list -m "$memdev" -H >/tmp/list 2>&1 || fail "cxl list, $1: $(cat /tmp/list)"
	same "health, $1" "$(json /tmp/list media_normal)" true
	same "serial number, $1" "$(json /tmp/list serial)" $((0x5dcd0001))
}

no_memdevs()
{
	! ls -d /sys/bus/cxl/devices/mem* /sys/bus/cxl/devices/endpoint* >/dev/null 2>&1
}

works "after boot"
n=1
while [ $n -le 50 ]; do
	echo 0000:$address >$driver/unbind
	no_memdevs || fail "something is there without driver: $(ls /sys/bus/cxl/devices)"
	echo 0000:$address >$driver/bind || fail "bind $n"
	works "after bind $n"
	n=$((n + 1))
done

n=1
while [ $n -le 10 ]; do
	echo 1 >$device/remove
	test ! -e $device || fail "the device is not gone"
	no_memdevs || fail "something is there without device: $(ls /sys/bus/cxl/devices)"
	echo 1 >/sys/bus/pci/rescan
	until_true 60 test -e $device/driver
	works "after rescan $n"
	n=$((n + 1))
done

# While a region is committed
if [ -e /sys/bus/cxl/devices/decoder0.0/create_ram_region ]; then
	create_region -m -t ram -d decoder0.0 -w 1 -s 256M "$memdev"
	ask committed
	echo 1 >$device/remove
	ask removed
	# The tool finds no region without its device.
	echo "$region" >/sys/bus/cxl/devices/decoder0.0/delete_region
	echo 1 >/sys/bus/pci/rescan
	until_true 60 test -e $device/driver
	works "after all"
	create_region -m -t ram -d decoder0.0 -w 1 -s 256M "$memdev"
	ask committed
fi
no_warnings
