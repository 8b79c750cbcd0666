# SPDX-License-Identifier: BSD-3-Clause
# A guest hammers on the registers of its device at random.
device=0000:0d:00.0

tell accepting
hammer $device accept >/tmp/out || fail "$(cat /tmp/out)"
ask accepted "$(extents $device)"
# shellcheck disable=SC2086 # seed and seconds
set -- $answer
hammer $device "$1" registers "$2" >/tmp/out || fail "$(cat /tmp/out)"
tell hammered "$(cat /tmp/out)"
hear reset
hammer $device reset >/tmp/out || fail "$(cat /tmp/out)"
tell reset "$(extents $device)"
hear end
