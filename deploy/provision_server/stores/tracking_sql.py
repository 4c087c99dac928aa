"""The tracking store's statements: each writes all of a call or nothing, or reads all that a call answers.

Parameters are psycopg2's, by name. A statement that writes to a run gives one row where the run is there and
active; without a row it has written nothing.
"""

from __future__ import annotations

import functools

from provision_server.stores.prepared import Statement

_METRIC = "key, value, timestamp, step, is_nan"
_RUN = "run AS (SELECT run_uuid FROM runs WHERE run_uuid = %(run)s AND lifecycle_stage = 'active')"
_REPLACE_TAG = "ON CONFLICT (key, run_uuid) DO UPDATE SET value = EXCLUDED.value"
# As MLflow compares them: a metric that is greater than the latest known one is the latest from now on.
_KEEP_LATEST = """
    ON CONFLICT (key, run_uuid) DO UPDATE SET value = EXCLUDED.value, timestamp = EXCLUDED.timestamp,
        step = EXCLUDED.step, is_nan = EXCLUDED.is_nan
    WHERE (EXCLUDED.step, EXCLUDED.timestamp, EXCLUDED.value)
        > (latest.step, latest.timestamp, latest.value)"""

LOG_METRIC = Statement(
    "log_metric",
    f"""
    WITH {_RUN},
    new AS (
        INSERT INTO metrics ({_METRIC}, run_uuid)
        SELECT %(key)s, %(value)s::float8, %(timestamp)s::bigint, %(step)s::bigint, %(is_nan)s, run_uuid
        FROM run ON CONFLICT DO NOTHING RETURNING {_METRIC}, run_uuid
    ),
    kept AS (
        INSERT INTO latest_metrics AS latest ({_METRIC}, run_uuid) SELECT {_METRIC}, run_uuid FROM new
        {_KEEP_LATEST}
    )
    SELECT 1 FROM run""",
)

# No row either where the param has another value.
LOG_PARAM = Statement(
    "log_param",
    f"""
    WITH {_RUN},
    old AS (SELECT value FROM params WHERE run_uuid = %(run)s AND key = %(key)s),
    new AS (
        INSERT INTO params (key, value, run_uuid)
        SELECT %(key)s, %(value)s, run_uuid FROM run WHERE NOT EXISTS (SELECT FROM old)
    )
    SELECT 1 FROM run WHERE NOT EXISTS (SELECT FROM old WHERE value <> %(value)s)""",
)

SET_TAG = Statement(
    "set_tag",
    f"""
    WITH {_RUN},
    new AS (
        INSERT INTO tags (key, value, run_uuid) SELECT %(key)s, %(value)s, run_uuid FROM run {_REPLACE_TAG}
    )
    SELECT 1 FROM run""",
)

_GIVEN_PARAMS = """
    given AS (
        SELECT * FROM unnest(%(param_keys)s::varchar[], %(param_values)s::varchar[]) AS g (key, value)
    ),
    old AS (
        SELECT key, value FROM params
        WHERE run_uuid = %(run)s AND key = ANY (%(param_keys)s::varchar[])
    ),"""
_UNCHANGED = "WHERE NOT EXISTS (SELECT FROM old JOIN given USING (key) WHERE old.value <> given.value)"
_NEW_PARAMS = """,
    new_params AS (
        INSERT INTO params (key, value, run_uuid) SELECT key, value, run_uuid FROM good, given
        WHERE NOT EXISTS (SELECT FROM old WHERE old.key = given.key)
    )"""
# The latest ones after all others, as log-metric has it. Where neither reads from the other the order is
# PostgreSQL's to choose, and in the opposite one a batch and a log-metric could wait for each other.
_NEW_METRICS = f""",
    points AS (
        SELECT * FROM unnest(
            %(keys)s::varchar[], %(values)s::float8[], %(timestamps)s::bigint[], %(steps)s::bigint[],
            %(nans)s::bool[], %(newest)s::bool[]
        ) AS p ({_METRIC}, newest)
    ),
    new_metrics AS (
        INSERT INTO metrics ({_METRIC}, run_uuid) SELECT {_METRIC}, run_uuid FROM good, points
        ON CONFLICT DO NOTHING RETURNING 1
    ),
    kept AS (
        INSERT INTO latest_metrics AS latest ({_METRIC}, run_uuid)
        SELECT {_METRIC}, run_uuid FROM good, points, (SELECT count(*) FROM new_metrics) written
        WHERE newest {_KEEP_LATEST}
    )"""
