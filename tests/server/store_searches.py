"""Filters and orders for searches of runs: all of MLflow's grammar, and what is none."""

from __future__ import annotations

from random import Random

from tests.server.store_values import KEYS, World, often

KINDS = {
    "attribute": ("", "attribute.", "attributes.", "attr.", "run.", "`attributes`."),
    "metric": ("metric.", "metrics."),
    "param": ("param.", "params.", "parameter.", "parameters."),
    "tag": ("tag.", "tags."),
    "dataset": ("dataset.", "datasets."),
}
NUMERIC = ("start_time", "end_time", "created", "Created")
TEXTUAL = (
    "run_id",
    "run_name",
    "user_id",
    "user_id",
    "status",
    "status",
    "artifact_uri",
    "`run name`",
    '"Run name"',
    "`Run Name`",
)
NO_ATTRIBUTES = ("experiment_id", "lifecycle_stage", "name", "nothing")
ORDERED = (
    "run_id",
    "run_name",
    "user_id",
    "status",
    "artifact_uri",
    "start_time",
    "end_time",
    "created",
    "Created",
)
COMPARED = {
    "attribute": ("=", "!=", "LIKE", "LIKE", "ILIKE"),
    "metric": ("=", "!=", ">", ">=", "<", "<="),
    "param": ("=", "!=", "LIKE", "LIKE", "ILIKE", "IS NULL", "IS NOT NULL"),
    "tag": ("=", "!=", "LIKE", "LIKE", "ILIKE", "IS NULL", "IS NOT NULL"),
    "dataset": ("=", "!=", "LIKE", "ILIKE"),
}
# MLflow takes a list for this key alone.
LISTED = ("IN", "NOT IN", "=", "LIKE")
COMPARATORS = (
    "=",
    "!=",
    ">",
    ">=",
    "<",
    "<=",
    "LIKE",
    "ILIKE",
    "IN",
    "NOT IN",
    "IS NULL",
    "IS NOT NULL",
    "RLIKE",
)
NAMES = {
    "metric": (*KEYS, "none", "long"),
    "param": ("p", "p", "q", "lr", "b1", "b2", "é日", "x y", "none"),
    "tag": ("t", "t", "t", "u", "c1", "é日", "mlflow.runName", "mlflow.user", "none"),
    "dataset": ("name", "digest", "context"),
}
NUMBERS = (
    "0",
    "0.3",
    "1",
    "-1",
    "1.0",
    "2",
    "1e3",
    "5e-324",
    "1.7976931348623157e308",
    "99999999999999999999",
)
TEXTS = (
    "1",
    "0",
    "v",
    "",
    "%",
    "%v%",
    "_",
    "%é%",
    "V",
    "ana",
    "FINISHED",
    "RUNNING",
    "failed",
    "%name%",
    "train",
    "data%",
    "d1",
    "a\\b",
    "\\%",
    "{x}",
    "%(run)s",
    "50% %s",
    ":x :y",
    "it''s",
)
# What some runs have, and the same in other letters, which only ILIKE takes for equal.
FOUND = {
    "user_id": ("ana", "ANA", "a%", "%A%"),
    "status": ("FINISHED", "finished", "R%", "r%", "_AILED"),
    "run_name": ("n1", "N1", "given", "%e%", "%E%", "NEW name"),
    "t": ("v", "V", "%v%", "1"),
    "p": ("0", "1", "_", "%"),
    "name": ("data", "DATA", "data%", "Data_"),
    "digest": ("d1", "D1", "d%"),
    "context": ("train", "TRAIN", "%ai%", "E%"),
}
ALIKE = {"run name": "run_name", "Run name": "run_name", "Run Name": "run_name", "mlflow.runName": "run_name"}
ALIKE |= {"u": "t", "c1": "t", "é日": "t", "q": "p", "lr": "p", "b1": "p", "b2": "p"}
NO_FILTERS = (
    "bad",
    "metrics.loss",
    "metrics.loss > 'x'",
    "params.p = 1",
    "params.p = v",
    "metrics.loss > 1 OR metrics.acc > 1",
    "(metrics.loss > 1)",
    "metrics.loss > 1; SELECT 1",
    "metrics.loss == 1",
    "metrics.loss > 1 AND",
    "AND metrics.loss > 1",
    "a.b.c = '1'",
    "= 1",
    "metrics.`loss > 1",
    "run_id IN ()",
    "run_id IN ('a', 5)",
    "status IN ('FINISHED')",
    "1 = 1",
    "'",
    "--",
    "tags.t = 'nul\x00'",
    "params.p IS",
    "metrics.loss IS NULL",
)
NO_ORDERS = (
    "bad order here",
    "metrics.loss sideways",
    "nothing",
    "experiment_id",
    "dataset.name",
    "zz.z",
    "",
    "'",
    "metrics.loss, p",
)


