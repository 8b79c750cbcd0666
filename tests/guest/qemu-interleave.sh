# SPDX-License-Identifier: BSD-3-Clause
# Regions over two and four devices, below one host bridge and below two, of both kinds of memory.
# decoder0.0 leads to the first bridge, decoder0.1 alternates between both each 256 bytes.
a=$(memdev_at 0d:00.0)
b=$(memdev_at 0e:00.0)
c=$(memdev_at 1d:00.0)
d=$(memdev_at 1e:00.0)

# round TYPE WAYS GRANULARITY ROOT MEMDEVS...
round()
{
	type=$1 ways=$2 granularity=$3 root=$4
	shift 4
	size=$((ways * 256 << 20))
	create_region -m -t "$type" -d "$root" -w "$ways" -g "$granularity" -s $size "$@"
	sysfs=/sys/bus/cxl/devices/$region
	same "size of $region" $(($(cat "$sysfs/size"))) $size
	same "ways of $region" "$(cat "$sysfs/interleave_ways")" "$ways"
	same "granularity of $region" "$(cat "$sysfs/interleave_granularity")" "$granularity"
	position=0
	for memdev in "$@"; do
		decoder=$(cat "$sysfs/target$position")
		case $(readlink -f "/sys/bus/cxl/devices/$decoder/../uport") in
		*/"$memdev") ;;
		*) fail "target $position of $region is $decoder, not of $memdev" ;;
		esac
		same "start of $decoder" "$(cat "/sys/bus/cxl/devices/$decoder/start")" \
			"$(cat "$sysfs/resource")"
		same "capacity of $decoder" $(($(cat "/sys/bus/cxl/devices/$decoder/dpa_size"))) \
			$((256 << 20))
		position=$((position + 1))
	done
}

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

shown()
{
	round "$@"
	ask committed "$1 $2 $3 $(($(cat "$sysfs/resource"))) $size"
	destroy_region
	ask destroyed
}

repeated()
{
	round "$@"
	destroy_region
}

ask types
for type in $answer; do
	each "$type" shown
	n=0
	while [ $n -lt 7 ]; do # with the 7 above more than 50 rounds
		each "$type" repeated
		n=$((n + 1))
	done
done
no_warnings
