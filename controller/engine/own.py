"""Own: in which container this very process runs, if it runs in one.

Told by the kernel, not by the host name, which a compose file may set. Which project that container belongs to is asked of
the engine elsewhere.
"""

from __future__ import annotations

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
# The engine mounts a file of the container's own folder there: the file's path on the host is in the fourth field.
_HOSTNAME = re.compile(r"^\d+ \d+ \S+ \S*/([0-9a-f]{64})/(?:userdata/)?hostname /etc/hostname ", re.MULTILINE)


def own_container(mounts: Path = MOUNTS) -> str:
    """The id of the container that this process runs in; "" outside of any. Never raises."""
    try:
        found = _HOSTNAME.search(mounts.read_text("utf-8", "replace"))
    except OSError:
        return ""
    return found[1] if found else ""
