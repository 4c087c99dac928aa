"""Ids as the store reads them, by which permissions are looked up."""

from __future__ import annotations

import pytest

from provision_server.auth.permissions import as_stored


@pytest.mark.parametrize(
    "spelling",
    [
        "37",
        "037",
        " 37",
        "37 ",
        "+37",
        "3_7",
        "37\n",
        "\N{ARABIC-INDIC DIGIT THREE}\N{ARABIC-INDIC DIGIT SEVEN}",
        37,
    ],
)
def test_each_spelling_of_a_number_is_that_experiment(spelling: object) -> None:
    assert as_stored("experiment", spelling) == "37"
    assert as_stored("scorer", f"{spelling}/name") == "37/name"


@pytest.mark.parametrize(
    ("kind", "named"), [("experiment", "*"), ("experiment", "x37"), ("experiment", "3 7"), ("experiment", "")]
)
def test_what_is_no_number_stays(kind: str, named: str) -> None:
    assert as_stored(kind, named) == named
    # Names of models may be numbers.
    assert as_stored("registered_model", "037") == "037"
    assert as_stored("scorer", "37/037") == "37/037"
