"""Random calls of a tracking store: each is of a seed, its number, and what the calls before have made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from mlflow.entities import (
    Dataset,
    DatasetInput,
    ExperimentTag,
    InputTag,
    LoggedModelInput,
    LoggedModelOutput,
    LoggedModelParameter,
    LoggedModelTag,
    Metric,
    Param,
    RunStatus,
    RunTag,
)

from tests.server.store_reads import (
    get_max_step_for_metric,
    get_metric_history,
    get_metric_history_bulk,
    get_metric_history_bulk_interval,
    search_runs,
)
from tests.server.store_values import (
    KEYS,
    NAME_TAG,
    POINTS,
    Arguments,
    World,
    key_of,
    metric_of,
    metrics_of,
    often,
    params_of,
    run_of,
    tags_of,
    text_of,
)

# Those that are there in other words, with an Arabic digit too, and those that are none.
ODD_EXPERIMENTS = (
    "007",
    "00",
    "\u0660",
    "²",
    " 0",
    "0_0",
    "+0",
    "-1",
    "99",
    "x",
    "",
    None,
    0,
    99,
    1.5,
    "2147483648",
    "9" * 20,
)
# As a client that forgets something sends it.
NOTHING: Any = None
# Experiments that nobody deletes, beside the default one.
STAYING = 3


@dataclass(frozen=True)
class Call:
    """A method of the store and what it is called with; `sql` executes a statement."""

    number: int
    method: str
    arguments: Arguments

    def __str__(self) -> str:
        return f"call {self.number}: {self.method}{self.arguments!r}"


def log_metric(random: Random, world: World) -> Arguments:
    return run_of(random, world), metric_of(random, world, 0.04)


def log_param(random: Random, world: World) -> Arguments:
    key = often(random, 0.8, ("p", "q", "lr"), (key_of(random, 0.4),))
    return run_of(random, world), Param(key, text_of(random, 0.08))


def set_tag(random: Random, world: World) -> Arguments:
    key = often(random, 0.85, ("t", "u", NAME_TAG, "mlflow.user"), (key_of(random, 0.4),))
    return run_of(random, world), RunTag(key, text_of(random, 0.08))


def log_batch(random: Random, world: World) -> Arguments:
    """Draw a batch; one with as much of something as MLflow takes, or one more, has little else."""
    run = run_of(random, world)
    kind = random.random()
    if kind < 0.03:
        return run, metrics_of(random, world, random.choice((1000, 1000, 1001))), [], []
    if kind < 0.06:
        sizes: tuple[int, ...] = random.choice(
            ((900, 60, 41), (900, 60, 40), (0, 100, 100), (0, 101, 0), (0, 0, 101))
        )
    elif kind < 0.07:
        return run, *random.choice(((None, [], []), ([], None, []), ((), (), ()), ([5], [], [])))
    else:
        sizes = tuple(
            random.choice(choices)
            for choices in ((0, 1, 1, 2, 5, 5, 30, 30), (0, 0, 0, 1, 3), (0, 0, 0, 1, 3))
        )
    metrics, params, tags = sizes
    return run, metrics_of(random, world, metrics), params_of(random, params), tags_of(random, tags)


def create_run(random: Random, world: World) -> Arguments:
    others = often(random, 0.5, (world.passing or ODD_EXPERIMENTS,), (ODD_EXPERIMENTS,))
    experiment = often(random, 0.88, world.experiments, others)
    user = often(random, 0.95, ("ana", "bob", ""), (None, "u" * 257, "nul\x00", 5))
    start = often(random, 0.95, (random.randrange(10**6), 5, 0), (None, -1, 2**63, 1.5, "5"))
    tags: Any = random.choice(
        (
            [],
            [RunTag("a", "b")],
            [RunTag(NAME_TAG, "n1"), RunTag("b", "é日")],
            tags_of(random, 3),
            None,
        )
    )
    if random.random() < 0.1:
        tags = random.choice(
            (
                [RunTag("d", "1"), RunTag("d", "2")],
                [RunTag("long" * 70, "1")],
                [RunTag("z", NOTHING)],
                [RunTag(NAME_TAG, "")],
                [RunTag(NAME_TAG, NOTHING)],
                [RunTag(NAME_TAG, "n1"), RunTag(NAME_TAG, "n2")],
                [RunTag(NOTHING, "x")],
                [RunTag("a'b\"{", 'c\\"%s')],
                [RunTag("v", "x" * 8001)],
                (),
            )
        )
    name = often(random, 0.93, (None, "", "given", "n1", "é日 'x'"), ("x" * 250, "x" * 251, "nul\x00", 5))
    return experiment, user, start, tags, name


def update_run_info(random: Random, world: World) -> Arguments:
    status = often(
        random,
        0.95,
        (None, *map(RunStatus.from_string, ("RUNNING", "FINISHED", "FAILED"))),
        (2, 5, 77, 0, "FINISHED"),
    )
    end = often(random, 0.93, (None, 0, 5, 10**12), (-1, 2**63, 1.5, "5", "x"))
    name = often(random, 0.93, (None, "", "new name", "y", "é日 'x'"), ("x" * 250, "x" * 251, "nul\x00", 5))
    return run_of(random, world), status, end, name


def get_run(random: Random, world: World) -> Arguments:
    return (run_of(random, world),)


def delete_run(random: Random, world: World) -> Arguments:
    return (run_of(random, world),)


def restore_run(random: Random, world: World) -> Arguments:
    return (random.choice(world.gone) if world.gone else run_of(random, world),)


def hard_delete_run(random: Random, world: World) -> Arguments:
    # Not those with thousands of points, which calls to come are about.
    return (random.choice(world.gone or world.runs[2:]),)


def delete_tag(random: Random, world: World) -> Arguments:
    return run_of(random, world), random.choice(("t", "u", NAME_TAG, "c1"))


def log_inputs(random: Random, world: World) -> Arguments:
    datasets = [dataset_of(random) for _ in range(random.choice((0, 1, 1, 2, 3)))]
    models = [
        LoggedModelInput(random.choice((*world.models, "m-1"))) for _ in range(random.choice((0, 0, 1, 2)))
    ]
    return (
        run_of(random, world),
        random.choice((datasets, datasets, datasets, None)),
        random.choice((models, None)),
    )


def dataset_of(random: Random) -> DatasetInput:
    context = often(random, 0.7, ("train", "eval"), ("é'\"\\", ""))
    tags = [InputTag("mlflow.data.context", context), InputTag("b", "c")][: random.randrange(3)]
    return DatasetInput(
        Dataset(
            random.choice(("data", "data2", "é'\"\\%s")),
            random.choice(("d1", "d2")),
            "st",
            random.choice(("s", 'a"b\\')),
            random.choice((None, "sc", "")),
            random.choice((None, "p")),
        ),
        tags,
    )


def log_outputs(random: Random, world: World) -> Arguments:
    models = [
        LoggedModelOutput(random.choice((*world.models, "m-2")), random.choice((0, 3, -1)))
        for _ in range(random.choice((1, 1, 2)))
    ]
    return run_of(random, world), models


def create_logged_model(random: Random, world: World) -> Arguments:
    return (
        random.choice(world.experiments),
        random.choice((None, "model")),
        random.choice((None, *world.runs[-3:])),
        random.choice((None, [LoggedModelTag("t", "v")])),
        random.choice((None, [LoggedModelParameter("p", "1")])),
    )


def get_logged_model(random: Random, world: World) -> Arguments:
    return (random.choice((*world.models, "m-none")),)


def create_experiment(random: Random, _world: World) -> Arguments:
    return f"passing {random.randrange(10**6)}", random.choice(
        (None, "mlflow-artifacts:/elsewhere", "s3://a/b")
    )


def one_that_passes(random: Random, world: World) -> Arguments:
    return (random.choice((*world.passing, "99")),)


def rename_experiment(random: Random, world: World) -> Arguments:
    return random.choice((*world.passing, *world.experiments)), f"renamed {random.randrange(10**6)}"


def set_experiment_tag(random: Random, world: World) -> Arguments:
    return random.choice(world.experiments), ExperimentTag("t", text_of(random, 0))


def sql(random: Random, world: World) -> Arguments:
    """Draw a change that an older MLflow, or an admin, could have made."""
    run, key = random.choice(world.runs[-8:]), random.choice(KEYS)
    if world.passing and random.random() < 0.2:
        # MLflow cannot read such a run, nor any with it.
        column = random.choice(("user_id", "status", "start_time"))
        return (f"UPDATE runs SET {column} = NULL WHERE experiment_id = {random.choice(world.passing)}",)
    return (
        random.choice(
            (
                f"UPDATE runs SET name = '' WHERE run_uuid = '{run}'",
                f"UPDATE runs SET name = NULL WHERE run_uuid = '{run}'",
                f"UPDATE runs SET status = 'SCHEDULED', end_time = NULL WHERE run_uuid = '{run}'",
                f"UPDATE runs SET artifact_uri = NULL WHERE run_uuid = '{run}'",
                f"UPDATE tags SET value = NULL WHERE key = 't' AND run_uuid = '{run}'",
                f"DELETE FROM latest_metrics WHERE key = '{key}' AND run_uuid = '{run}'",
            )
        ),
    )


# Name of the method, how often of a thousand, and what draws its arguments.
DRAWS: dict[str, tuple[int, Callable[[Random, World], Arguments]]] = {
    "log_metric": (150, log_metric),
    "log_param": (70, log_param),
    "set_tag": (70, set_tag),
    "log_batch": (160, log_batch),
    "create_run": (70, create_run),
    "update_run_info": (60, update_run_info),
    "get_run": (70, get_run),
    "search_runs": (150, search_runs),
    "_search_runs": (10, search_runs),
    "get_metric_history": (50, get_metric_history),
    "get_metric_history_bulk": (30, get_metric_history_bulk),
    "get_metric_history_bulk_interval": (40, get_metric_history_bulk_interval),
    "get_max_step_for_metric": (25, get_max_step_for_metric),
    "delete_run": (12, delete_run),
    "restore_run": (10, restore_run),
    "_hard_delete_run": (3, hard_delete_run),
    "delete_tag": (6, delete_tag),
    "log_inputs": (16, log_inputs),
    "log_outputs": (8, log_outputs),
    "create_logged_model": (8, create_logged_model),
    "get_logged_model": (6, get_logged_model),
    "create_experiment": (6, create_experiment),
    "delete_experiment": (6, one_that_passes),
    "restore_experiment": (6, one_that_passes),
    "_hard_delete_experiment": (2, one_that_passes),
    "rename_experiment": (4, rename_experiment),
    "set_experiment_tag": (2, set_experiment_tag),
    "sql": (6, sql),
}
NEXT_PAGE = 0.06


def next_call(seed: str, number: int, world: World) -> Call:
    """Draw the call of that number: sometimes for the next page of what was asked before."""
    random = Random(f"{seed} {number}")
    if world.pages and random.random() < NEXT_PAGE:
        return Call(number, *world.pages.pop())
    method = random.choices(list(DRAWS), [weight for weight, _ in DRAWS.values()])[0]
    return Call(number, method, DRAWS[method][1](random, world))


def opening(world: World) -> Iterator[tuple[str, Arguments]]:
    """Yield the first calls: experiments, runs, models, datasets, and two runs with thousands of points."""
    for number in range(STAYING):
        yield "create_experiment", (f"e{number}",)
    for number in range(10):
        experiment = world.experiments[number % (STAYING + 1)]
        yield "create_run", (experiment, "ana", 5 + number // 2, [], None)
    for number in range(2):
        yield "create_logged_model", ("0", None, world.runs[0])
        datasets = [dataset_of(Random(f"{number} {place}")) for place in range(3)]
        yield "log_inputs", (world.runs[number], datasets, [LoggedModelInput(world.models[0])])
    for start in range(0, POINTS, 1000):
        steps = range(start, start + 1000)
        each = [Metric(world.long_key, step / 7, step, step) for step in steps]
        yield "log_batch", (world.runs[0], each, [], [])
        # Most of them at one step, some of them no number.
        few = [Metric(world.long_key, float("nan") if n % 50 == 0 else n % 90, n // 9, n % 2) for n in steps]
        yield "log_batch", (world.runs[1], few, [], [])


def learn(world: World, call: Call, answer: Any) -> None:
    """Keep what the call has made; `answer` is MLflow's own, of a call that did not fail."""
    first = call.arguments[0]
    if call.method == "create_experiment":
        (world.experiments if len(world.experiments) <= STAYING else world.passing).append(answer)
    elif call.method == "create_run":
        world.runs.append(answer.info.run_id)
    elif call.method == "create_logged_model":
        world.models.append(answer.model_id)
    elif call.method == "delete_run" and first not in world.gone:
        world.gone.append(first)
    elif call.method in {"restore_run", "_hard_delete_run"} and first in world.gone:
        world.gone.remove(first)
    token = answer[1] if call.method == "_search_runs" else getattr(answer, "token", None)
    if token and call.method.endswith(("search_runs", "get_metric_history")):
        world.pages.append((call.method, (*call.arguments[:-1], token)))
