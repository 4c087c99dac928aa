"""What a client may name as a location, judged without a server."""

from __future__ import annotations

import pytest

from provision_server.stores.locations import SOURCES_OF_PROMPTS, Root, place

RUN = "0123456789abcdef0123456789abcdef"
LOCAL, S3 = Root("/srv/stack/data/artifacts", login=False), Root("s3://shop/mlflow", login=False)
WITH_LOGIN = Root("s3://shop/mlflow", login=True)


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("s3://shop/mlflow/1", ("s3", "shop", "mlflow", "1")),
        ("S3://shop//mlflow/1/", ("s3", "shop", "mlflow", "1")),
        ("/srv/a b/c", ("file", "", "srv", "a b", "c")),
        ("file:///srv/%61", ("file", "", "srv", "a")),
        ("mlflow-artifacts:/%2535/x", ("mlflow-artifacts", "", "5", "x")),
        *[
            (uri, None)
            for uri in (
                "",
                "relative/path",
                "dummy",
                "s3://shop/mlflow/../x",
                "file:///srv/%2e%2e/x",
                "/srv/%252e%252e/x",
            )
        ],
        *[(uri, None) for uri in ("/srv/./x", "mlflow-artifacts:/a%00b", "http://[x/", "/srv/x/..")],
    ],
)
def test_a_place_is_read_as_often_decoded_as_mlflow_may(uri: str, found: tuple[str, ...] | None) -> None:
    assert place(uri) == found


@pytest.mark.parametrize(
    "uri", ["/srv/stack/data/artifacts", "file:///srv/stack/data/artifacts/1/x", "mlflow-artifacts:/1/x"]
)
def test_a_local_store_holds_its_directory(uri: str) -> None:
    assert LOCAL.holds(uri)
    assert not S3.holds(uri) or uri.startswith("mlflow-artifacts:")


@pytest.mark.parametrize(
    "uri",
    [
        *[
            "/srv/stack/data/artifacts2/1",
            "/srv/stack/data",
            "/",
            "/srv/stack/data/artifacts/../x",
            "file://host/srv/stack/data/artifacts/1",
        ],
        *[
            "s3://shop/mlflow",
            "srv/stack/data/artifacts",
            "mlflow-artifacts://host/1",
            "http://host/srv/stack/data/artifacts",
            "",
        ],
    ],
)
def test_a_local_store_holds_nothing_else(uri: str) -> None:
    assert not LOCAL.holds(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://shop/mlflow2/1",
        "s3://shop",
        "s3://other/mlflow/1",
        "gs://shop/mlflow/1",
        "s3://shop/mlflow/%2e%2e/x",
    ],
)
def test_a_bucket_holds_its_prefix_and_nothing_else(uri: str) -> None:
    assert S3.holds("s3://shop/mlflow/1/x")
    assert not S3.holds(uri)


@pytest.mark.parametrize("root", [LOCAL, S3, WITH_LOGIN])
@pytest.mark.parametrize(
    ("location", "word"),
    [
        *[
            (location, "outside")
            for location in (
                "s3://other/x",
                "s3://shop/mlflow/x",
                "file:///srv/stack/data/artifacts/x",
                "/tmp/x",
                "gs://b/x",
            )
        ],
        *[
            (location, "outside")
            for location in (
                "mlflow-artifacts:/",
                "mlflow-artifacts:/a/../5",
                "mlflow-artifacts://host/a",
                "models:/m/1",
            )
        ],
        *[
            (location, "another experiment")
            for location in ("mlflow-artifacts:/5", f"mlflow-artifacts:/5/{RUN}", "mlflow-artifacts:/%35/x")
        ],
    ],
)
def test_an_experiment_lies_in_a_folder_of_the_store_that_is_no_others(
    root: Root, location: str, word: str
) -> None:
    fault = root.fault_of_experiment(location, None)
    assert word in fault
    assert repr(location) in fault


def test_an_experiment_may_choose_a_folder_where_no_permissions_go_by_it() -> None:
    assert LOCAL.fault_of_experiment("mlflow-artifacts:/team/place", None) == ""
    assert S3.fault_of_experiment("mlflow-artifacts:/team", None) == ""
    assert "login" in WITH_LOGIN.fault_of_experiment("mlflow-artifacts:/team", None)


@pytest.mark.parametrize("root", [LOCAL, S3, WITH_LOGIN])
def test_the_servers_own_choice_stands_for_the_experiment_that_has_the_number(root: Root) -> None:
    assert root.fault_of_experiment("mlflow-artifacts:/7", 7) == ""
    assert root.fault_of_experiment("mlflow-artifacts:/7", 8)


def test_a_version_comes_from_what_the_server_keeps() -> None:
    home = f"s3://shop/mlflow/1/{RUN}/artifacts"
    for source in (
        f"runs:/{RUN}/model",
        "models:/m-1",
        "models:/name/1",
        f"mlflow-artifacts:/1/{RUN}/artifacts/model",
    ):
        assert S3.fault_of_source(source, None) == ""
    # As the client of a database that an older server wrote names it: with its own key, and of its run.
    assert S3.fault_of_source(f"{home}/model", home) == ""
    for source, of in (
        (f"{home}/model", None),
        (f"s3://shop/mlflow/2/{RUN}/artifacts", home),
        ("s3://other/x", "s3://other/x"),
        ("x", home),
    ):
        assert repr(source) in S3.fault_of_source(source, of)


def test_a_trace_has_its_artifacts_where_the_server_puts_them() -> None:
    home = "mlflow-artifacts:/3"
    assert S3.fault_of_trace("mlflow-artifacts:/3/traces/tr-1/artifacts", "tr-1", home) == ""
    # As an older server wrote it, beside its experiment.
    assert S3.fault_of_trace("s3://old/3/traces/tr-1/artifacts", "tr-1", "s3://old/3") == ""
    for location, trace, around in (
        (f"mlflow-artifacts:/5/{RUN}/artifacts", "tr-1", home),
        (f"mlflow-artifacts:/3/{RUN}/artifacts/traces/tr-1/artifacts", "tr-1", home),
        ("mlflow-artifacts:/5/traces/tr-1/artifacts", "tr-1", home),
        ("mlflow-artifacts:/3/traces/tr-2/artifacts", "tr-1", home),
        ("mlflow-artifacts:/3/traces/../../5/artifacts", "../../5", home),
        ("mlflow-artifacts:/3/traces/a/b/artifacts", "a/b", home),
        ("s3://shop/mlflow/3/traces/tr-1/artifacts", "tr-1", home),
        ("mlflow-artifacts:/3/traces/tr-1/artifacts", "tr-1", None),
    ):
        assert repr(location) in S3.fault_of_trace(location, trace, around)


def test_what_stands_for_a_prompts_source_is_what_mlflow_says() -> None:
    from mlflow.prompt.constants import _PROMPT_SOURCE_PLACEHOLDERS

    assert SOURCES_OF_PROMPTS == _PROMPT_SOURCE_PLACEHOLDERS
