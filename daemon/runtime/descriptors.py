"""The number of files and connections that this process may have open."""

from __future__ import annotations

import contextlib
import resource

ENOUGH = 65_536


def raise_limit() -> int:
    """Raise the soft limit as far as the hard one allows, to ``ENOUGH`` at most; return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):  # not allowed: it stays as it is
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
