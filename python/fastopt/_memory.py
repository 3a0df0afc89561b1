"""How much memory there is, so that what does not fit is refused before anything is allocated."""

from __future__ import annotations

import os

__all__ = ["available_memory", "refuse_beyond_memory"]


def available_memory() -> int:
    """Bytes that this process can still get, as far as system and container say."""
    return min(_system_memory(), _container_memory())


def refuse_beyond_memory(what: str, wanted: int, advice: str) -> None:
    """MemoryError before anything is allocated that the system would promise and not have."""
    present = available_memory()
    if wanted > present:
        raise MemoryError(
            f"{what} takes {wanted / 2**30:.2g} GiB, more than the {present / 2**30:.2g} GiB "
            f"available: {advice}."
        )


def _system_memory() -> int:
    try:
        with open("/proc/meminfo") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 2**62


def _container_memory(root: str = "/sys/fs/cgroup") -> int:
    """What the control group leaves: its limit less its use, file pages that can go not counted."""
    try:
        with open(f"{root}/memory.max") as one, open(f"{root}/memory.current") as two:
            limit, used = int(one.read()), int(two.read())  # "max": no limit, no number
        with open(f"{root}/memory.stat") as lines:
            pages = dict(line.split() for line in lines)
        return max(0, limit - used + int(pages.get("inactive_file", 0)))
    except (OSError, ValueError):
        return 2**62
