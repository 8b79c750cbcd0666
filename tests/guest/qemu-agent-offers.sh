# SPDX-License-Identifier: BSD-3-Clause
# The agent takes over a device, accepts, declines and gives back; the test outside says what.
. /lib/guest/agent
