# SPDX-License-Identifier: BSD-3-Clause
# Devices below switches: regions interleave over a switch's ports, over switches, and over both.
a=$(memdev_at 0f:00.0)
b=$(memdev_at 10:00.0)
c=$(memdev_at 13:00.0)
d=$(memdev_at 14:00.0)

cxl list -vvv >/tmp/list 2>&1 || fail "cxl list: $(cat /tmp/list)"
same "number of ports to switches and devices" "$(grep -c '"dport":"0000:' /tmp/list)" 6

# each TYPE COMMAND...: the command with each kind of interleaving that the machine has
each()
{
	type=$1
	shift
	"$@" "$type" 1 256 decoder0.0 "$d"
	"$@" "$type" 2 1024 decoder0.0 "$a" "$b"
	"$@" "$type" 2 256 decoder0.0 "$c" "$a"
	"$@" "$type" 4 512 decoder0.0 "$a" "$c" "$b" "$d"
}

ask types
for type in $answer; do
	each "$type" show_interleaved
	each "$type" repeat_interleaved
done
no_warnings
