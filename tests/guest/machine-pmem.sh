# SPDX-License-Identifier: BSD-3-Clause
# Persistent memory: a file system on it is there when the guest has rebooted, and after the pool was
# stopped.  The guest that reboots has its own memory in huge pages.
tag=5be1f00d-2a6b-4f43-9c1e-000000000001

# An emulated host has as many as the guest wants; a real one's are not ours.
emulated=
if [ -e /lib/guest/host-functions ]; then
	emulated=yes
	echo 256 >/proc/sys/vm/nr_hugepages
fi

# has_huge_pages N: whether so many are promised to nobody
has_huge_pages()
{
	test -z "$emulated" || test "$(awk '/^HugePages_Free:/ { n += $2 } /^HugePages_Rsvd:/ { n -= $2 }
		END { print n + 0 }' /proc/meminfo)" = "$1"
}

# start_shell OPTIONS...: guest a without a command, so that it may reboot; its shell runs the script
start_shell()
{
	mkdir -p "$WORK/more/etc"
	echo 'stty -opost; guest-test a; exit' >"$WORK/more/etc/profile"
	(cd "$WORK/more" && find . | cpio -o -H newc >"$WORK/more.cpio" 2>"$WORK/cpio.err")
	mkfifo "$WORK/a.in"
	softdcd run --kernel "$KERNEL" --initrd-add "$TOOLS" --initrd-add "$WORK/more.cpio" --memory 512M \
		--cpus 2 "$@" <"$WORK/a.in" >"$WORK/a.out" 2>"$WORK/a.err" &
	a_pid=$! a_fd=$next_fd
	eval "exec $next_fd>\"$WORK/a.in\""
	next_fd=$((next_fd + 1))
}

start_pool
softdcd device add dev0 --pmem 256M --lsa 128K
softdcd device add dev1 --dc 256M
softdcd backend add kv --size 4M --tag $tag
has_huge_pages 256 || fail "the host has no huge pages"
start_shell --device dev0 --device dev1
softdcd offer dev1 --tag $tag >"$WORK/offer.out"
hear_from a made
until_true 60 has_huge_pages 0 # not for a moment while it reboots
hear_from a found
finish_guest a
same "extents" "$(value query-extents length)" 1
until_true 60 has_huge_pages 256
stop_pool
start_pool
start_guest b --device dev0
finish_guest b
stop_pool
