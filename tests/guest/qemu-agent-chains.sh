# SPDX-License-Identifier: BSD-3-Clause
# Offers of many extents; the test outside says what.
. /lib/guest/agent
