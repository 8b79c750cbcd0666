# SPDX-License-Identifier: BSD-3-Clause
# The agent while the pool's daemon dies, and in the VM after that; the test outside says what.
. /lib/guest/agent
