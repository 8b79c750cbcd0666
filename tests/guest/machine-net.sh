# SPDX-License-Identifier: BSD-3-Clause
# A network for the guest: an address, connections to the host and data both ways, also out of
# memory that a device lends; and the limit of the daemon's table holds for offers.
command -v busybox >/dev/null || { echo "no busybox, which serves the pages"; exit 77; }
ifconfig lo up 2>/dev/null || true
start_pool
softdcd device add dev0 --ram 512M
softdcd device add dev1 --dc 256M
port=$((20000 + $$ % 10000))
mkdir -p "$WORK/pages"
dd if=/dev/urandom of="$WORK/pages/page" bs=1M count=1 2>/dev/null
busybox httpd -f -p "127.0.0.1:$port" -h "$WORK/pages" &
httpd=$!
mkfifo "$WORK/never" # an end of input would end the connection
busybox nc -l -p $((port + 1)) <>"$WORK/never" >"$WORK/sent" &
nc=$!

start_guest a --device dev0 --device dev1 --net
say a "$port $(md5sum <"$WORK/pages/page")"
hear_from a address
echo "the guest has an address"
for round in 1 2; do
	hear_from a "round$round"
	echo "round $round"
done
hear_from a got

# extents N: options for so many, all apart
extents()
{
	i=0
	while [ $i -lt "$1" ]; do
		echo "--extent $((i * 4))M:2M"
		i=$((i + 1))
	done
}

# The daemon's table has 8 entries. The guest's RAM takes one, and each device may have 3.
# shellcheck disable=SC2046 # words
{
	! softdcd offer dev1 --size 8M $(extents 4) >"$WORK/offer.log" 2>&1 || fail "4 extents are offered"
	grep -q 'mappings is 3' "$WORK/offer.log" || fail "the limit is not named: $(cat "$WORK/offer.log")"
	softdcd offer dev1 --size 6M $(extents 3) --wait
}
say a accepted
hear_from a got-beside
softdcd release dev1 --extent 4M:2M --wait
say a released
hear_from a got-again
say a seen

wait $nc || fail "the guest did not send all"
cmp "$WORK/pages/page" "$WORK/sent" || fail "what came is not what was sent"
finish_guest a
kill $httpd
stop_pool
