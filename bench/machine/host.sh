# SPDX-License-Identifier: BSD-3-Clause
# Starts measured guests, ours and QEMU's; prints "@figure NAME JSON" for each result.  $KERNEL,
# $INITRD and $QEMU are given, and what the tests' host-functions offer.
tag=5be1f00d-2a6b-4f43-9c1e-000000000001
cmdline="panic=-1 quiet"

# run_ours WHAT OPTIONS...: a guest that measures this; in a process of its own, which it becomes
run_ours()
{
	what=$1
	shift
	exec softdcd run --kernel "$KERNEL" --initrd "$INITRD" --cpus 1 --memory 1G \
		--append "$cmdline bench=$what" "$@" </dev/null
}

# run_qemu WHAT OPTIONS...: the same guest; its RAM is a shared file as ours is. Linux gives up where
# an emulated host is too slow for its check of QEMU's timer.
run_qemu()
{
	what=$1
	shift
	$QEMU -nodefaults -no-user-config -display none -no-reboot -serial stdio -accel kvm \
		-cpu host,-hypervisor -smp 1 -m 1G -object memory-backend-memfd,id=ram,size=1G,share=on \
		-kernel "$KERNEL" -initrd "$INITRD" -append "console=ttyS0 no_timer_check $cmdline bench=$what" "$@" </dev/null
}

machine=q35,memory-backend=ram
bridge='-device pxb-cxl,bus_nr=12,bus=pcie.0,id=cxl.1'
window=cxl=on,cxl-fmw.0.targets.0=cxl.1,cxl-fmw.0.size=4G

# type3 N: QEMU's own device below that bridge
type3()
{
	echo "-object memory-backend-memfd,id=ram$1,size=256M,share=on" \
		"-device cxl-rp,port=$1,bus=cxl.1,id=rp$1,chassis=0,slot=$(($1 + 2))" \
		"-device cxl-type3,bus=rp$1,volatile-memdev=ram$1,id=mem$1"
}

# result NAME: of the guest whose console this reads; without one the others go on
result()
{
	tr -d '\r' >"$WORK/console"
	line=$(sed -n 's/^@result //p' "$WORK/console")
	if [ -n "$line" ]; then
		echo "@figure $1 $line"
	else
		echo "@missing $1"
		tail -n 40 "$WORK/console"
	fi
}

# until_init COMMAND...: centiseconds from its start until its guest's first process says so
until_init()
{
	begin=$(awk '{ print int($1 * 100) }' /proc/uptime)
	"$@" | while read -r line; do
		case $line in
		*@init*) awk -v begin="$begin" '{ print int($1 * 100) - begin }' /proc/uptime ;;
		esac
	done
}

# resident PID: KiB of a process, without its guest's memory, which is files in memory
resident()
{
	awk '/^[0-9a-f]+-/ { counts = !/memfd:/ } /^Rss:/ && counts { sum += $2 } END { print sum }' \
		"/proc/$1/smaps"
}

start_pool
softdcd device add dc --dc 1G >/dev/null
softdcd device add ram0 --ram 256M >/dev/null
softdcd device add ram1 --ram 256M >/dev/null
softdcd backend add first --size 256M --tag $tag >/dev/null

softdcd offer dc --tag $tag --policy contiguous >/dev/null
run_ours "tagged,$tag" --device dc | result tagged

run_ours static,3 --device ram0 | result static
# shellcheck disable=SC2046,SC2086 # words
run_qemu static,3 -M "$machine,$window" $bridge $(type3 0) | result qemu-static

for granularity in 256 4096; do
	run_ours interleaved,2,$granularity,2000 --device ram0 --device ram1 --window ram0,ram1=1G |
		result interleaved-$granularity
	# shellcheck disable=SC2046,SC2086
	run_qemu interleaved,2,$granularity,500 -M "$machine,$window" $bridge $(type3 0) $(type3 1) |
		result qemu-interleaved-$granularity
done

# Turn by turn, so that what else this host does meets both alike.
for round in 1 2 3; do
	echo "@figure boot-$round [$(until_init run_ours nothing), $(until_init run_qemu nothing -M $machine)]"
done

run_ours serve --device dc >"$WORK/serving" &
guest=$!
until_true 300 grep -q @serving "$WORK/serving"
host-cycle "$XDG_RUNTIME_DIR/softdcd/default/qmp.sock" dc $tag 200 1 >"$WORK/cycle"
echo "@figure accept $(cat "$WORK/cycle")"
echo "@figure resident $(resident $guest)"
kill $guest
wait $guest || true
stop_pool
