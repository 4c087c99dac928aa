"""What a request says in so many words: each function returns it, and raises NotPlain for anything else."""

from __future__ import annotations

from typing import Any

from flask import request

from provision_server.stores.tracking_rows import NotPlain, text

Body = dict[str, Any]
# MLflow's client names the run by both.
RUN = frozenset({"run_id", "run_uuid"})


def body_of(keys: frozenset[str]) -> Body:
    """Return the request's JSON object, of these keys at most."""
    # As MLflow compares it: another case, or a space before the semicolon, it refuses.
    if (request.content_type or "").split(";")[0] != "application/json":
        raise NotPlain
    return plain(request.get_json(silent=True), keys)


def query_of(keys: frozenset[str]) -> dict[str, list[str]]:
    """Return the query's values, of these keys at most."""
    return plain(request.args.to_dict(flat=False), keys)


def plain(found: Any, keys: frozenset[str]) -> Body:
    """Return the object, of these keys at most."""
    if type(found) is not dict or not found.keys() <= keys:
        raise NotPlain
    return found


def run_of(found: Body) -> str:
    """Return the run's id, by whichever of `RUN`; both have to agree."""
    run_id = found["run_id"]
    if found.get("run_uuid", run_id) != run_id:
        raise NotPlain
    return filled(run_id)


def filled(value: object) -> str:
    """Return the text, which is not empty."""
    if not value:
        raise NotPlain
    return text(value)


def texts(found: Body, name: str) -> list[str]:
    """Return the list of texts; [] where it is not given."""
    return [text(one) for one in listed(found, name)]


def listed(found: Body, name: str) -> list[Any]:
    """Return the list; [] where it is not given."""
    value = found.get(name, [])
    if type(value) is not list:
        raise NotPlain
    return value


def single(query: dict[str, list[str]], name: str) -> str:
    """Return what the query says of this name once, and not in vain."""
    (value,) = query[name]
    return filled(value)


def run_of_query(query: dict[str, list[str]]) -> str:
    """Return the run's id that the query has, as `run_of`."""
    return run_of({name: single(query, name) for name in RUN & query.keys()})


def whole(query: dict[str, list[str]], name: str) -> int | None:
    """Return the number that the query says in plain digits; None where it says none."""
    if name not in query:
        return None
    digits = single(query, name)
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 18:
        raise NotPlain
    return int(digits)
