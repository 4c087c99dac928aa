"""MLflow's page in a real browser, through the proxy: it works, and comes small and cached."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

import pytest
from mlflow.entities import Metric, Param

from tests.server.deployed import Deployed
from tests.server.load import mlflow_client
from tests.support.browser import Answered, Browser, Visit

HASHED = re.compile(r"/static-files/static/.+\.[0-9a-f]{8,}\.(chunk\.)?(js|css)$")
YEAR = 31536000
CHARTS = "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval"


@dataclass(frozen=True)
class Pages:
    """Pages as a browser shows them, with their text.

    The experiments page twice, the first page, that of an experiment as a client prints its address, and a
    run's.
    """

    first: Visit
    again: Visit
    home: Visit
    experiment: Visit
    run: Visit
    home_text: str
    experiment_text: str
    run_text: str


@pytest.fixture(scope="module")
def metrics(deployed: Deployed) -> tuple[str, str, str]:
    """An experiment's name and id, and a run of it with 50 metrics."""
    client = mlflow_client(deployed)
    name = f"page {uuid.uuid4().hex[:8]}"
    experiment = client.create_experiment(name)
    run = client.create_run(experiment, run_name="shown run").info.run_id
    client.log_batch(
        run, [Metric(f"metric-{number:02}", number + 0.125, 1_500_000_000_000, 0) for number in range(50)]
    )
    client.set_terminated(run)
    return name, experiment, run


@pytest.fixture(scope="module")
def pages(deployed: Deployed, metrics: tuple[str, str, str], browser: Browser) -> Pages:
    name, experiment, run = metrics
    first = browser.visit(f"{deployed.uri}/#/experiments", lambda text: name in text, cache=False)
    again = browser.visit(f"{deployed.uri}/#/experiments", lambda text: name in text)
    home = browser.visit(f"{deployed.uri}/", lambda text: name in text)
    home_text = browser.text()
    runs = browser.visit(f"{deployed.uri}/#/experiments/{experiment}", lambda text: "shown run" in text)
    runs_text = browser.text()
    shown = browser.visit(
        f"{deployed.uri}/#/experiments/{experiment}/runs/{run}",
        lambda text: "metric-07" in text and "7.125" in text,
    )
    return Pages(first, again, home, runs, shown, home_text, runs_text, browser.text())


def has_all(wanted: tuple[str, ...], text: str) -> bool:
    return all(one in text for one in wanted)


def failed_calls(visit: Visit, uri: str) -> list[tuple[str, int, str]]:
    return [
        (request.url, request.status, request.failure)
        for request in visit.ours(uri)
        if request.failure or request.status >= 400
    ]


def test_nothing_fails_and_nothing_is_complained_of(deployed: Deployed, pages: Pages) -> None:
    for visit in (pages.first, pages.again, pages.home, pages.experiment, pages.run):
        assert len(visit.ours(deployed.uri)) > 3
        assert failed_calls(visit, deployed.uri) == []
        assert visit.complained(deployed.uri) == []


def test_the_charts_of_runs_and_their_comparison_fail_in_no_call(
    deployed: Deployed, browser: Browser
) -> None:
    client = mlflow_client(deployed)
    experiment = client.create_experiment(f"charts {uuid.uuid4().hex[:8]}")
    runs = [client.create_run(experiment, run_name=name).info.run_id for name in ("left", "right")]
    for number, run in enumerate(runs):
        points = [Metric("loss", number + 1 / step, 1_500_000_000_000 + step, step) for step in range(1, 401)]
        client.log_batch(run, points, [Param("depth", str(number))])
        client.set_terminated(run)
    quoted = quote(json.dumps(runs))
    views = {
        f"experiments/{experiment}/runs?compareRunsMode=CHART": ("left", "right", "loss"),
        f"experiments/{experiment}/runs/{runs[0]}/model-metrics": ("left", "loss"),
        f"compare-runs?runs={quoted}&experiments={quote(json.dumps([experiment]))}": ("depth", "1.0025"),
    }
    drawn = []
    for view, shown in views.items():
        visit = browser.visit(f"{deployed.uri}/#/{view}", partial(has_all, shown))
        assert failed_calls(visit, deployed.uri) == [], view
        assert visit.complained(deployed.uri) == [], view
        drawn += [one.url for one in visit.ours(deployed.uri) if CHARTS in one.url]
    assert any("metric_key=loss" in url for url in drawn)


