"""Rows about logins: of the admin, of an ordinary user, and what a login and TLS cost ours."""

from __future__ import annotations

import time
from dataclasses import replace

from bench.asking import Asked, ask_for, compare
from bench.contenders import OURS, OURS_AUTH, OURS_TLS, REFERENCE_AUTH, Contenders
from bench.rest import Api
from bench.rows import Goal, Row
from bench.writes import logging_metric

LOGIN = Row("log-metric, with login", "requests/s", Goal("at least", 80), REFERENCE_AUTH, OURS_AUTH)
LOGIN_USER = Row(
    "log-metric, with login of an ordinary user",
    "requests/s",
    Goal("at least", 40),
    REFERENCE_AUTH,
    OURS_AUTH,
)
LOGIN_COST = Row(
    "ours: log-metric with login against without", "requests/s", Goal("at least", 0.7), OURS, OURS_AUTH
)
TLS_COST = Row("ours: log-metric with TLS and login against neither", "requests/s", None, OURS, OURS_TLS)
LATENCY_LOGIN = Row(
    "ours: log-metric by one client, with login against without, half are answered in",
    "ms",
    None,
    OURS,
    OURS_AUTH,
)
LATENCY_TLS = Row(
    "ours: log-metric by one client, with TLS and login against neither, half are answered in",
    "ms",
    None,
    OURS,
    OURS_TLS,
)


def measure_login_user(contenders: Contenders) -> None:
    """Measure log-metric by a user who has only what everybody may do with the admin's runs."""
    names = (REFERENCE_AUTH, OURS_AUTH)
    compare(contenders, LOGIN_USER, names, lambda name: _logging_as_user(contenders, name), slow=True)


def measure_login(contenders: Contenders) -> None:
    """Measure log-metric with the admin's login; beside it ours without, and ours with TLS too.

    Then measure how long one client of ours waits for an answer, in each of these ways.
    """
    names = (REFERENCE_AUTH, OURS_AUTH, OURS_TLS, OURS)
    compare(contenders, LOGIN, names, lambda name: logging_metric(contenders, name), slow=True)
    values = contenders.samples.values[LOGIN.name]
    for row in (LOGIN_COST, TLS_COST):
        for name in (row.reference, row.ours):
            for value in values[name]:
                contenders.add(row, name, value)
    contenders.stop(REFERENCE_AUTH)
    for turn in range(contenders.few_rounds):
        for name in contenders.order((OURS, OURS_AUTH, OURS_TLS), turn):
            asked = logging_metric(contenders, name)
            milliseconds = ask_for(contenders, name, asked, contenders.seconds, connections=1).p50_ms
            for row in (LATENCY_LOGIN, LATENCY_TLS):
                if name in (row.reference, row.ours):
                    contenders.add(row, name, milliseconds)


def _logging_as_user(contenders: Contenders, name: str) -> Asked:
    """Make a user; return the requests that log to the admin's runs with its login."""
    contender = contenders.get(name)
    authorization = contender.add_user(f"user-{time.time_ns()}")
    _check_may_edit(name, contender.api, replace(contender.api, authorization=authorization))
    return replace(logging_metric(contenders, name), authorization=authorization)


def _check_may_edit(name: str, admin: Api, user: Api) -> None:
    """Raise RuntimeError unless the user may change what the admin made, but not delete it."""
    made = admin.post("experiments/create", {"name": f"of-the-admin-{time.time_ns()}"})
    of_admin = {"experiment_id": made["experiment_id"]}
    user.post("experiments/set-experiment-tag", {**of_admin, "key": "seen-by", "value": "user"})
    try:
        user.post("experiments/delete", of_admin)
    except RuntimeError as error:
        if ": 403 " not in str(error):
            raise
    else:
        raise RuntimeError(f"{name}: an ordinary user may delete what the admin made")
