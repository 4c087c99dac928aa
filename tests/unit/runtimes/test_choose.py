"""The runtime: what the stack was made with, then the option, then Docker if it answers, then embedded."""

from __future__ import annotations

import pytest

from provisioner.errors import WouldLoseData
from provisioner.model.stores.base import RuntimeKind
from provisioner.runtimes.choose import choose_runtime

ANSWERS, GONE = "", "the Docker engine is not running"


@pytest.mark.parametrize(
    ("option", "made_with", "why_not", "kind", "reason"),
    [
        (None, None, ANSWERS, "docker", "its engine answers"),
        (None, None, GONE, "embedded", "no Docker: the Docker engine is not running"),
        ("embedded", None, ANSWERS, "embedded", "--runtime"),
        ("docker", None, GONE, "docker", "--runtime"),
        (None, "docker", GONE, "docker", "the stack was made with it"),
        (None, "embedded", ANSWERS, "embedded", "the stack was made with it"),
        ("embedded", "embedded", ANSWERS, "embedded", "the stack was made with it"),
    ],
)
def test_the_choice_has_its_reason(
    option: RuntimeKind | None, made_with: RuntimeKind | None, why_not: str, kind: str, reason: str
) -> None:
    choice = choose_runtime(option, made_with, lambda: why_not)
    assert (choice.kind, choice.reason) == (kind, reason)


@pytest.mark.parametrize(("option", "made_with"), [("docker", "embedded"), ("embedded", "docker")])
def test_another_runtime_than_the_datas_is_refused(option: RuntimeKind, made_with: RuntimeKind) -> None:
    with pytest.raises(WouldLoseData) as caught:
        choose_runtime(option, made_with, lambda: ANSWERS)
    assert f"made with the {made_with} runtime" in caught.value.what
    assert "--stack DIR" in caught.value.hint


def test_docker_is_asked_only_when_the_answer_counts() -> None:
    asked: list[bool] = []

    def ask() -> str:
        asked.append(True)
        return ANSWERS

    choose_runtime("embedded", None, ask)
    choose_runtime(None, "docker", ask)
    assert not asked
    choose_runtime(None, None, ask)
    assert asked == [True]
