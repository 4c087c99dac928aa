"""Plans: observed against wanted, as the lines that a person reads."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from provisioner.model.plan import Observed, ObservedService, State, make_plan

WANTED = {"postgres": "p1", "bootstrap": "b1", "mlflow": "m1", "proxy": "x1"}
ONE_SHOTS = ("bootstrap",)
AS_WANTED: Mapping[str, tuple[State, str]] = {
    "postgres": ("running", "p1"),
    "bootstrap": ("completed", "b1"),
    "mlflow": ("running", "m1"),
    "proxy": ("running", "x1"),
}
Changes = Mapping[str, tuple[State, str, str]]

CASES: dict[str, tuple[Changes, str]] = {
    "nothing to do": ({}, ""),
    "a service that still starts is left alone": ({"mlflow": ("starting", "m1", "")}, ""),
    "a service that is not there": ({"mlflow": ("missing", "", "")}, "create mlflow: not there yet"),
    "a service of another configuration": (
        {"mlflow": ("running", "m0", "")},
        "change mlflow: its configuration changed",
    ),
    "a stopped service": ({"postgres": ("stopped", "p1", "")}, "start postgres: stopped"),
    "a failed service, in the runtime's words": (
        {"proxy": ("failed", "x1", "Exited (1)")},
        "start proxy: Exited (1)",
    ),
    "an unhealthy service": (
        {"mlflow": ("unhealthy", "m1", "started 5 times")},
        "start mlflow: started 5 times",
    ),
    "a long-running service that ended by itself": (
        {"mlflow": ("completed", "m1", "Exited (0)")},
        "start mlflow: Exited (0)",
    ),
    "a one-shot that failed": (
        {"bootstrap": ("failed", "b1", "Exited (1)")},
        "start bootstrap: has not ended well (Exited (1))\n"
        "start mlflow: waits for bootstrap, which has not ended well\n"
        "start proxy: waits for bootstrap, which has not ended well",
    ),
    "a one-shot that was interrupted": (
        {"bootstrap": ("running", "b1", "")},
        "start bootstrap: has not ended well (running)\n"
        "start mlflow: waits for bootstrap, which has not ended well\n"
        "start proxy: waits for bootstrap, which has not ended well",
    ),
    "a one-shot of another configuration": (
        {"bootstrap": ("completed", "b0", "")},
        "change bootstrap: its configuration changed",
    ),
    "a service that the settings have no more": (
        {"minio": ("running", "s1", "")},
        "remove minio: not in the settings any more",
    ),
    "several at once, in start order and removals last": (
        {
            "proxy": ("stopped", "x1", ""),
            "postgres": ("missing", "", ""),
            "minio": ("stopped", "s1", ""),
            "mlflow": ("running", "m0", ""),
        },
        "create postgres: not there yet\n"
        "change mlflow: its configuration changed\n"
        "start proxy: stopped\n"
        "remove minio: not in the settings any more",
    ),
}


def observed(changes: Changes) -> Observed:
    seen = {
        name: ObservedService(name, state, fingerprint) for name, (state, fingerprint) in AS_WANTED.items()
    }
    return Observed(seen | {name: ObservedService(name, *facts) for name, facts in changes.items()})


@pytest.mark.parametrize("case", CASES)
def test_each_step_has_its_cause(case: str) -> None:
    changes, expected = CASES[case]
    plan = make_plan(WANTED, ONE_SHOTS, observed(changes))
    assert str(plan) == expected
    assert bool(plan) is bool(expected)


def test_a_new_stack_is_created_in_start_order() -> None:
    plan = make_plan(WANTED, ONE_SHOTS, Observed({}))
    assert [(step.verb, step.subject) for step in plan.steps] == [("create", name) for name in WANTED]


def test_a_proxy_that_runs_reads_a_new_configuration_while_it_serves() -> None:
    plan = make_plan(WANTED, ONE_SHOTS, observed({"mlflow": ("running", "m0", "")}), reload="proxy")
    assert str(plan) == "change mlflow: its configuration changed\nreload proxy: its configuration changed"
    assert plan.reloads
    # One that is made anew reads it then.
    plan = make_plan(WANTED, ONE_SHOTS, observed({"proxy": ("running", "x0", "")}), reload="proxy")
    assert str(plan) == "change proxy: its configuration changed"
    assert not plan.reloads
