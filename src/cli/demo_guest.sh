# SPDX-License-Identifier: BSD-3-Clause
# What "softdcd demo" runs in its Linux guest; demo_guest.c says with what devices.  $TAG is the tag
# on offer; $1 is json if figures are wanted instead of a story.  Kernel interfaces only, so that
# nothing need be installed.

cxl=/sys/bus/cxl/devices

story=$1
static=null

say()
{
	test "$story" != json || return 0
	printf '%7s  %s\n' "$(cut -d ' ' -f 1 /proc/uptime)" "$*"
}

fail()
{
	echo "the guest's part of the demo failed: $*" >&2
	dmesg | tail -n 20 >&2
	exit 1
}

# until_true COMMAND...: repeat it for at most a minute
until_true()
{
	end=$(($(cut -d . -f 1 /proc/uptime) + 60))
	until "$@"; do
		test "$(cut -d . -f 1 /proc/uptime)" -lt $end || fail "still not: $*"
		usleep 50000
	done
}

has_any()
{
	test -e "$1"
}

# ---- the static device

make_region()
{
	root=$cxl/decoder0.0
	endpoint=$(basename "$cxl"/endpoint*)
	decoder=$cxl/decoder${endpoint#endpoint}.0
	len=$(cat $cxl/mem0/ram/size)
	region=$(cat $root/create_ram_region)
	echo "$region" >$root/create_ram_region
	echo 256 >"$cxl/$region/interleave_granularity"
	echo 1 >"$cxl/$region/interleave_ways"
	echo "$len" >"$cxl/$region/size"
	echo ram >"$decoder/mode"
	echo "$len" >"$decoder/dpa_size"
	basename "$decoder" >"$cxl/$region/target0"
	echo 1 >"$cxl/$region/commit" || fail "the kernel does not commit the region"
	echo "$region" >/sys/bus/cxl/drivers/cxl_region/bind
}

node_has_memory()
{
	grep -q 'MemTotal: *[1-9]' "/sys/devices/system/node/node$node/meminfo"
}

# fill_node NODE: a file of 16 MiB in this node's memory, $dir/file, with what the other node's has
fill_node()
{
	dir=/tmp/node$1
	mkdir -p "$dir"
	mount -t tmpfs -o "size=96M,mpol=bind:$1" "node$1" "$dir"
	cp /tmp/pattern "$dir/file"
	same=$(sha256sum <"$dir/file")
	test "$same" = "$(sha256sum </tmp/pattern)" || fail "node $1 does not keep what is written"
}

# ticks: hundredths of a second
ticks()
{
	awk '{ print int($1 * 100) }' /proc/uptime
}

# timed COUNT COMMAND...: the ticks that so many times take
timed()
{
	left=$1
	shift
	begin=$(ticks)
	while [ "$left" -gt 0 ]; do
		"$@"
		left=$((left - 1))
	done
	echo $(($(ticks) - begin))
}

copy_from()
{
	dd "if=/tmp/node$1/file" of=/dev/null bs=4M 2>/dev/null
}

copy_to()
{
	dd if=/dev/zero "of=/tmp/node$1/file" bs=4M count=4 conv=notrunc 2>/dev/null
}

# ratio_of DIRECTION: ordinary memory's time by the region's, so often that it can be seen; the
# median of five turns. The first ones take longer, whatever memory it is.
ratio_of()
{
	count=4
	until [ "$(timed $count "copy_$1" 0)" -ge 40 ] && [ "$(timed $count "copy_$1" "$node")" -ge 40 ] &&
		[ "$(timed $count "copy_$1" 0)" -ge 40 ]; do
		count=$((count * 2))
	done
	for _ in 1 2 3 4 5; do
		echo "$(timed $count "copy_$1" 0) $(timed $count "copy_$1" "$node")"
	done | awk '{ printf "%.2f\n", $1 / $2 }' | sort -n | sed -n 3p
}

use_region()
{
	until_true has_any /sys/bus/dax/devices/dax0.0/target_node
	node=$(cat /sys/bus/dax/devices/dax0.0/target_node)
	until_true node_has_memory
	say "it is memory of node $node: $(sed -n 's/.*MemTotal: *//p' "/sys/devices/system/node/node$node/meminfo")"
	dd if=/dev/urandom of=/tmp/pattern bs=1M count=16 2>/dev/null
	fill_node 0
	fill_node "$node"
	say "16 MiB written and read back, the same"
	read=$(ratio_of from)
	write=$(ratio_of to)
	static="{\"len\": $((len)), \"ratio\": {\"read\": $read, \"write\": $write}}"
	say "copying, beside ordinary memory: read $read x, write $write x"
	umount /tmp/node0 "/tmp/node$node"
}

# Taking memory away is a wish: the kernel moves what is in it first.
is_offline()
{
	for block in "/sys/devices/system/node/node$node"/memory*/online; do
		test ! -e "$block" || test "$(cat "$block")" = 0 || echo 0 >"$block" 2>/dev/null ||
			return 1
	done
}

drop_region()
{
	until_true is_offline
	echo dax0.0 >/sys/bus/dax/drivers/kmem/unbind
	echo "$region" >/sys/bus/cxl/drivers/cxl_region/unbind
	echo 0 >"$cxl/$region/commit"
	echo "$region" >$root/delete_region
}

show_static()
{
	until_true has_any $cxl/mem0
	until_true ls -d $cxl/endpoint*/driver >/dev/null 2>&1
	say "the kernel's own driver found mem0: $(($(cat $cxl/mem0/ram/size) >> 20)) MiB of static memory"
	if [ ! -e $cxl/decoder0.0/create_ram_region ]; then
		say "this kernel makes no regions of it: it is older than 6.3"
		return
	fi
	make_region
	say "it made $region at $(cat "$cxl/$region/resource")"
	use_region
	drop_region
	say "taken offline and destroyed"
}

# ---- the dynamic device

show_dynamic()
{
	say "softdcd-agent takes the other device, which has nothing but dynamic capacity"
	softdcd-agent measure "$TAG" >/tmp/agent || fail "softdcd-agent: $(cat /tmp/agent)"
	grep -q '"event": *"accepted"' /tmp/agent || fail "nothing was accepted: $(cat /tmp/agent)"
	say "tag $TAG accepted and mapped"
	ratio=$(sed -n 's/.*"ratio": *{\([^}]*\)}.*/\1/p' /tmp/agent)
	len=$(sed -n 's/.*"event": *"measured".*[{,] *"len": *\([0-9]*\).*/\1/p' /tmp/agent)
	dynamic="{\"tag\": \"$TAG\", \"len\": $len, \"ratio\": {$ratio}}"
	say "beside ordinary memory: $(echo "$ratio" | tr -d '"' | sed 's/:/ /g; s/,/ x, /g') x"
	say "given back"
}

mkdir -p /tmp
echo online_movable >/sys/devices/system/memory/auto_online_blocks
say "Linux $(uname -r) is up"
show_static
show_dynamic
test "$story" != json ||
	echo "{\"kernel\": \"$(uname -r)\", \"static\": $static, \"dynamic\": $dynamic}"
