"""Where a client may say that artifacts are: inside the stack's own artifact root.

MLflow keeps whatever location a client names, and opens it later with the server's own key and account. So it
is looked at twice. A row that names one outside is not written, whatever route it came by; and no location
outside is opened, whoever wrote it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

PROXIED = "mlflow-artifacts"
# What MLflow's page and clients say in place of a source: a prompt has no files.
SOURCES_OF_PROMPTS = frozenset({"dummy-source", "prompt-template"})
# These lead to a location that is looked at in its turn.
_LEADING = {"runs", "models"}
_HOW = "Leave it out, or name a folder of the artifact store: mlflow-artifacts:/FOLDER."


def place(uri: str) -> tuple[str, ...] | None:
    """Return the URI's scheme, host and folders.

    Return None when it is relative, or does not say plainly where it leads.
    """
    if uri.startswith("/"):
        scheme, host, path = "file", "", uri
    else:
        try:
            parts = urlsplit(uri)
        except ValueError:
            return None
        scheme, host, path = parts.scheme.lower(), parts.netloc, parts.path
    # MLflow decodes some once, and some as often as it goes.
    while (decoded := unquote(path)) != path:
        path = decoded
    folders = tuple(folder for folder in path.split("/") if folder)
    return (
        (scheme, host, *folders) if scheme and "\0" not in path and not {".", ".."} & set(folders) else None
    )


def _is_within(found: tuple[str, ...], around: tuple[str, ...] | None) -> bool:
    return around is not None and found[: len(around)] == around


@dataclass(frozen=True)
class Root:
    """Where a stack's artifacts are; `login` where permissions go by the folders in it."""

    destination: str
    login: bool

    def holds(self, uri: str) -> bool:
        """Return whether the URI leads into the artifact store, as a client sees it or as the server does."""
        found = place(uri)
        return found is not None and (
            found[:2] == (PROXIED, "") or _is_within(found, place(self.destination))
        )

    def fault_of_experiment(self, location: str, experiment_id: object) -> str:
        """Return what is wrong with an experiment's location, "" when nothing is.

        The experiment's id is None as long as it has none.
        """
        if location == f"{PROXIED}:/{experiment_id}":
            return ""
        named = f"artifact_location {location!r} "
        found = place(location)
        if not found or found[:2] != (PROXIED, "") or not found[2:]:
            return f"{named}is outside this server's artifact store. {_HOW}"
        if found[2].isdecimal():
            return f"{named}is the folder of another experiment. {_HOW}"
        if self.login:
            return (
                f"{named}cannot be chosen on a server with a login, "
                "where permissions go by an experiment's own folder. Leave it out."
            )
        return ""

    def fault_of_source(self, source: str, home: str | None) -> str:
        """Return what is wrong with a model version's source, "" when nothing is.

        `home` is the location of its run's artifacts, None without a run.
        """
        found = place(source)
        if found and found[0] in {*_LEADING, PROXIED}:
            # MLflow itself asks whether it belongs to the run or the model that the version names.
            return ""
        if found and home and self.holds(source) and _is_within(found, place(home)):
            return ""
        return (
            f"source {source!r} is outside this server's artifact store, or not of the run in run_id. "
            "Name what this server keeps: runs:/RUN_ID/PATH, models:/MODEL_ID or models:/NAME/VERSION."
        )

    def fault_of_trace(self, location: str, trace_id: str, home: str | None) -> str:
        """Return what is wrong with the location of a trace's artifacts, "" when nothing is.

        `home` is the location of its experiment, None without one.
        """
        is_plain = place(f"{PROXIED}:/{trace_id}") == (PROXIED, "", trace_id)
        if is_plain and home and location == f"{home.rstrip('/')}/traces/{trace_id}/artifacts":
            return ""
        return (
            f"trace {trace_id!r} cannot have its artifacts at {location!r}: the server chooses the place. "
            "Leave the tag out."
        )


def refuse_locations_outside(root: Root) -> None:
    """Refuse to write, and to open, a location outside the root; errors are MLflow's, for whoever asked."""
    _refuse_to_open(root)
    _refuse_to_write(root)


def _refuse_to_open(root: Root) -> None:
    from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry as registry

    for scheme, kind in registry._registry.items():
        if scheme not in {*_LEADING, PROXIED}:
            registry._registry[scheme] = partial(_opened, root, kind)


def _opened(
    root: Root, kind: Any, uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
) -> Any:
    if not root.holds(uri):
        raise _refused(f"{uri!r} is outside this server's artifact store, and is not opened.")
    return kind(uri, tracking_uri=tracking_uri, registry_uri=registry_uri)


def _refuse_to_write(root: Root) -> None:
    from mlflow.store.model_registry.dbmodels.models import SqlModelVersion
    from mlflow.store.tracking.dbmodels.models import SqlExperiment, SqlRun, SqlTraceInfo, SqlTraceTag
    from mlflow.utils.mlflow_tags import MLFLOW_ARTIFACT_LOCATION, MLFLOW_TRACE_ARCHIVE_LOCATION
    from sqlalchemy import event, inspect, select

    @event.listens_for(SqlExperiment, "before_insert")
    @event.listens_for(SqlExperiment, "before_update")
    def _experiment(_mapper: Any, _connection: Any, row: Any) -> None:
        # What earlier servers wrote stays, and the rest of such a row can be changed.
        if row.artifact_location and inspect(row).attrs.artifact_location.history.has_changes():
            _raise(root.fault_of_experiment(row.artifact_location, row.experiment_id))

    # Later it is only made unreadable, when the version is deleted.
    @event.listens_for(SqlModelVersion, "before_insert")
    def _version(_mapper: Any, connection: Any, row: Any) -> None:
        if row.source not in SOURCES_OF_PROMPTS:
            home = (
                connection.scalar(select(SqlRun.artifact_uri).where(SqlRun.run_uuid == row.run_id))
                if row.run_id
                else None
            )
            _raise(root.fault_of_source(row.source, home))

    @event.listens_for(SqlTraceTag, "before_insert")
    @event.listens_for(SqlTraceTag, "before_update")
    def _trace(_mapper: Any, connection: Any, row: Any) -> None:
        # MLflow opens, and deletes, what either says.
        if row.key == MLFLOW_ARTIFACT_LOCATION:
            of_trace: Any = select(SqlTraceInfo.experiment_id).where(
                SqlTraceInfo.request_id == row.request_id
            )
            home = connection.scalar(
                select(SqlExperiment.artifact_location).where(
                    SqlExperiment.experiment_id == of_trace.scalar_subquery()
                )
            )
            _raise(root.fault_of_trace(row.value, row.request_id, home))
        elif row.key == MLFLOW_TRACE_ARCHIVE_LOCATION:
            _raise(f"the tag {row.key} is not a client's to set. Leave it out.")


def _raise(fault: str) -> None:
    if fault:
        raise _refused(fault)


def _refused(message: str) -> Exception:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

    return MlflowException(message, INVALID_PARAMETER_VALUE)
