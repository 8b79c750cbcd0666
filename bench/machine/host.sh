# SPDX-License-Identifier: BSD-3-Clause
# Starts measured guests, ours and QEMU's; prints "@figure NAME JSON" for each result of $ONLY, or for
# all.  $KERNEL, $INITRD and $QEMU are given, and what the tests' host-functions offer.
tag=5be1f00d-2a6b-4f43-9c1e-000000000001
cycled_tag=5be1f00d-2a6b-4f43-9c1e-000000000002
cmdline="panic=-1 quiet"
rounds=7

# run_ours WHAT OPTIONS...: a guest that measures this; in a process of its own, which it becomes
run_ours()
{
	what=$1
	shift
	exec softdcd run --kernel "$KERNEL" --initrd "$INITRD" --cpus 1 --memory 1G \
		--append "$cmdline bench=$what" "$@" </dev/null
}

# run_qemu WHAT OPTIONS...: the same in QEMU; the RAM is a shared file as ours is. Linux gives up where
# an emulated host is too slow for its check of QEMU's timer.
run_qemu()
{
	what=$1
	shift
	exec $QEMU -nodefaults -no-user-config -display none -no-reboot -serial stdio -accel kvm \
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

# measured NAME COMMAND...: what its guest measures, and the host's pages meanwhile; without a result
# the others go on
measured()
{
	name=$1
	shift
	wanted "$name" || return 0
	: >"$WORK/console"
	"$@" >"$WORK/console" 2>&1 &
	guest=$! polls=0
	(until_true 1500 is_done) || true
	line=$(tr -d '\r' <"$WORK/console" | sed -n 's/^@result //p')
	if [ -n "$line" ]; then
		echo "@figure $name {\"guest\": $line, \"host\": $(host_pages $guest)}"
	else
		echo "@missing $name"
		tail -n 40 "$WORK/console"
	fi
	kill $guest 2>/dev/null || true
	wait $guest || true
}

# Who waits for this host wants to hear of it.
is_done()
{
	polls=$((polls + 1))
	test $((polls % 50)) != 0 || echo "waiting for $name"
	grep -q '^@done' "$WORK/console" || has_ended "$guest"
}

# wanted NAME: whether this figure is asked for; all are if none is
wanted()
{
	case " ${ONLY:-$1} " in
	*" $1 "*) ;;
	*) return 1 ;;
	esac
}

# host_pages PID: of the guest's own memory and of its devices': how many percent are mapped in huge
# pages here. The first is the larger, and the only file of memory in one piece that is so.
host_pages()
{
	awk '
		/^[0-9a-f]+-/ { counts = $6 ~ /memfd:/ && $6 !~ /memfd:softdcd-/ }
		/^Size:/ { what = $2 > 512 * 1024 ? "ordinary" : "memory" }
		!counts { next }
		/^(Rss|Shared_Hugetlb|Private_Hugetlb):/ { all[what] += $2 }
		/^(ShmemPmdMapped|Shared_Hugetlb|Private_Hugetlb):/ { huge[what] += $2 }
		END {
			printf "{"
			for (what in all)
				printf "%s\"%s\": %d", n++ ? ", " : "", what,
				       all[what] ? huge[what] * 100 / all[what] : 0
			print "}"
		}' "/proc/$1/smaps"
}

# host_gives advise|never: huge pages for files in memory, or none; a real host stays as it is
host_gives()
{
	test -z "${EMULATED-}" || echo "$1" >/sys/kernel/mm/transparent_hugepage/shmem_enabled
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
softdcd device add cycled --dc 1G >/dev/null
softdcd device add ram0 --ram 256M >/dev/null
softdcd device add ram1 --ram 256M >/dev/null
softdcd backend add first --size 256M --tag $tag >/dev/null
softdcd backend add second --size 256M --tag $cycled_tag >/dev/null

host_gives advise
measured control run_ours control,0x10000000,$rounds
if wanted tagged; then
	softdcd offer dc --tag $tag --policy contiguous >/dev/null
	measured tagged run_ours "tagged,$tag,$rounds" --device dc
fi
# An interrupt among few accesses makes memory look slow, so it may look again.
measured static run_ours region,1,256,$rounds,600 --device ram0
# shellcheck disable=SC2046,SC2086 # words
measured static-qemu run_qemu region,1,256,$rounds,600 -M "$machine,$window" $bridge $(type3 0)

measured interleaved-256 run_ours region,2,256,$rounds,0 \
	--device ram0 --device ram1 --window ram0,ram1=1G
# Mapped granule by granule, after a while, and so in small pages.
host_gives never
measured interleaved-4096 run_ours region,2,4096,$rounds,600 \
	--device ram0 --device ram1 --window ram0,ram1=1G
host_gives advise
for granularity in 256 4096; do
	# shellcheck disable=SC2046,SC2086
	measured interleaved-$granularity-qemu run_qemu region,2,$granularity,$rounds,0 \
		-M "$machine,$window" $bridge $(type3 0) $(type3 1)
done

# Turn by turn, so that what else this host does meets both alike.
for round in 1 2 3; do
	wanted boot || break
	ours=$(until_init run_ours nothing)
	theirs=$(until_init run_qemu nothing -M $machine)
	if [ -n "$ours" ] && [ -n "$theirs" ]; then
		echo "@figure boot-$round [$ours, $theirs]"
	else
		echo "@missing boot-$round"
	fi
done

if wanted accept; then
	run_ours serve --device cycled >"$WORK/serving" &
	guest=$!
	until_true 300 grep -q @serving "$WORK/serving"
	host-cycle "$XDG_RUNTIME_DIR/softdcd/default/qmp.sock" cycled $cycled_tag 200 1 >"$WORK/cycle"
	echo "@figure accept $(cat "$WORK/cycle")"
	echo "@figure resident $(resident "$guest")"
	kill $guest
	wait $guest || true
fi
stop_pool
