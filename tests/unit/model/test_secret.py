"""Secrets never show themselves, and are made of letters and digits."""

from __future__ import annotations

import json
import logging
import string
import traceback
from dataclasses import dataclass

import pytest

from provisioner.model.secret import LENGTH, Secret, SecretSpec, generate

VALUE = "hunter2-ä"


@dataclass(frozen=True)
class Login:
    """Something that holds a secret, as `link` has it."""

    user: str
    password: Secret


FORMS = {
    "repr": repr(Secret(VALUE)),
    "str": str(Secret(VALUE)),
    "format": f"{Secret(VALUE)}",
    "format with a width": f"{Secret(VALUE):>40}",
    "percent": "%s %r" % (Secret(VALUE), Secret(VALUE)),  # noqa: UP031
    "a list": str([Secret(VALUE)]),
    "a dataclass": repr(Login("ana", Secret(VALUE))),
    "an error": str(ValueError(Secret(VALUE))),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_shown_as_stars(form: str) -> None:
    assert "****" in FORMS[form]
    assert "hunter2" not in FORMS[form]


def test_a_secret_is_no_json() -> None:
    with pytest.raises(TypeError) as caught:
        json.dumps({"password": Secret(VALUE)})
    assert "hunter2" not in str(caught.value)
    assert json.dumps({"password": Secret(VALUE)}, default=str) == '{"password": "****"}'


def test_a_secret_is_not_in_a_traceback_with_its_locals() -> None:
    def fails(password: Secret) -> None:
        raise RuntimeError(f"cannot log in with {password}")

    try:
        fails(Secret(VALUE))
    except RuntimeError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "password = ****" in shown
    # This function's own locals and the source lines aside, which name the constant and not the value.
    assert "hunter2" not in shown.replace(repr(VALUE), "")


def test_a_secret_is_not_in_a_log(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("test").warning("login %s", Secret(VALUE))
    assert "login ****" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_secret_has_no_attributes_to_print() -> None:
    assert not hasattr(Secret(VALUE), "__dict__")


def test_only_reveal_gives_the_value() -> None:
    assert Secret(VALUE).reveal() == VALUE


@pytest.mark.parametrize(("other", "same"), [(Secret(VALUE), True), (Secret("x"), False), (VALUE, False)])
def test_secrets_are_equal_by_value_and_unlike_text(other: object, same: bool) -> None:
    assert (Secret(VALUE) == other) is same
    assert len({Secret(VALUE), other}) == (1 if same else 2)


def test_a_generated_secret_needs_no_quotes_anywhere() -> None:
    made = [generate().reveal() for _ in range(200)]
    assert {len(value) for value in made} == {LENGTH} == {32}
    assert set("".join(made)) == set(string.ascii_letters + string.digits)
    assert len(set(made)) == len(made)


def test_a_secret_of_the_user_is_not_generated() -> None:
    assert SecretSpec("a", "ours").generated
    assert not SecretSpec("b", "theirs", from_env="PGPASSWORD").generated
