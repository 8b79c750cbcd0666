# SPDX-License-Identifier: BSD-3-Clause
# The stock drivers bind without complaint, and the tools show the device as it was configured.
memdev=/sys/bus/cxl/devices/mem0
until_true 60 test -e $memdev
same "driver of 0d:00.0" "$(basename "$(readlink /sys/bus/pci/devices/0000:0d:00.0/driver)")" cxl_pci
same "driver of mem0" "$(basename "$(readlink $memdev/driver)")" cxl_mem
until_true 60 test -e /sys/bus/cxl/devices/endpoint2/driver

cxl list -vvv >/tmp/list 2>/tmp/list.err || fail "cxl list: $(cat /tmp/list.err)"
cat /tmp/list
same "serial number" "$(json /tmp/list serial)" $((0x5dcd0001))
same "ram size" "$(json /tmp/list ram_size)" $((512 << 20))
same "total size" "$(json /tmp/list total_size)" $((512 << 20))
same "volatile size" "$(json /tmp/list volatile_only_size)" $((512 << 20))
same "persistent size" "$(json /tmp/list persistent_only_size)" 0
same "firmware" "$(json /tmp/list firmware_version | cut -d' ' -f1)" softdcd
same "media" "$(json /tmp/list media_normal) $(json /tmp/list media_not_ready)" "true false"
same "maintenance needed" "$(json /tmp/list maintenance_needed)" false
grep -q '"dport":"0000:0c:00.0"' /tmp/list || fail "no root port in the tree"
same "endpoint decoders" "$(grep -c '"decoder":"decoder2\.' /tmp/list)" 10
same "committed decoders" "$(json /tmp/list decoders_committed)" 0

lspci -vvv -s 0d:00.0 >/tmp/lspci 2>/dev/null
cat /tmp/lspci
for capability in 'Express (v2) Endpoint' MSI-X 'Advanced Error' 'Serial Number 00-00-00-00-5d-cd-00-01' \
	'PCIe DVSEC for CXL Devices' 'GPF DVSEC' 'Flex Bus Port' 'Register Locator DVSEC' \
	'Data Object Exchange'; do
	grep -qF "$capability" /tmp/lspci || fail "lspci does not show '$capability'"
done
for word in '<?>' '!!!' 'Unknown' 'unassigned' 'disabled]'; do
	! grep -nF "$word" /tmp/lspci || fail "lspci prints '$word'"
done
# Linux: events came with 6.3.
if [ -d /sys/kernel/tracing/events/cxl/cxl_general_media ]; then
	grep -q 'MSI-X: Enable+' /tmp/lspci || fail "the driver uses no interrupt"
fi

# CDAT through DOE: a table that is whole and right is what the kernel shows.
cdat=/sys/bus/cxl/devices/endpoint2/CDAT
same "length in CDAT's header" "$(od -An -tu4 -N4 $cdat | tr -d ' ')" "$(wc -c <$cdat)"
same "sum of CDAT's bytes" $(($(od -An -v -tu1 $cdat | tr -s ' \n' '+' | sed 's/^+//; s/+$//') & 255)) 0
no_warnings
