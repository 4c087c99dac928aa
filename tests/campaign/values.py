"""Values for the schemas of an OpenAPI document: mostly of the right type and in the right place, and nasty.

What exists is named by a word in capitals, which is replaced by an id when the call is sent:
so a seed gives the same calls on any stack.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]
Schema = Mapping[str, Any]
REFERENCE = "#/components/schemas/"
DEEPEST = 5

# By the end of a parameter's name: what exists, of the user's own and of somebody else's.
KNOWN = {
    "experiment_id": ("OWN_EXPERIMENT", "THEIR_EXPERIMENT", "0"),
    "run_id": ("OWN_RUN", "THEIR_RUN"),
    "run_uuid": ("OWN_RUN", "THEIR_RUN"),
    "trace_id": ("OWN_TRACE", "THEIR_TRACE"),
    "request_id": ("OWN_TRACE", "THEIR_TRACE"),
    "model_id": ("OWN_LOGGED_MODEL", "THEIR_LOGGED_MODEL"),
    "dataset_id": ("OWN_DATASET", "THEIR_DATASET"),
    "name": ("OWN_NAME", "OWN_NAME", "THEIR_NAME", "io.example/OWN_NAME"),
    "queue_id": ("OWN_QUEUE", "THEIR_QUEUE"),
    "issue_id": ("OWN_ISSUE", "THEIR_ISSUE"),
    "version": ("1", "2", "latest"),
    "username": ("ben", "admin", "nobody"),
    "resource_id": ("OWN_EXPERIMENT", "OWN_NAME", "1", "*"),
    "resource_type": ("experiment", "registered_model", "scorer", "prompt", "workspace"),
    "permission": ("READ", "EDIT", "MANAGE", "NO_PERMISSIONS"),
    "role_id": ("1", "2"),
    "key": ("note", "mlflow.note.content", "loss", "rate"),
    "metric_name": ("trace_count", "latency", "loss"),
    "alias": ("best", "latest", "v1"),
    "stage": ("Staging", "None", "Archived"),
    "artifact_path": (
        "OWN_EXPERIMENT/OWN_RUN/artifacts/given.txt",
        "THEIR_EXPERIMENT/THEIR_RUN/artifacts",
        "OWN_EXPERIMENT",
    ),
    "path": ("given.txt", ".", "..", "", "OWN_EXPERIMENT/OWN_RUN/artifacts"),
    "source": (
        "runs:/OWN_RUN/model",
        "mlflow-artifacts:/OWN_EXPERIMENT/OWN_RUN/artifacts",
        "models:/OWN_NAME/1",
        "models:/OWN_LOGGED_MODEL",
    ),
    "artifact_location": ("mlflow-artifacts:/a", "mlflow-artifacts:/OWN_EXPERIMENT", "file:///etc", "/"),
    "url": ("https://127.0.0.1:1/x", "http://127.0.0.1:1/x", "https://[::1]:1/"),
    "variables": ("{}", '{"id": "OWN_RUN"}', "[]"),
    "update_mask": ("feedback", "feedback,expectation", "rationale", "nothing"),
    "provider": ("openai", "anthropic", "databricks"),
    "time": (
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00+99:99",
        "9999-12-31T23:59:59.999999999Z",
        "0000-00-00T00:00:00Z",
    ),
    "execution_duration": ("1.5s", "-1s", "1e9s", "315576000000s"),
    "order_by": (
        "metrics.loss DESC",
        "name",
        "timestamp_ms",
        "attributes.start_time ASC",
        "tags.`a b`",
        "colour",
        "params.x, metrics.y",
        "`",
    ),
    "filter": (
        "metrics.loss > 0.1",
        "metrics.loss > 1e400",
        "params.rate = 'x' AND tags.a LIKE '%'",
        "attributes.start_time > 99999999999999999999",
        "name = 'OWN_NAME'",
        "name ILIKE '%\\'",
        "run_id IN ('OWN_RUN', 'x')",
        "run_id IN ()",
        "timestamp_ms > -99999999999999999999999",
        "creation_time > 1.5 AND last_update_time = 'x'",
        "tags.`a\x00b` = '\x00'",
        'tag.mlflow.source.name = "x" OR 1 = 1 -- ',
        "trace.status = 'OK' AND span.name LIKE '%'",
        "feedback.good = 'true'",
        "metadata.x IS NULL",
        "version_number = 99999999999999999999",
        "dataset.digest = 'x'",
        "prompt = 'x/1'",
        "issue.id = 'x'",
        "metrics.loss = 'NaN'",
        "name =",
        "((((((",
        "a.b.c.d = 1",
        "`",
    ),
    "query": (
        (
            '{ mlflowGetExperiment(input: {experimentId: "OWN_EXPERIMENT"}) '
            "{ experiment { name tags { key value } } apiError { message } } }"
        ),
        '{ mlflowGetExperiment(input: {experimentId: "x\\u0000"}) { experiment { name } } }',
        "{ mlflowGetExperiment { experiment { name } } }",
        (
            '{ mlflowGetRun(input: {runId: "OWN_RUN"}) '
            "{ run { info { runName } data { metrics { key value } } modelVersions { name } } } }"
        ),
        '{ mlflowListArtifacts(input: {runId: "OWN_RUN", path: "../.."}) { files { path } } }',
        (
            "{ mlflowSearchModelVersions(input: {filter: \"name = 'OWN_NAME'\", maxResults: 99999999999}) "
            "{ modelVersions { name } } }"
        ),
        '{ mlflowSearchModelVersions(input: {filter: "`", pageToken: "x"}) { modelVersions { name } } }',
        (
            '{ mlflowGetMetricHistoryBulkInterval(input: {runIds: ["OWN_RUN"], metricKey: "loss", '
            "maxResults: -1}) { metrics { value } } }"
        ),
        (
            'mutation { mlflowSearchRuns(input: {experimentIds: ["OWN_EXPERIMENT"], '
            'filter: "metrics.loss > 1"}) { runs { info { runId } } } }'
        ),
        (
            'mutation { mlflowSearchDatasets(input: {experimentIds: ["OWN_EXPERIMENT", "x"]}) '
            "{ datasetSummaries { name } } }"
        ),
        'mutation { testMutation(inputString: "x") { output } }',
        "{ test { output } }",
        "query a { x } query b { y }",
        "{ __schema { types { name fields { name } } } }",
        "fragment f on QueryType { ...f } { ...f }",
        "{" * 300,
        "subscription { a }",
    ),
}
# As MLflow's clients and page call them too.
ALSO = {
    "experimentid": "experiment_id",
    "runid": "run_id",
    "filter_string": "filter",
    "filters": "filter",
    "group_by": "order_by",
    "timestamp": "time",
    "location": "artifact_location",
    "root_uri": "artifact_location",
    "uri": "source",
}

TEXTS = (
    "",
    " ",
    "x",
    "\x00",
    "a\x00b",
    "\ud800",
    "a\udfff\ud800b",
    "\ufeff\u202e\u2028",
    "𝄞☃日本",
    "\r\nX-Injected: 1",
    "\x1b[31m\x7f\x08",
    "-1",
    "0",
    "1",
    "00",
    "037",
    "1_000",
    "\u0661\u0662",
    "\uff11",
    "\u00b2",
    " 1 ",
    "1.5",
    "1e999",
    "NaN",
    "-Infinity",
    "9" * 19,
    "9" * 40,
    "-" + "9" * 19,
    "9" * 5000,
    "0x10",
    "true",
    "null",
    "[]",
    "{}",
    '{"a": [1, {"b": null}]}',
    "[1, [2, [3]]]",
    "[" * 3000,
    "..",
    "../../../etc/passwd",
    "/etc/passwd",
    "%00",
    "%2e%2e%2f",
    "%zz",
    "%s%d%(x)s{0}{x}",
    "a/b",
    "a:b@c",
    "'; DROP TABLE runs; --",
    "' OR '1' = '1",
    "\\",
    "a\\",
    "%",
    "_",
    "<script>alert(1)</script>",
    "${jndi:x}{{7*7}}",
    "x" * 251,
    "y" * 501,
    "z" * 6000,
    "ü" * 70_000,
    "0" * 32,
    "00000000-0000-0000-0000-000000000000",
    "tr-" + "f" * 32,
    "2026-01-01",
    "mlflow.",
    "mlflow.runName",
    "__class__",
    "runs:/x/y",
    "models:/x/1",
    "mlflow-artifacts:/../x",
    "mlflow-artifacts://[/x",
    "http://[",
)
WHOLE: tuple[int, ...] = (
    0,
    1,
    -1,
    2,
    3,
    100,
    1000,
    1001,
    50_001,
    2**31 - 1,
    2**31,
    2**32,
    2**53 + 1,
    2**63 - 1,
    2**63,
    -(2**63),
    -(2**63) - 1,
    2**64,
)
WHOLE += (1_700_000_000_000, 253_402_300_800_000, 10**25, -(10**25), 10**400)
FRACTIONS = (
    0.0,
    -0.0,
    0.5,
    1.0,
    -1.5,
    1e308,
    -1e308,
    5e-324,
    1e-320,
    float("nan"),
    float("inf"),
    float("-inf"),
)
OFFSETS: tuple[object, ...] = (-1, 0, "x", None, 10**25, [], 1.5, 2**63, "9" * 30)
TOKENS = tuple(base64.b64encode(json.dumps({"offset": offset}).encode()).decode() for offset in OFFSETS)
TOKENS += (
    "not a token",
    "eyI=",
    "bnVsbA==",
    "MQ==",
    "=",
    "/////w==",
    base64.b64encode(b'{"offset": ' + b"[" * 3000).decode(),
)
# Mostly the first page.
TOKENS += ("",) * 20

_TEXT = st.one_of(
    st.sampled_from(TEXTS),
    st.text(max_size=12),
    st.text(st.sampled_from("ab01.-_/%\\'\"`$ ()=<>*,:;\x00é"), max_size=20),
)
_WHOLE = st.one_of(st.sampled_from(WHOLE), st.integers(-3, 12), st.integers())
_FRACTION = st.one_of(st.sampled_from(FRACTIONS), st.floats())
_SCALAR = st.one_of(st.none(), st.booleans(), _WHOLE, _FRACTION, _TEXT)
_KEYS = st.text(max_size=5)
_JSON = st.recursive(
    _SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=6,
)
_LENGTHS = st.sampled_from((0, 1, 1, 1, 1, 2, 2, 3))
_HUNDRED = st.integers(0, 99)


def chance(draw: Draw, percent: int) -> bool:
    """Draw whether something so likely, in percent, happens; the simplest draw is that it does not."""
    return bool(draw(_HUNDRED) >= 100 - percent)


def text(draw: Draw, name: str) -> str:
    """Draw a text for a parameter of that name: nine of ten name what exists, where there is such a thing."""
    known = _known(name.lower())
    return str(draw(_TEXT if not known or chance(draw, 10) else st.sampled_from(known)))


def _known(name: str) -> tuple[str, ...]:
    if name.endswith("token"):
        return TOKENS
    name = ALSO.get(name, name)
    one = name if name in KNOWN else name.rstrip("s")
    return KNOWN.get(
        next(
            (word for word in KNOWN if one == word), next((word for word in KNOWN if one.endswith(word)), "")
        ),
        (),
    )


class Values:
    """Draws values for the schemas of a document."""

    def __init__(self, schemas: Mapping[str, Schema]) -> None:
        self._schemas = schemas

    def value(self, draw: Draw, schema: Schema, name: str = "", depth: int = 0) -> Any:
        """Draw a value, of thirty one of any type.

        Within a message that has itself in it, an empty one at some depth.
        """
        if chance(draw, 3):
            return draw(_JSON)
        schema = self.resolved(schema)
        for several in ("anyOf", "oneOf"):
            if schema.get(several):
                return self.value(draw, draw(st.sampled_from(schema[several])), name, depth)
        if schema.get("enum"):
            return draw(_TEXT) if chance(draw, 10) else draw(st.sampled_from(schema["enum"]))
        kind = schema.get("type", "object" if "properties" in schema else "")
        if kind == "object":
            return self.properties(draw, schema, name, depth) if depth < DEEPEST else {}
        if kind == "array":
            count = draw(_LENGTHS) if depth < DEEPEST else 0
            return [self.value(draw, schema.get("items", {}), name, depth + 1) for _ in range(count)]
        return self._scalar(draw, kind, name)

    def properties(self, draw: Draw, schema: Schema, name: str = "", depth: int = 0) -> dict[str, Any]:
        """Draw an object: all of its properties, or some of them, seldom with one that nobody knows."""
        schema = self.resolved(schema)
        left_out = draw(st.sampled_from((0, 10, 40, 70, 90)))
        known = schema.get("properties", {})
        drawn = {
            key: self.value(draw, kind, key, depth + 1)
            for key, kind in known.items()
            if not chance(draw, left_out)
        }
        if not known or chance(draw, 5):
            more = schema.get("additionalProperties")
            other = self.value(draw, more, name, depth + 1) if isinstance(more, Mapping) else draw(_JSON)
            drawn[text(draw, "key")] = other
        return drawn

    def resolved(self, schema: Schema) -> Schema:
        """Return the schema that a reference leads to."""
        while "$ref" in schema:
            schema = self._schemas[schema["$ref"].removeprefix(REFERENCE)]
        return schema

    @staticmethod
    def _scalar(draw: Draw, kind: str, name: str) -> Any:
        if kind == "integer":
            # protobuf's JSON has large numbers as texts.
            number = draw(_WHOLE)
            return str(number) if chance(draw, 10) else number
        if kind in {"number", "boolean"}:
            return draw(_FRACTION if kind == "number" else st.booleans())
        return text(draw, name) if kind == "string" else draw(_JSON)
