# SPDX-License-Identifier: BSD-3-Clause
# Regions over two and four devices, below one host bridge and below two, of both kinds of memory.
# decoder0.0 leads to the first bridge, decoder0.1 alternates between both each 256 bytes.
a=$(memdev_at 0d:00.0)
b=$(memdev_at 0e:00.0)
c=$(memdev_at 1d:00.0)
d=$(memdev_at 1e:00.0)

# each TYPE COMMAND...: the command with each kind of interleaving that the machine has
each()
{
	type=$1
	shift
	for granularity in 256 1024 16384; do
		"$@" "$type" 2 $granularity decoder0.0 "$a" "$b"
	done
	"$@" "$type" 2 256 decoder0.0 "$b" "$a"
	"$@" "$type" 2 256 decoder0.1 "$a" "$c"
	"$@" "$type" 2 256 decoder0.1 "$b" "$d"
	"$@" "$type" 4 256 decoder0.1 "$a" "$c" "$b" "$d"
}

ask types
for type in $answer; do
	each "$type" show_interleaved
	n=0
	while [ $n -lt 7 ]; do # with the 7 above more than 50 rounds
		each "$type" repeat_interleaved
		n=$((n + 1))
	done
done
no_warnings
