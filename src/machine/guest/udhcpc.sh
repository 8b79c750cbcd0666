#!/bin/busybox sh
# SPDX-License-Identifier: BSD-3-Clause
# What udhcpc calls when it has learnt something: $1 is what, the rest is in the environment.

case $1 in
bound | renew)
	ifconfig "$interface" "$ip" netmask "${subnet:-255.255.255.0}" up
	for gateway in $router; do
		route add default gw "$gateway" dev "$interface" && break
	done
	for server in $dns; do
		echo "nameserver $server"
	done >/etc/resolv.conf
	;;
deconfig) ifconfig "$interface" up ;;
esac
