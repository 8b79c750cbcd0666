#!/bin/busybox sh
# SPDX-License-Identifier: BSD-3-Clause
# First process of a guest of "softdcd run". What is to be done is in /etc/softdcd, which
# image.c writes: settings, modules, motd.

/bin/busybox --install -s /bin
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/libexec/softdcd
export HOME=/root TERM=linux
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t debugfs debug /sys/kernel/debug
mount -t devtmpfs dev /dev

say()
{
	echo "softdcd guest: $*" >/dev/console
}

# ---- what the settings ask for; what fails is told, and the rest goes on

# mount_root TAG: a shared directory becomes the root of whatever is run
mount_root()
{
	mount -t virtiofs "$1" /sysroot || { say "the root file system cannot be mounted"; return; }
	root=/sysroot
	enter="chroot $root"
}

# mount_share TAG DIRECTORY
mount_share()
{
	mkdir -p "$root$2" && mount -t virtiofs "$1" "$root$2" ||
		say "share $1 cannot be mounted at $2"
}

# Fresh ones, whatever the root.
mount_system()
{
	mkdir -p /dev/pts /dev/shm
	mount -t devpts -o mode=620,ptmxmode=666 pts /dev/pts
	mount -t tmpfs -o mode=1777 shm /dev/shm
	test -n "$root" || return
	mkdir -p /run/softdcd/bin
	cp /usr/libexec/softdcd/* /run/softdcd/bin/
	PATH=$PATH:/run/softdcd/bin
	mount -t tmpfs -o mode=1777 tmp "$root/tmp"
	for path in proc sys dev dev/pts dev/shm run; do
		mount -o bind "/$path" "$root/$path" || say "there is no /$path in the root"
	done
}

start_net()
{
	ifconfig lo up
	for path in /sys/class/net/e*; do
		test -e "$path" || { say "there is no network device"; return; }
		udhcpc -q -n -t 5 -T 1 -i "${path##*/}" -s /etc/softdcd/udhcpc >/run/udhcpc.log 2>&1 ||
			say "no address from the network: $(tail -n 1 /run/udhcpc.log)"
		# A root of its own asks its own resolvers, else.
		test -z "$root" || mount -o bind /etc/resolv.conf "$root/etc/resolv.conf" ||
			say "names cannot be resolved"
		return
	done
}

finish()
{
	sync
	umount -a -r 2>/dev/null
	poweroff -f
}

# ---- from here on in order

root=
enter=
mkdir -p /run /tmp /root /sysroot
mount -t tmpfs -o mode=755 run /run
ln -s /proc/self/fd /dev/fd
ln -s /proc/self/fd/0 /dev/stdin
ln -s /proc/self/fd/1 /dev/stdout
ln -s /proc/self/fd/2 /dev/stderr
hostname softdcd

. /etc/softdcd/settings

# A driver that does not exist: the kernel's keep off.
agent_devices=
for port in $agent_ports; do
	for device in "/sys/bus/pci/devices/$port"/0000:*; do
		test -e "$device" || continue
		echo softdcd-agent >"$device/driver_override"
		agent_devices="$agent_devices --device ${device##*/}"
	done
done

while read -r module; do
	modprobe "$module" || say "module $module cannot be loaded"
done </etc/softdcd/modules

# The machine presses the power button when it is asked to end.
test ! -e /dev/input/event0 || acpid -l /run/acpid.log -p /run/acpid.pid

test -z "$root_tag" || mount_root "$root_tag"
mount_system
shares
test -z "$net" || start_net
if [ -n "$has_agent" ]; then
	# shellcheck disable=SC2086 # lists of words
	softdcd-agent $agent_devices $agent_arguments </dev/null >/run/softdcd-agent.log 2>&1 &
fi

if [ -n "$has_command" ]; then
	# shellcheck disable=SC2086 # lists of words
	command_of_settings $enter softdcd-guest-run $terminal --directory "$directory" \
		/dev/ttyS1 /dev/ttyS2 /dev/ttyS3
	finish
fi

test -z "$rows" || stty rows "$rows" cols "$columns" </dev/console
cat /etc/softdcd/motd
shell=/bin/bash
test -x "$root$shell" || shell=/bin/sh
# shellcheck disable=SC2016,SC2086 # the inner shell's words, a list
setsid cttyhack $enter $shell -c 'cd "$1" 2>/dev/null; exec "$0" -l' $shell "$directory"
finish
