# SPDX-License-Identifier: BSD-3-Clause
# What the agent must not take, with the kernel's own drivers loaded; the test outside says what.
memdev_at 0d:00.0
. /lib/guest/agent
