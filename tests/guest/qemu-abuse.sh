# SPDX-License-Identifier: BSD-3-Clause
# A guest sends its device commands that no driver would send.
device=0000:0d:00.0

extents()
{
	hammer $device list >/tmp/list || fail "$(cat /tmp/list)"
	tr '\n' ';' </tmp/list
}

ask seed
seed=$answer
tell accepting
hammer $device accept >/tmp/out || fail "$(cat /tmp/out)"
ask accepted "$(extents)"

hammer $device "$seed" mailbox "$answer" >/tmp/out || fail "$(cat /tmp/out)"
ask abused "$(extents)"

# While each of them runs, the command and its payload change and the doorbell is rung again.
hammer $device "$seed" disturb "$answer" >/tmp/out || fail "$(cat /tmp/out)"
ask disturbed "$(extents)"

hammer $device release >/tmp/out || fail "$(cat /tmp/out)"
tell released "$(extents)"
hear end
