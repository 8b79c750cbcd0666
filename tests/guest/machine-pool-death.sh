# SPDX-License-Identifier: BSD-3-Clause
# The pool dies under a running guest: its memory stays, the machine connects again, and a new pool
# process goes on where the old one was.
tag=5be1f00d-2a6b-4f43-9c1e-000000000001
late=5be1f00d-2a6b-4f43-9c1e-000000000002

is_resumed()
{
	test "$(value query-devices 'map(.resumed) | all')" = true
}

start_pool
softdcd device add dev0 --dc 1G
softdcd device add dev1 --ram 256M
softdcd backend add b1 --size 64M --tag $tag
softdcd backend add b2 --size 64M --tag $late
start_guest a --device dev0 --device dev1
offer dev0 --tag $tag
hear_from a ready

kill -KILL "$pool_pid"
wait "$pool_pid" || true
say a dead
hear_from a survived
start_pool
until_true 180 is_resumed
say a alive

# Capacity comes and goes as before.
same "state of the backend" "$(value query-backends '.[0].state' '{"id": "b1"}')" accepted
offer dev0 --tag $late
hear_from a late
softdcd release dev0 --tag $tag --wait
softdcd release dev0 --tag $late --wait
say a released
finish_guest a
stop_pool
