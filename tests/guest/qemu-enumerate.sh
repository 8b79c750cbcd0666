# SPDX-License-Identifier: BSD-3-Clause
# The stock drivers bind without complaint, and the tools show the device as it was configured.
memdev=/sys/bus/cxl/devices/$(memdev_at 0d:00.0)
endpoint=/sys/bus/cxl/devices/$(endpoint_at 0d:00.0)
same "driver of 0d:00.0" "$(basename "$(readlink /sys/bus/pci/devices/0000:0d:00.0/driver)")" cxl_pci
same "driver of mem0" "$(basename "$(readlink "$memdev/driver")")" cxl_mem
same "driver of the endpoint" "$(basename "$(readlink "$endpoint/driver")")" cxl_port
same "size of labels" "$(cat "$memdev/label_storage_size")" $((256 << 10))

cxl list -vvv >/tmp/list 2>/tmp/list.err || fail "cxl list: $(cat /tmp/list.err)"
tell tree "$(tr -d '\n' </tmp/list)"

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
cdat=$endpoint/CDAT
same "length in CDAT's header" "$(od -An -tu4 -N4 "$cdat" | tr -d ' ')" "$(wc -c <"$cdat")"
same "sum of CDAT's bytes" $(($(od -An -v -tu1 "$cdat" | tr -s ' \n' '+' | sed 's/^+//; s/+$//') & 255)) 0
no_warnings
