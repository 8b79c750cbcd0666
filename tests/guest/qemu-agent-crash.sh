# SPDX-License-Identifier: BSD-3-Clause
# Agents and guests that end without giving anything back; the test outside says what.
. /lib/guest/agent
