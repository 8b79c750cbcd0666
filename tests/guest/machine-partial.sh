# SPDX-License-Identifier: BSD-3-Clause
# Parts of an extent are given back while both CPUs read the rest in a way that KVM can carry out
# only where there is memory: the memory slot is replaced under them, and they do not notice.
tag=5be1f00d-2a6b-4f43-9c1e-000000000001
start_pool
softdcd device add dev0 --dc 256M
softdcd backend add kv --size 32M --tag $tag
start_guest a --device dev0
offer dev0 --tag $tag --policy contiguous
hear_from a reading
# Before, between and behind what is read at 2 and 16 MiB.
for at in 0 4 14 18 8 30 10 22 6 26; do
	softdcd release dev0 --extent "${at}M:2M" --wait
done
same "pieces" "$(value query-extents 'map([.dpa, .len] | map(. / 1048576)) | tostring')" \
	"[[2,2],[12,2],[16,2],[20,2],[24,2],[28,2]]"
say a stop
hear_from a checked
softdcd release dev0 --tag $tag --wait
until_true 180 sh -c 'test "$(softdcd list -B --json | jq -r ".. | .state? // empty")" = free'
say a released
finish_guest a
stop_pool
