# SPDX-License-Identifier: BSD-3-Clause
# Static ram: a region of it becomes memory of a stock kernel, is used, and goes again.
start_pool
softdcd device add dev0 --ram 256M
start_guest a --device dev0

hear_from a committed
same "decoder" "$(value query-devices '.[0].decoders | map([.hpa, .len, .dpa, .ways]) | tostring')" \
	"[[$said,268435456,0,1]]"
say a seen
hear_from a destroyed
same "decoders" "$(value query-devices '.[0].decoders | length')" 0
say a seen
finish_guest a
stop_pool
