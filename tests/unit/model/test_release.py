"""Which of two releases is the newer one, as Python's packages count."""

from __future__ import annotations

import itertools

from provisioner.model.release import Release

# From the oldest to the newest.
ORDER = (
    "",
    "0.0.9",
    "0.1.0.dev3",
    "0.1.0a1.dev1",
    "0.1.0a1",
    "0.1.0b2",
    "0.1.0rc1.dev2",
    "0.1.0rc1",
    "0.1.0-rc.2",
    "0.1.0rc10",
    "0.1.0",
    "0.1.0.post1.dev1",
    "0.1.0.post1",
    "0.1.1.dev0",
    "0.2",
    "0.10.0",
    "1.0.0",
)


def test_what_comes_before_a_release_is_not_newer() -> None:
    for older, newer in itertools.combinations(ORDER, 2):
        for one, other in (
            (Release(older, "3.17.2"), Release(newer, "3.9.0")),
            (Release("1.0.0", older), Release("1.0.0", newer)),
        ):
            assert other.is_newer_than(one), (older, newer)
            assert not one.is_newer_than(other), (older, newer)


def test_zeros_at_the_end_and_what_a_build_is_called_make_nothing_newer() -> None:
    for one, other in itertools.permutations(("1.0", "1.0.0", "1", "1.0.0+local.5"), 2):
        assert not Release(one, "3").is_newer_than(Release(other, "3.0"))
