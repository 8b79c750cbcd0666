# SPDX-License-Identifier: BSD-3-Clause
# Two devices, two ways: under one host bridge and under two, at two granularities; by whole pages it
# is memory, and no access is carried out by the machine.

# composed N: whether the machine has said of N regions what has become of them
composed()
{
	test "$(grep -c 'MiB at .*, interleaved .* are \(mapped\|slow\)' "$WORK/a.err")" = "$1"
}

start_pool
for device in dev0 dev1 dev2 dev3; do
	softdcd device add "$device" --ram 256M
done

for granularity in 256 4096; do
	start_guest a --device dev0 --device dev1 --device dev2 --device dev3 \
		--window dev0,dev1=1G --window "dev2/dev3@$granularity=1G"
	say a "$granularity"
	hear_from a committed
	if [ "$granularity" = 4096 ]; then
		until_true "$patience" composed 2
		if [ "$(cat /proc/sys/vm/max_map_count)" -ge 458752 ]; then
			same "regions that are memory" "$(grep -c ' are mapped' "$WORK/a.err")" 2
		else
			echo "slow for want of mappings: see vm.max_map_count"
		fi
	fi
	for device in 0 1 2 3; do
		same "decoder of dev$device" \
			"$(value query-devices '.[0].decoders | map([.len, .ways, .granularity]) | tostring' \
				"{\"id\": \"dev$device\"}")" "[[536870912,2,$granularity]]"
	done
	say a seen
	finish_guest a
done
stop_pool
