# SPDX-License-Identifier: BSD-3-Clause
# Memory that two hosts share: two devices, each below a host bridge of its own, and an agent for
# each; the test outside says what.
. /lib/guest/agent
