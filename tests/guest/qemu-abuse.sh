# SPDX-License-Identifier: BSD-3-Clause
# A guest sends its device commands that no driver would send.
device=0000:0d:00.0

ask seed
seed=$answer
tell accepting
hammer $device accept >/tmp/out || fail "$(cat /tmp/out)"
ask accepted "$(extents $device)"

hammer $device "$seed" mailbox "$answer" >/tmp/out || fail "$(cat /tmp/out)"
ask abused "$(extents $device)"

# While each of them runs, the command and its payload change and the doorbell is rung again.
hammer $device "$seed" disturb "$answer" >/tmp/out || fail "$(cat /tmp/out)"
ask disturbed "$(extents $device)"

hammer $device release >/tmp/out || fail "$(cat /tmp/out)"
tell released "$(extents $device)"
hear end
