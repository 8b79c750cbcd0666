# SPDX-License-Identifier: BSD-3-Clause
# softdcd run with nothing else given: a shell in a guest with a pool of its own, which others reach
# by its name, and which ends with it.
mkfifo "$WORK/in"
softdcd run --kernel "$KERNEL" --memory 300M --dc 1G <"$WORK/in" >"$WORK/shell.out" 2>"$WORK/shell.err" &
pid=$!
exec 9>"$WORK/in"
pool=run-$pid

shows()
{
	! has_ended "$pid" || fail "softdcd run has ended"
	grep -q "$1" "$WORK/shell.out"
}

# What the greeting says is so.
until_true $patience shows 'ends the machine'
echo "greeted" # the test outside wants to hear something now and then
shows "of pool $pool offers 256 MiB" || fail "the greeting does not name the pool"
tag=$(softdcd list -O --pool "$pool" | jq -r '.offers[0].tag')
shows "with the tag $tag" || fail "the greeting does not name the tag"
same "offer" "$(softdcd list -O --pool "$pool" | jq -r '.offers[0].device')" dynamic0

# shellcheck disable=SC2016 # the guest's words
echo 'echo "<$TAG>"; tty; softdcd-agent probe >/tmp/probe; echo "probe: $?"' >&9
until_true 180 shows "^<$tag>"
until_true 180 shows '^probe: 0'
shows '^/dev/ttyS0' || fail "the shell has no terminal of its own"
echo "talked to the shell"
echo 'softdcd-agent >/tmp/log 2>&1 &' >&9
softdcd wait --pool "$pool" dynamic0 "$tag" accepted --timeout 280s >"$WORK/wait.out" ||
	fail "the tag was never accepted"
echo "accepted"
softdcd offer --pool "$pool" dynamic0 --size 128M --wait --timeout 280s >"$WORK/offer.out" ||
	fail "a second offer was not accepted"
same "accepted" "$(softdcd list -D --pool "$pool" | jq -r '.devices[0].bytes.accepted')" $((384 << 20))

echo "accepted more"
runtime=$(dirname "$(softdcd list -D --pool "$pool" | jq -r '.devices[0].sockets.vfio')")
echo 'exit' >&9
until_true $patience has_ended "$pid"
code=0
wait "$pid" || code=$?
same "exit code" "$code" 0
same "pools that are left" "$(pgrep -f "serve --ephemeral --name $pool" | wc -l)" 0
test ! -e "$runtime" || fail "$runtime is left"
