# SPDX-License-Identifier: BSD-3-Clause
# A stock kernel comes up, sees what the machine is made of, runs a command, and ends as it should.
start_pool
softdcd device add dev0 --ram 512M --dc 1G
softdcd device add dev1 --dc 1G
start_guest a --device dev0 --device dev1
finish_guest a

# run CODE OPTIONS...: softdcd run with exit code CODE
run()
{
	want=$1 code=0
	shift
	softdcd run --kernel "$KERNEL" --memory 256M --cpus 1 "$@" 2>"$WORK/run.err" || code=$?
	test "$code" = "$want" || fail "softdcd run $*: exit code $code, not $want" >&2
	echo "$*: exit code $code" >&2
}

# Input, output, errors and exit code are the command's own, byte for byte.
dd if=/dev/urandom of="$WORK/in" bs=1000 count=20 2>/dev/null
# shellcheck disable=SC2016 # the guest's words
run 7 -- sh -c 'cat; echo "to stderr" >&2; exit 7' <"$WORK/in" >"$WORK/out"
cmp "$WORK/in" "$WORK/out" || fail "output is not input"
grep -q '^to stderr$' "$WORK/run.err" || fail "stderr is lost"

run 0 -- sh -c 'echo arguments: "$@"' sh 'a  b' "it's" >"$WORK/out" </dev/null
same "output of echo" "$(cat "$WORK/out")" "arguments: a  b it's"

# How a guest ends is told apart.
code=0
softdcd run --kernel "$KERNEL" --memory 256M --cpus 1 --append panic=0 -- \
	sh -c 'echo c >/proc/sysrq-trigger' </dev/null >"$WORK/out" 2>"$WORK/run.err" || code=$?
same "exit code after a panic" $code 12
grep -q sysrq "$WORK/run.err" || fail "the console is not shown after a panic"
stop_pool
