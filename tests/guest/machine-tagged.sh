# SPDX-License-Identifier: BSD-3-Clause
# Tagged memory in a guest: several extents of one backend, seen from both sides, measured beside
# the guest's own, taken back while a CPU reads it, and what is not accepted.
first=5be1f00d-2a6b-4f43-9c1e-000000000001
second=5be1f00d-2a6b-4f43-9c1e-000000000002
third=5be1f00d-2a6b-4f43-9c1e-000000000003
m=$((1 << 20))

has_missed_reads()
{
	softdcd list -D --json --device dev0 | jq -e '[.. | ."missed-reads"? // 0] | max > 0' >/dev/null
}

start_pool
softdcd device add dev0 --dc 1G
softdcd device add dev1 --dc 1G
softdcd backend add first --type file --path "$WORK/first" --size 256M --tag $first
softdcd backend add second --size 64M --tag $second
softdcd backend add third --size 64M --tag $third
# What was there before any guest.
guest-peek "file:$WORK/first@0:$((64 * m))" fill 100
guest-peek "file:$WORK/first@$((64 * m)):$((64 * m))" fill 101
guest-peek "file:$WORK/first@$((128 * m)):$((128 * m))" fill 102

memory=1G
start_guest a --device dev0
hear_from a empty
# The extents lie apart, and not in order: the tag's order is theirs.
offer dev0 --tag $first --extent 512M:64M --extent 0:64M --extent 256M:128M
hear_from a filled
guest-peek "file:$WORK/first@0:$((64 * m))" check 200
guest-peek "file:$WORK/first@$((64 * m)):$((64 * m))" check 201
guest-peek "file:$WORK/first@$((128 * m)):$((128 * m))" check 202
softdcd release dev0 --tag $first --wait
say a released
hear_from a gone
offer dev0 --tag $first --policy contiguous
hear_from a measured
softdcd release dev0 --tag $first --wait
printf '{"figure": "machine-tagged", "result": %s}\n' "$said"

# The next tenant of the same memory is a host that fills it with a pattern of its own.
offer dev0 --tag $second
hear_from a watching
softdcd release dev0 --tag $second --wait
softdcd host --device dev1 --check 7 --json >"$WORK/host.out" 2>"$WORK/host.err" </dev/null &
host=$!
offer dev1 --tag $second
until_true 180 grep -q '"accepted"' "$WORK/host.out"
say a stop
hear_from a watched
kill $host
wait $host || fail "the second host: exit code $?"
echo "$said" | jq -e '.others == 0 and (.watched | map(.[0]) | sort) ==
	["5a5a5a5a5a5a5a5a", "ffffffffffffffff"]' >/dev/null || fail "a guest has seen $said"

# Taken away by force, while the guest reads it.
offer dev0 --tag $third
hear_from a watching-again
softdcd release dev0 --tag $third --force --wait
say a stop
hear_from a watched-again
echo "$said" | jq -e '.others == 0 and (.watched | map(.[0]) | sort) ==
	["5a5a5a5a5a5a5a5a", "ffffffffffffffff"]' >/dev/null || fail "a guest has seen $said"
# The machine tells now and then, as long as there is one.
until_true 180 has_missed_reads
say a counted
finish_guest a
same "extents" "$(value query-extents length)" 0
stop_pool
