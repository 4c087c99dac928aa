"""Traces, assessments, evaluation data sets, of MLflow's client and OpenTelemetry's, through the proxy."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import AssessmentSource, Expectation, Feedback, SpanType
from mlflow.exceptions import MlflowException

from tests.server.deployed import NO_URI, Deployed, eventually

HUMAN = AssessmentSource(source_type="HUMAN", source_id="ada")


@pytest.fixture(autouse=True)
def experiment(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The id of a new experiment, which is the active one."""
    mlflow.set_tracking_uri(deployed.uri)
    yield str(mlflow.set_experiment(f"traces {uuid.uuid4().hex[:8]}").experiment_id)
    mlflow.flush_trace_async_logging()
    mlflow.set_tracking_uri(NO_URI)


@mlflow.trace(span_type=SpanType.CHAIN, attributes={"team": "blue"})
def answer(question: str) -> str:
    with mlflow.start_span("look up", span_type=SpanType.RETRIEVER) as span:
        span.set_inputs({"question": question})
        span.set_outputs([{"page_content": "Zürich ☃"}])
    if question == "fail":
        raise ValueError("no answer")
    return f"{question}? Yes."


def traced(question: str) -> str:
    """The id of a new trace that the server has."""
    answer(question)
    trace_id = mlflow.get_last_active_trace_id()
    assert trace_id
    mlflow.flush_trace_async_logging()
    return trace_id


def test_a_trace_with_its_spans() -> None:
    trace = mlflow.get_trace(traced("really"))
    assert trace is not None
    assert trace.info.state == "OK"
    assert (json.loads(trace.data.request), json.loads(trace.data.response)) == (
        {"question": "really"},
        "really? Yes.",
    )
    outer, inner = sorted(trace.data.spans, key=lambda span: span.start_time_ns)
    assert (outer.name, inner.name, inner.parent_id) == ("answer", "look up", outer.span_id)
    assert outer.attributes["team"] == "blue"
    assert inner.outputs == [{"page_content": "Zürich ☃"}]


def test_a_failed_function_is_a_failed_trace() -> None:
    with pytest.raises(ValueError, match="no answer"):
        answer("fail")
    trace_id = mlflow.get_last_active_trace_id()
    mlflow.flush_trace_async_logging()
    trace = mlflow.get_trace(str(trace_id))
    assert trace is not None
    assert trace.info.state == "ERROR"
    assert "no answer" in str(trace.data.spans[0].events)


def test_traces_are_found(experiment: str) -> None:
    ids = {question: traced(question) for question in ("one", "two", "three")}
    mlflow.set_trace_tag(ids["two"], "colour", "blue")
    found = mlflow.search_traces(
        locations=[experiment], filter_string="tags.colour = 'blue'", return_type="list"
    )
    assert [trace.info.trace_id for trace in found] == [ids["two"]]
    mlflow.delete_trace_tag(ids["two"], "colour")
    assert (
        mlflow.search_traces(locations=[experiment], filter_string="tags.colour = 'blue'", return_type="list")
        == []
    )
    newest_first = mlflow.search_traces(
        locations=[experiment], order_by=["timestamp_ms DESC"], return_type="list"
    )
    assert [trace.info.trace_id for trace in newest_first] == [ids["three"], ids["two"], ids["one"]]
    assert len(mlflow.search_traces(locations=[experiment], max_results=2)) == 2


def test_a_trace_of_a_run(experiment: str) -> None:
    with mlflow.start_run() as run:
        trace_id = traced("in a run")
    found = mlflow.search_traces(run_id=run.info.run_id, locations=[experiment], return_type="list")
    assert [trace.info.trace_id for trace in found] == [trace_id]


def feedback(trace_id: str, assessment_id: str) -> object:
    found = mlflow.get_assessment(trace_id, assessment_id)
    assert isinstance(found, Feedback)
    return found.value


def test_assessments() -> None:
    trace_id = traced("judged")
    given = mlflow.log_feedback(trace_id=trace_id, name="helpful", value=True, rationale="ü", source=HUMAN)
    expected = mlflow.log_expectation(trace_id=trace_id, name="answer", value={"a": [1, 2]}, source=HUMAN)
    assert given.assessment_id is not None
    assert expected.assessment_id is not None
    assert feedback(trace_id, given.assessment_id) is True
    mlflow.update_assessment(
        trace_id, given.assessment_id, Feedback(name="helpful", value=False, source=HUMAN)
    )
    assert feedback(trace_id, given.assessment_id) is False
    mlflow.update_assessment(
        trace_id, expected.assessment_id, Expectation(name="answer", value="other", source=HUMAN)
    )
    newer = mlflow.override_feedback(
        trace_id=trace_id, assessment_id=given.assessment_id, value=True, source=HUMAN
    )
    trace = mlflow.get_trace(trace_id)
    assert trace is not None
    assert {item.name: item.value for item in trace.info.assessments if item.valid is not False} == {
        "helpful": True,
        "answer": "other",
    }
    for assessment in (newer, expected):
        assert assessment.assessment_id is not None
        mlflow.delete_assessment(trace_id, assessment.assessment_id)
    left = mlflow.get_trace(trace_id)
    assert left is not None
    assert {item.assessment_id for item in left.info.assessments} <= {given.assessment_id}


