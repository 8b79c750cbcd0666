# SPDX-License-Identifier: BSD-3-Clause
# Two machines on one pool: a tag moves from the first to the second, and its contents go with it
# only if its backend keeps them.
wiped=5be1f00d-2a6b-4f43-9c1e-000000000001
kept=5be1f00d-2a6b-4f43-9c1e-000000000002
start_pool
softdcd device add dev0 --dc 1G
softdcd device add dev1 --dc 1G
softdcd backend add wiped --size 64M --tag $wiped
softdcd backend add kept --size 64M --tag $kept --on-release keep
start_guest a --device dev0
start_guest b --device dev1
offer dev0 --tag $wiped
offer dev0 --tag $kept
hear_from a written
! softdcd offer dev1 --tag $kept || fail "memory is offered that somebody has"
softdcd release dev0 --tag $wiped --wait
softdcd release dev0 --tag $kept --wait
say a released # only now its memory is gone: an answer to the guest does not wait for that for long
hear_from a gone
offer dev1 --tag $wiped
offer dev1 --tag $kept
say b offered
hear_from b seen
finish_guest a
finish_guest b
# A machine that has ended holds nothing, as its agent has given back.
same "accepted bytes" "$(value query-pool .bytes.accepted)" 0
stop_pool