def filter_of(random: Random, world: World) -> str | None:
    """Draw a filter: none, up to four conditions, or what MLflow refuses."""
    place = random.random()
    if place < 0.25:
        return random.choice(("", None))
    if place < 0.3:
        return random.choice(NO_FILTERS)
    count = random.choice((1, 1, 1, 1, 1, 2, 2, 3, 4))
    between = random.choice((" AND ", " AND ", " and ", "  AND\n"))
    return between.join(condition_of(random, world) for _ in range(count))


def condition_of(random: Random, world: World) -> str:
    kind = random.choice(("attribute",) * 4 + ("metric",) * 3 + ("param", "param", "tag", "tag", "dataset"))
    name = name_of(random, kind)
    bare = name.strip('`"')
    comparators = COMPARED["metric"] if bare in NUMERIC else COMPARED[kind]
    if bare == "run_id":
        comparators = LISTED
    comparator = often(random, 0.97, comparators, COMPARATORS)
    if random.random() < 0.1:
        comparator = comparator.lower()
    identifier = f"{random.choice(KINDS[kind])}{name}"
    if comparator.upper().startswith("IS"):
        return f"{identifier} {comparator}"
    return f"{identifier} {comparator} {value_of(random, world, kind, bare, comparator.upper())}"


def name_of(random: Random, kind: str) -> str:
    """Draw a key of that kind, in quotes where it needs them, and sometimes where it does not."""
    if kind == "attribute":
        return str(often(random, 0.97, TEXTUAL + NUMERIC, NO_ATTRIBUTES))
    name = str(often(random, 0.98, NAMES[kind], ("schema",)))
    needs = not name.replace("_", "").isalnum() or not name.isascii()
    if (needs and random.random() < 0.95) or random.random() < 0.1:
        return f"`{name}`" if random.random() < 0.8 else f'"{name}"'
    return name


def value_of(random: Random, world: World, kind: str, name: str, comparator: str) -> str:
    """Draw what a key is compared with, of its type as a rule."""
    if comparator in {"IN", "NOT IN"}:
        values = [
            quoted(random, text_in_filter(random, world, name)) for _ in range(random.choice((1, 2, 3)))
        ]
        return f"({', '.join(values)})"
    numeric = kind == "metric" or name in NUMERIC
    if random.random() < 0.02:
        numeric = not numeric
    if numeric:
        return random.choice(NUMBERS)
    return quoted(random, text_in_filter(random, world, name))


def text_in_filter(random: Random, world: World, name: str) -> str:
    if name == "run_id" and random.random() < 0.8:
        return random.choice(world.runs)
    if name == "artifact_uri" and random.random() < 0.5:
        return f"%{random.choice(world.runs)}%"
    found = FOUND.get(ALIKE.get(name, name), TEXTS)
    return str(often(random, 0.7, found, TEXTS))


def quoted(random: Random, text: str) -> str:
    return f"'{text}'" if random.random() < 0.85 else f'"{text}"'


def order_of(random: Random) -> list[str] | None:
    """Draw up to three keys to order by; sometimes the same twice, or what is none."""
    if random.random() < 0.3:
        # The last is the page's.
        return random.choice((None, [], ["attributes.start_time DESC"]))
    clauses = [clause_of(random) for _ in range(random.choice((1, 1, 2, 3)))]
    if random.random() < 0.05:
        clauses.append(clauses[0])
    return clauses


def clause_of(random: Random) -> str:
    if random.random() < 0.04:
        return random.choice(NO_ORDERS)
    kind = random.choice(("attribute", "metric", "param", "tag"))
    name = random.choice(ORDERED) if kind == "attribute" else name_of(random, kind)
    direction = random.choice(("", "", " ASC", " DESC", " desc"))
    return f"{random.choice(KINDS[kind])}{name}{direction}"