def test_traces_are_deleted(experiment: str) -> None:
    ids = [traced("gone"), traced("stays")]
    assert MlflowClient().delete_traces(experiment, trace_ids=ids[:1]) == 1
    found = mlflow.search_traces(locations=[experiment], return_type="list")
    assert [trace.info.trace_id for trace in found] == ids[1:]
    assert mlflow.get_trace(ids[0], silent=True) is None


def test_a_trace_by_opentelemetrys_own_exporter(deployed: Deployed, experiment: str) -> None:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    exporter = OTLPSpanExporter(
        f"{deployed.uri}/v1/traces", headers={"x-mlflow-experiment-id": experiment}, timeout=30
    )
    provider = TracerProvider(resource=Resource({"service.name": "elsewhere"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("outer") as outer:
        outer.set_attribute("colour", "ü")
        with tracer.start_as_current_span("inner"):
            pass
    provider.shutdown()
    trace_id = f"tr-{outer.get_span_context().trace_id:032x}"
    found: list[str] = []

    def there() -> bool:
        trace = mlflow.get_trace(trace_id, silent=True)
        found[:] = sorted(span.name for span in trace.data.spans) if trace else []
        return found == ["inner", "outer"]

    eventually(there, "both spans are there", found)
    listed = mlflow.search_traces(locations=[experiment], return_type="list")
    assert [trace.info.trace_id for trace in listed] == [trace_id]


def test_evaluation_data_sets(experiment: str) -> None:
    from mlflow.genai import datasets

    name = f"set-{uuid.uuid4().hex[:8]}"
    made = datasets.create_dataset(name=name, experiment_id=experiment, tags={"team": "blue"})
    made.merge_records(
        [{"inputs": {"q": f"question {number}"}, "expectations": {"a": "ü"}} for number in range(3)]
    )
    made.merge_records([{"inputs": {"q": "question 0"}, "expectations": {"a": "changed"}}])
    again = datasets.get_dataset(dataset_id=made.dataset_id)
    frame = again.to_df()
    assert {
        row["q"]: expected["a"] for row, expected in zip(frame["inputs"], frame["expectations"], strict=True)
    } == {
        "question 0": "changed",
        "question 1": "ü",
        "question 2": "ü",
    }
    datasets.set_dataset_tags(dataset_id=made.dataset_id, tags={"colour": "red"})
    datasets.delete_dataset_tag(dataset_id=made.dataset_id, key="team")
    assert datasets.get_dataset(dataset_id=made.dataset_id).tags.get("colour") == "red"
    assert [
        one.dataset_id
        for one in datasets.search_datasets(experiment_ids=[experiment], filter_string=f"name = '{name}'")
    ] == [made.dataset_id]
    other = mlflow.create_experiment(f"other {name}")
    datasets.add_dataset_to_experiments(made.dataset_id, [other])
    assert set(datasets.get_dataset(dataset_id=made.dataset_id).experiment_ids) == {experiment, other}
    datasets.remove_dataset_from_experiments(made.dataset_id, [other])
    datasets.delete_dataset(dataset_id=made.dataset_id)
    with pytest.raises(MlflowException, match="not found"):
        datasets.get_dataset(dataset_id=made.dataset_id)


def test_records_from_traces(experiment: str) -> None:
    from mlflow.genai import datasets

    trace_id = traced("recorded")
    mlflow.log_expectation(trace_id=trace_id, name="answer", value="yes", source=HUMAN)
    made = datasets.create_dataset(name=f"set-{uuid.uuid4().hex[:8]}", experiment_id=experiment)
    made.merge_records(mlflow.search_traces(locations=[experiment]))
    (record,) = made.to_df().to_dict("records")
    assert (record["inputs"], record["expectations"]) == ({"question": "recorded"}, {"answer": "yes"})


def test_scorers_are_registered(experiment: str) -> None:
    from mlflow.genai.scorers import get_scorer, list_scorers
    from mlflow.genai.scorers.builtin_scorers import Safety

    Safety(name="safe").register(experiment_id=experiment)
    assert [scorer.name for scorer in list_scorers(experiment_id=experiment)] == ["safe"]
    assert get_scorer(name="safe", experiment_id=experiment).name == "safe"
