"""What a machine's processor can do, as Linux lists it."""

from __future__ import annotations

import re
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
# Beyond what every x86-64 has (https://gitlab.com/x86-psABIs/x86-64-ABI), in the names of /proc/cpuinfo,
# where SSE3 is `pni`.
_X86_64_V2 = ("cx16", "lahf_lm", "pni", "popcnt", "sse4_1", "sse4_2", "ssse3")


def lacks_for_v2(cpuinfo: bytes | None) -> tuple[str, ...]:
    """Return what an x86 processor lacks for x86-64-v2; nothing for another, or where nobody knows."""
    flags = re.search(r"^flags\s*:(.*)$", (cpuinfo or b"").decode(errors="replace"), re.MULTILINE)
    return tuple(sorted(set(_X86_64_V2) - set(flags[1].split()))) if flags else ()
