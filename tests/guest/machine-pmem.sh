# SPDX-License-Identifier: BSD-3-Clause
# Persistent memory: a file system on it is there when the guest is started anew, and after the pool
# was stopped.
start_pool
softdcd device add dev0 --pmem 256M --lsa 128K
start_guest a --device dev0
hear_from a made
finish_guest a
start_guest b --device dev0
finish_guest b
stop_pool
start_pool
start_guest c --device dev0
finish_guest c
stop_pool
