"""Whether the experiment of a project's runs takes them, and their artifacts go through the server."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from provisioner.mlflow_api import API
from provisioner.system.http import Rest, RestError


@dataclass(frozen=True)
class RunExperiment:
    """The experiment that a plain `kedro run` logs into; unknown without a name.

    `restores` when the run would restore a deleted one.
    """

    name: str = ""
    restores: bool = True


UNKNOWN = RunExperiment()


def experiment_problem(rest: Rest, wanted: RunExperiment) -> tuple[str, str]:
    """Return why runs there would fail, or keep their artifacts elsewhere, and what fixes it.

    Both are "" when no reason is known. Nothing is changed. Raise RestError when the server does not answer.
    """
    if not wanted.name:
        return "", ""
    named = f"the experiment {wanted.name!r}"
    grant = (
        f"let an admin grant it: `provision user grant NAME --experiment {wanted.name!r} --permission EDIT`; "
        "or name another experiment"
    )
    try:
        found = rest.call(
            "GET", f"{API}/experiments/get-by-name?experiment_name={quote(wanted.name, safe='')}"
        )["experiment"]
        if found.get("lifecycle_stage") == "deleted" and not wanted.restores:
            return (
                f"{named} is deleted, and tracking.experiment.restore_if_deleted is false",
                "set it to true, or name another experiment",
            )
        location = str(found.get("artifact_location", ""))
        if not location.startswith("mlflow-artifacts:"):
            why = (
                f"{named} keeps its artifacts at {location}, not through the server: "
                "each client needs a key to it"
            )
            return why, "name another experiment in mlflow.yml: one keeps its location for good"
        _ask_permission(rest, str(found["experiment_id"]))
    except RestError as error:
        if error.status == 404:
            # The run makes it.
            return "", ""
        if error.status == 403:
            return f"this login may not log into {named}", grant
        raise
    return "", ""


def _ask_permission(rest: Rest, experiment_id: str) -> None:
    """Raise RestError when the login may not change the experiment (status 403), or the call fails.

    The call sets a tag without a key, which the server refuses with status 400 and which changes nothing.
    """
    try:
        rest.call("POST", f"{API}/experiments/set-experiment-tag", {"experiment_id": experiment_id})
    except RestError as error:
        if error.status != 400:
            raise