_NEW_TAGS = f""",
    new_tags AS (
        INSERT INTO tags (key, value, run_uuid) SELECT t.key, t.value, run_uuid
        FROM good, unnest(%(tag_keys)s::varchar[], %(tag_values)s::varchar[]) AS t (key, value)
        {_REPLACE_TAG}
    )"""


@functools.cache
def log_batch(*, metrics: bool, params: bool, tags: bool) -> Statement:
    """Return the statement for a batch with these parts; no row either where a param has another value."""
    parts = (
        f"WITH {_RUN},",
        _GIVEN_PARAMS if params else "",
        f"good AS (SELECT run_uuid FROM run {_UNCHANGED if params else ''})",
        _NEW_PARAMS if params else "",
        _NEW_METRICS if metrics else "",
        _NEW_TAGS if tags else "",
        "SELECT 1 FROM good",
    )
    return Statement("log_batch", " ".join(parts))


# No row where the experiment is not there or not active, or a path cannot plainly be added to its location.
CREATE_RUN = Statement(
    "create_run",
    """
    WITH run AS (
        INSERT INTO runs (
            run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time,
            source_version, lifecycle_stage, artifact_uri, experiment_id
        )
        SELECT %(run)s::varchar, %(name)s, 'UNKNOWN', '', '', %(user)s, 'RUNNING', %(start)s::bigint,
            '', 'active', artifact_location || '/' || %(run)s::varchar || '/artifacts', experiment_id
        FROM experiments
        WHERE experiment_id = %(experiment)s AND lifecycle_stage = 'active'
            AND artifact_location ~ '^mlflow-artifacts:(/[A-Za-z0-9_.-]+)+$'
        RETURNING run_uuid, artifact_uri
    ),
    new_tags AS (
        INSERT INTO tags (key, value, run_uuid) SELECT t.key, t.value, run_uuid
        FROM run, unnest(%(tag_keys)s::varchar[], %(tag_values)s::varchar[]) AS t (key, value)
    )
    SELECT artifact_uri FROM run""",
)
ARTIFACTS_OF_RUN = Statement("artifacts_of_run", "SELECT artifact_uri FROM runs WHERE run_uuid = %(run)s")

# What MLflow answers of a run's own row.
INFO = (
    "run_uuid",
    "name",
    "experiment_id",
    "user_id",
    "status",
    "start_time",
    "end_time",
    "lifecycle_stage",
    "artifact_uri",
)
_INFO = ", ".join(INFO)

UPDATE_RUN = Statement(
    "update_run",
    f"""
    WITH run AS (
        UPDATE runs SET status = COALESCE(%(status)s, status),
            end_time = COALESCE(%(end)s::bigint, end_time), name = COALESCE(%(name)s, name)
        WHERE run_uuid = %(run)s AND lifecycle_stage = 'active' RETURNING {_INFO}
    ),
    tag AS (
        INSERT INTO tags (key, value, run_uuid) SELECT 'mlflow.runName', %(name)s, run_uuid FROM run
        WHERE %(name)s IS NOT NULL {_REPLACE_TAG}
    )
    SELECT {_INFO} FROM run""",
)

