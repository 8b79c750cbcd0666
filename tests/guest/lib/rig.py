# SPDX-License-Identifier: BSD-3-Clause
"""The guest rig: where tests/guest/rig has put QEMU, kernels and programs."""

import subprocess
import sys
from pathlib import Path

RIG = Path(__file__).resolve().parent.parent / "rig"
EXIT_SKIP = 77


def find_rig(*options):
    """Its directory, as `tests/guest/rig OPTIONS` prints it; ends this program without one."""
    out = subprocess.run([RIG, *options], text=True, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, check=False)
    if out.returncode == EXIT_SKIP:
        print(out.stderr.strip().rpartition("\n")[2])
        sys.exit(EXIT_SKIP)
    if out.returncode:
        sys.exit(out.stderr)
    return Path(out.stdout.strip())
