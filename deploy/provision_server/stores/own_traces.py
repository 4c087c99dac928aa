"""MLflow's tracking store, which takes no trace and no assessment away from the experiment that has it.

Clients choose their ids. MLflow's login asks for the experiment that a request names; a trace of that id may
be in another one, and starting it anew moves it, logging its spans changes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from mlflow.store.tracking.dbmodels.models import SqlAssessments, SqlTraceInfo
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore


class OwnTraces(SqlAlchemyStore):  # type: ignore[misc, unused-ignore]
    """The store for a server with a login; what it is made of further answers all else."""

    def start_trace(self, trace_info: Any) -> Any:
        """Start the trace as MLflow does; refuse ids that other experiments, or other traces, have."""
        self._refuse_others([trace_info.trace_id], trace_info.experiment_id)
        self._refuse_assessments(
            [found.assessment_id for found in trace_info.assessments], trace_info.trace_id
        )
        return super().start_trace(trace_info)

    def log_spans(self, location: str, spans: list[Any], tracking_uri: Any = None) -> Any:
        """Log the spans as MLflow does; refuse spans of traces that other experiments have."""
        self._refuse_others({span.trace_id for span in spans}, location)
        return super().log_spans(location, spans, tracking_uri)

    def _refuse_others(self, traces: Iterable[str], experiment: object) -> None:
        ids = list(traces)
        with self.ManagedSessionMaker(read_only=True) as session:
            asked = session.query(SqlTraceInfo.request_id).filter(SqlTraceInfo.request_id.in_(ids))
            _refuse(asked.filter(SqlTraceInfo.experiment_id != int(str(experiment))).first(), "Trace")

    def _refuse_assessments(self, ids: list[Any], trace: str) -> None:
        with self.ManagedSessionMaker(read_only=True) as session:
            asked = session.query(SqlAssessments.assessment_id).filter(
                SqlAssessments.assessment_id.in_([one for one in ids if one])
            )
            _refuse(asked.filter(SqlAssessments.trace_id != trace).first(), "Assessment")


def _refuse(found: Any, kind: str) -> None:
    if found:
        raise MlflowException(
            f"{kind} {found[0]!r} belongs elsewhere; its id is not free.", PERMISSION_DENIED
        )
