# SPDX-License-Identifier: BSD-3-Clause
# A thousand times offered, accepted, released: nothing is left behind, in the guest's machine nor
# in the pool.
rounds=1000
tag=5be1f00d-2a6b-4f43-9c1e-000000000001
start_pool
softdcd device add dev0 --dc 1G --hold off
softdcd backend add b1 --size 32M --tag $tag
start_guest a --device dev0
hear_from a ready

# used PID: descriptors, mappings and resident KiB of a process; RAM of guests does not count
used()
{
	echo "$(ls "/proc/$1/fd" | wc -l) $(wc -l <"/proc/$1/maps")" \
		"$(awk '/^Rss(Anon|File):/ { sum += $2 } END { print sum }' "/proc/$1/status")"
}

# cycle ROUNDS: four extents, so four slots, files and mappings each time
cycle()
{
	host-cycle "$XDG_RUNTIME_DIR/softdcd/default/qmp.sock" dev0 $tag "$1" 4
}

cycle 20 # what is allocated once is allocated then
# shellcheck disable=SC2154 # set by start_guest
machine=$a_pid
before_machine=$(used "$machine") before_pool=$(used "$pool_pid")
for part in 1 2 3 4; do
	cycle $(((rounds - 20) / 4))
	echo "$part of 4 parts" # who waits for this test wants to hear something now and then
done
echo "machine: $before_machine, then $(used "$machine"); pool: $before_pool, then $(used "$pool_pid")"

# no_more WHAT BEFORE AFTER: not more descriptors or mappings, nor much more memory
no_more()
{
	# shellcheck disable=SC2086 # six numbers
	set -- "$1" $2 $3
	test "$5" -le $(($2 + 2)) || fail "$1: $5 descriptors instead of $2"
	test "$6" -le $(($3 + 8)) || fail "$1: $6 mappings instead of $3"
	test "$7" -le $(($4 + 2048)) || fail "$1: $7 KiB instead of $4"
}
no_more machine "$before_machine" "$(used "$machine")"
no_more pool "$before_pool" "$(used "$pool_pid")"
say a "$rounds"
finish_guest a
stop_pool