def test_the_page_offers_what_this_server_has(deployed: Deployed, pages: Pages) -> None:
    for text in (pages.home_text, pages.experiment_text, pages.run_text):
        assert "Assistant" not in text
        assert "usage data" not in text
    # Of the two halves of MLflow's page the one that has runs.
    assert "Model registry" in pages.home_text
    assert "1 matching run" in pages.experiment_text
    assert "provision-checks" not in pages.home_text
    found = deployed.front("POST", "/api/2.0/mlflow/experiments/search", {"max_results": 1000}).document[
        "experiments"
    ]
    assert "provision-checks" not in {experiment["name"] for experiment in found}


def test_a_run_shows_its_metrics(pages: Pages) -> None:
    assert "shown run" in pages.run_text
    shown = [number for number in range(50) if f"metric-{number:02}" in pages.run_text]
    assert len(shown) >= 10
    assert all(str(number + 0.125) in pages.run_text for number in shown)


def test_files_come_compressed_and_are_kept_for_a_year(deployed: Deployed, pages: Pages) -> None:
    hashed = [request for request in pages.first.ours(deployed.uri) if HASHED.search(request.url)]
    assert hashed
    for request in hashed:
        assert kept_seconds(request) >= YEAR, request
        assert "immutable" in request.headers["cache-control"], request
    large = [request for request in hashed if request.size > 20_000]
    assert large
    assert {request.headers.get("content-encoding") for request in large} <= {"zstd", "gzip"}


def test_each_encoding_is_what_was_asked_for(deployed: Deployed, pages: Pages) -> None:
    path = next(
        request.url for request in pages.first.ours(deployed.uri) if request.url.endswith(".js")
    ).removeprefix(deployed.uri)
    plain = deployed.front("GET", path)
    assert "content-encoding" not in plain.headers
    for encoding in ("gzip", "zstd"):
        packed = deployed.front("GET", path, headers={"Accept-Encoding": encoding})
        assert packed.headers["content-encoding"] == encoding
        assert len(packed.body) < len(plain.body)
        assert "accept-encoding" in packed.headers["vary"].lower()


def test_the_page_itself_is_not_kept_so_that_an_upgrade_shows(deployed: Deployed, pages: Pages) -> None:
    index = next(
        request
        for request in pages.first.ours(deployed.uri)
        if request.url.partition("#")[0] == f"{deployed.uri}/"
    )
    assert "immutable" not in index.headers.get("cache-control", "")
    assert kept_seconds(index) == 0
    # A missing file must not be kept for a year either.
    missing = deployed.front("GET", "/static-files/static/js/main.0123456789.js")
    assert missing.status == 404
    assert "immutable" not in missing.headers.get("cache-control", "")


def test_a_second_visit_takes_little(deployed: Deployed, pages: Pages) -> None:
    first, again = pages.first.size(deployed.uri), pages.again.size(deployed.uri)
    assert first < 2_500_000
    assert again < first / 10
    print(
        f"\n{deployed.runtime}: experiments page {first:,} bytes in {pages.first.seconds:.1f} s, "
        f"again {again:,} bytes in {pages.again.seconds:.1f} s; "
        f"run page {pages.run.size(deployed.uri):,} bytes in {pages.run.seconds:.1f} s"
    )


def kept_seconds(request: Answered) -> int:
    found = re.search(r"max-age=(\d+)", request.headers.get("cache-control", ""))
    return int(found[1]) if found else 0
