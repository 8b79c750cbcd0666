# SPDX-License-Identifier: BSD-3-Clause
# The stock drivers find a device that works as any other, and hammer reads its extents.
device=0000:0d:00.0
memdev=$(memdev_at 0d:00.0)
cxl list -M -H -m "$memdev" >/tmp/list 2>&1 || fail "cxl list: $(cat /tmp/list)"
same "health" "$(json /tmp/list media_normal) $(json /tmp/list maintenance_needed)" "true false"
create_region -m -t ram -d decoder0.0 -w 1 -s 256M "$memdev"
destroy_region
no_warnings
echo $device >/sys/bus/pci/drivers/cxl_pci/unbind
tell sane "$(extents $device)"
