# SPDX-License-Identifier: BSD-3-Clause
# Offers made before there is an agent; the test outside says what.
. /lib/guest/agent
