# SPDX-License-Identifier: BSD-3-Clause
# Directories in the guest: read and written, also into memory that a device lends. A daemon that
# does not let go of that memory is ended, and one whose machine ends abruptly ends with it.
start_pool
softdcd device add dev0 --ram 512M
share=$WORK/share
mkdir -p "$share/empty" "$WORK/more"
dd if=/dev/urandom of="$share/big" bs=1M count=8 2>/dev/null
md5sum <"$share/big" >"$share/sum"
echo "of more" >"$WORK/more/file"

# daemons PID: all processes that this one has started, and theirs
daemons()
{
	# shellcheck disable=SC2013 # words, not lines
	for child in $(cat "/proc/$1/task"/*/children 2>/dev/null); do
		echo "$child"
		daemons "$child"
	done
}

# find_daemons PID: sets $pids to its daemons, of which there must be some
find_daemons()
{
	pids=$(daemons "$1")
	test -n "$pids" || fail "softdcd run has no daemons"
}

# wait_ended PIDS...: until all of them have
wait_ended()
{
	for pid in "$@"; do
		until_true 180 has_ended "$pid"
	done
}

start_guest a --device dev0 --share "$share" --share "$WORK/more:second tag"
hear_from a copied
cmp "$share/big" "$share/copy" || fail "what the guest wrote is not what it read"
test ! -e "$share/empty" || fail "the directory is still there"
same "new file" "$(cat "$WORK/more/new")" "of the guest"
echo copied
say a seen

for round in 1 2; do
	hear_from a "round$round"
	echo "round $round"
done

# The one that serves the first directory no longer answers.
hear_from a quiet
find_daemons "$a_pid"
# shellcheck disable=SC2086 # a list
kill -STOP $pids
say a stopped
hear_from a destroyed
# shellcheck disable=SC2086
wait_ended $pids
grep -q 'let go of the guest.s memory: it does not answer in time' "$WORK/a.err" ||
	fail "nothing is said of a daemon that does not answer"
same "decoders" "$(value query-devices '.[0].decoders | length')" 0
say a seen
finish_guest a

start_guest b --share "$share"
hear_from b ready
find_daemons "$b_pid"
kill -KILL "$b_pid"
# shellcheck disable=SC2086
wait_ended $pids
wait "$b_pid" || true

# The host's root as the guest's; below /tmp it has only what is shared there.
echo "of the host" >"$WORK/more/file"
# shellcheck disable=SC2016 # the guest's words
softdcd run --kernel "$KERNEL" --memory 512M --root / --share "$WORK/more" -- sh -c \
	'grep -q " / virtiofs " /proc/mounts && cat "$1/file" && echo gone >"$1/gone"' \
	sh "$WORK/more" </dev/null >"$WORK/c.out" 2>"$WORK/c.err" || fail "exit code $? with --root /"
same "output" "$(cat "$WORK/c.out")" "of the host"
same "file from the guest" "$(cat "$WORK/more/gone")" gone
stop_pool
