"""The limit of open files and connections at the start."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import resource
from daemon.runtime import descriptors
resource.setrlimit(resource.RLIMIT_NOFILE, (256, {hard}))
print(descriptors.raise_limit(), descriptors.raise_limit())
"""


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    done = subprocess.run([sys.executable, "-c", CODE.format(hard=2048)], capture_output=True, text=True, check=True)
    assert done.stdout == "2048 2048\n"
