"""An old processor is found by what Linux lists of it."""

from __future__ import annotations

import pytest

from provisioner.system.processor import lacks_for_v2

V2 = "fpu sse sse2 pni ssse3 cx16 sse4_1 sse4_2 popcnt lahf_lm avx2"
KVM64 = (
    "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 "
    "syscall nx lm pni cx16 hypervisor"
)


@pytest.mark.parametrize(
    ("cpuinfo", "lacking"),
    [
        (f"processor\t: 0\nflags\t\t: {V2}\nprocessor\t: 1\nflags\t\t: {V2}\n", ()),
        (f"flags\t\t: {KVM64}\n", ("lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3")),
        # ARM, and a machine without the file.
        ("Features\t: fp asimd evtstrm\n", ()),
        ("", ()),
    ],
)
def test_what_is_missing_for_x86_64_v2_is_named(cpuinfo: str, lacking: tuple[str, ...]) -> None:
    assert lacks_for_v2(cpuinfo.encode()) == lacking


def test_a_machine_without_the_file_is_let_through() -> None:
    assert lacks_for_v2(None) == ()
