# SPDX-License-Identifier: BSD-3-Clause
# Persistent capacity: labels are kept by the device, and regions of it come and go.
same "memory device" "$(memdev_at 0d:00.0)" mem0
cxl list -M -I >/tmp/list 2>&1 || fail "cxl list: $(cat /tmp/list)"
same "pmem size" "$(json /tmp/list pmem_size)" $((512 << 20))

dd if=/dev/urandom of=/tmp/labels bs=4096 count=32 2>/dev/null
cxl disable-memdev -f mem0 >/tmp/out 2>&1 || fail "disable-memdev: $(cat /tmp/out)"
# Linux 6.1: labels are in use as long as the bridge is, whether the device is or not.
bridge=/sys/bus/cxl/drivers/cxl_nvdimm_bridge
bound=
if [ -e $bridge/unbind ]; then
	bound=1
	echo nvdimm-bridge0 >$bridge/unbind
fi
cxl write-labels -i /tmp/labels mem0 >/tmp/out 2>&1 || fail "write-labels: $(cat /tmp/out)"
cxl read-labels -o /tmp/read mem0 >/tmp/out 2>&1 || fail "read-labels: $(cat /tmp/out)"
cmp /tmp/labels /tmp/read || fail "other labels were read than written"
cxl zero-labels mem0 >/tmp/out 2>&1 || fail "zero-labels: $(cat /tmp/out)"
cxl read-labels -o /tmp/read mem0 >/tmp/out 2>&1 || fail "read-labels: $(cat /tmp/out)"
head -c 131072 /dev/zero | cmp - /tmp/read || fail "labels are not zero"
test -z "$bound" || echo nvdimm-bridge0 >$bridge/bind || fail "the bridge does not come back"
cxl enable-memdev mem0 >/tmp/out 2>&1 || fail "enable-memdev: $(cat /tmp/out)"

same "memory device again" "$(memdev_at 0d:00.0)" mem0
n=0
while [ $n -lt 50 ]; do
	create_region -m -t pmem -d decoder0.0 -w 1 -s 256M mem0
	destroy_region
	n=$((n + 1))
done
no_warnings