# All else of a run `r`, as one document of JSON, in the order in which `tracking_rows.found_run` takes it.
# No word is in it by which `statements.py` counts what a search joins.
_DATA = """
    (SELECT json_agg(json_build_array(key, value, timestamp, step, is_nan)) FROM latest_metrics
        WHERE run_uuid = r.run_uuid),
    (SELECT json_agg(json_build_array(key, value)) FROM params WHERE run_uuid = r.run_uuid),
    (SELECT json_agg(json_build_array(key, value)) FROM tags WHERE run_uuid = r.run_uuid),
    (SELECT json_agg(json_build_array(d.dataset_uuid, d.name, d.digest, d.dataset_source_type,
            d.dataset_source, d.dataset_schema, d.dataset_profile,
            (SELECT json_agg(json_build_array(t.name, t.value)) FROM input_tags t
                WHERE t.input_uuid = i.input_uuid)))
        FROM inputs i, datasets d WHERE i.source_id = d.dataset_uuid
            AND i.destination_type = 'RUN' AND i.destination_id = r.run_uuid),
    (SELECT json_agg(json_build_array(destination_id, step)) FROM inputs
        WHERE source_type = 'RUN_OUTPUT' AND source_id = r.run_uuid AND destination_type = 'MODEL_OUTPUT')"""
_MODELS_READ = """
    (SELECT json_agg(destination_id) FROM inputs
        WHERE source_type = 'RUN_INPUT' AND source_id = r.run_uuid AND destination_type = 'MODEL_INPUT')"""

RUN = Statement("run", f"SELECT {_INFO} FROM runs WHERE run_uuid = %(run)s")
GET_RUN = Statement(
    "get_run",
    f"""
    SELECT {_INFO}, json_build_array({_DATA}, {_MODELS_READ})::text FROM runs r WHERE run_uuid = %(run)s""",
)
# A search answers without the models that a run has read.
DATA_OF_FOUND = f"json_build_array({_DATA})::text"


def _newest(name: str, nulls: str) -> Statement:
    return Statement(
        name,
        f"""
        WITH r AS (
            SELECT {_INFO} FROM runs
            WHERE experiment_id = %(experiment)s AND lifecycle_stage = %(stage)s
            ORDER BY start_time DESC NULLS {nulls}, run_uuid OFFSET %(offset)s LIMIT %(limit)s
        )
        SELECT {_INFO}, {DATA_OF_FOUND} FROM r""",
    )


# The runs of one experiment, in the order of a client that names none, and in that of MLflow's page.
NEWEST = _newest("newest", "FIRST")
NEWEST_DATED = _newest("newest_dated", "LAST")

HISTORY = f"""
    SELECT {_METRIC} FROM metrics WHERE run_uuid = %(run)s AND key = %(key)s
    ORDER BY timestamp, step, value OFFSET %(offset)s LIMIT %(limit)s"""
HISTORY_BULK = f"""
    SELECT {_METRIC}, run_uuid FROM metrics WHERE run_uuid = ANY (%(runs)s::varchar[]) AND key = %(key)s
    ORDER BY run_uuid, timestamp, step, value LIMIT %(limit)s"""

_POINT = "value, timestamp, step, is_nan"
_ORDERED = "WINDOW ordered AS (ORDER BY step, timestamp, value, is_nan)"
_PARTED = f"""
    SELECT {_POINT}, ntile(%(most)s) OVER ordered AS part FROM metrics
    WHERE run_uuid = asked.run_uuid AND key = %(key)s
        AND step BETWEEN COALESCE(%(start)s::bigint, step) AND COALESCE(%(end)s::bigint, step)
    {_ORDERED}"""
_MARKED = f"""
    SELECT {_POINT}, part, part IS DISTINCT FROM lag(part) OVER ordered AS is_first,
        lead(part) OVER ordered IS NULL AS is_last
    FROM ({_PARTED}) parted {_ORDERED}"""
# Of each run so many parts of equal size, and of each the first point; of the last part the last one.
HISTORY_SAMPLED = f"""
    SELECT %(key)s, {_POINT}, asked.run_uuid
    FROM unnest(%(runs)s::varchar[]) WITH ORDINALITY AS asked (run_uuid, place),
    LATERAL (SELECT {_POINT} FROM ({_MARKED}) marked WHERE is_first AND part < %(most)s OR is_last) point
    ORDER BY asked.place, step, timestamp, value, is_nan"""
