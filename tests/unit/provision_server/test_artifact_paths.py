"""The paths that a client may name on the routes which serve artifacts as they lie in the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask, g

from provision_server.web.artifact_paths import is_of_experiment, is_owned, refuse_wide_paths
from tests.support.asgi import asked, scope_of

RUN = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    "path",
    [
        f"1/{RUN}/artifacts",
        f"1/{RUN}/artifacts/model/MLmodel",
        f"1/{RUN}/artifacts/a\nb",
        f"1/models/m-{RUN}/artifacts/model.pkl",
        f"1/traces/tr-{RUN}/artifacts/traces.json",
        f"team/place/{RUN}/artifacts/x",
        f"{RUN}/artifacts/x",
        f"1//{RUN}/./artifacts/x/",
        f"1/models/../{RUN}/artifacts/x",
    ],
)
def test_artifacts_of_one_owner_are(path: str) -> None:
    assert is_owned(path)


@pytest.mark.parametrize(
    "path",
    [
        *["", ".", "./", "..", "/", "./.", "1", "1/", "1/.", "1/models", "1/traces", "team/place"],
        *[
            f"1/{RUN}",
            f"1/{RUN}/",
            f"1/{RUN}/artifacts/..",
            f"1/{RUN}/artifacts/../..",
            f"1/{RUN}/artifacts/x/../../..",
        ],
        *[
            f"1/{RUN}/artifactsx",
            "1/run/artifacts/x",
            f"1/x{RUN}/artifacts/x",
            f"1/{RUN.upper()}/artifacts/x",
            "artifacts/x",
        ],
    ],
)
def test_what_holds_those_of_several_is_not(path: str) -> None:
    assert not is_owned(path)


@pytest.mark.parametrize(
    "path", ["5", "5/", f"5/{RUN}/artifacts/a", "5//x", f"5/models/m-{RUN}/artifacts", "5/...", "0/.hidden"]
)
def test_a_path_that_begins_with_a_number_is_of_that_experiment(path: str) -> None:
    assert is_of_experiment(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "./5/x",
        "5/./x",
        "team/place",
        "/5",
        "x5",
        "5x/y",
        "workspaces/a/5/x",
        "\N{FULLWIDTH DIGIT FIVE}/x",
        "-5",
        "5/.",
    ],
)
def test_a_path_that_hides_its_experiment_is_of_none(path: str) -> None:
    assert not is_of_experiment(path)


BASE = "/api/2.0/mlflow-artifacts"
# Each leads to 5/x, or to more, where MLflow's login would ask for no permission, or for another one.
HIDDEN = ("./5/x", "%2e/5/x", "%252e/5/x", "5/%2E/x", "team/x", "http%3A//%5B/x")


async def fastapi(_scope: object, _receive: object, send: Any) -> None:
    """Stands for MLflow's application: it answers whatever comes."""
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body"})


@dataclass
class Both:
    """MLflow's two applications, guarded; Flask's paths are asked of it, and FastAPI's own of FastAPI."""

    flask: Flask
    asgi: Any
    user: str | None

    def __call__(self, method: str, path: str) -> tuple[int, bytes]:
        if method in {"GET", "PUT"} and path.startswith(
            (f"{BASE}/artifacts/", f"/ajax-{BASE[1:]}/artifacts/")
        ):
            more: dict[str, Any] = {} if self.user is None else {"provision.user": self.user}
            answer = asked(self.asgi, scope_of(method, path, **more))
            return answer.status, answer.body
        # Werkzeug's client would take dots out of the path.
        found = self.flask.test_client().open(path, method=method)
        return found.status_code, found.data


def both(user: str | None) -> Both:
    flask = Flask(__name__)
    flask.before_request(lambda: setattr(g, "mlflow_authenticated_user", user))
    for prefix in (BASE, f"/ajax-{BASE[1:]}"):
        flask.add_url_rule(f"{prefix}/artifacts", prefix, lambda **_: "answered")
        for name in ("artifacts", "mpu/create", "mpu/complete", "mpu/abort", "presigned"):
            rule = f"{prefix}/{name}/<path:artifact_path>"
            flask.add_url_rule(rule, rule, lambda **_: "answered", methods=["GET", "PUT", "POST", "DELETE"])
    return Both(flask, refuse_wide_paths(flask, fastapi, login=user is not None), user)


@pytest.fixture(autouse=True)
def one_admin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provision_server.web.artifact_paths.is_admin", lambda user: user == "admin")


@pytest.mark.parametrize("path", HIDDEN)
def test_with_a_login_a_hidden_folder_is_refused_on_every_route(path: str) -> None:
    ana = both("ana")
    routes = [
        ("GET", "artifacts"),
        ("PUT", "artifacts"),
        ("DELETE", "artifacts"),
        ("POST", "mpu/create"),
        ("POST", "mpu/complete"),
    ]
    for method, route in [*routes, ("POST", "mpu/abort"), ("GET", "presigned")]:
        for prefix in (BASE, f"/ajax-{BASE[1:]}"):
            assert ana(method, f"{prefix}/{route}/{path}")[0] == 403, (method, route)
            assert ana(method, f"{prefix}/{route}/5/{RUN}/artifacts")[0] == 200, (method, route)
    assert ana("GET", f"{BASE}/artifacts?path={path}")[0] == 403


@pytest.mark.parametrize(
    "query", ["", "?", "?path=", "?path=x&path=5/x", "?path=5/x&path=6/x", "?p%61th=x&path=5/x", "?other=5/x"]
)
def test_with_a_login_what_is_listed_is_named_once(query: str) -> None:
    assert both("ana")("GET", f"{BASE}/artifacts{query}")[0] == 403
    assert both("ana")("GET", f"{BASE}/artifacts?path=5/x")[0] == 200


@pytest.mark.parametrize("user", ["admin", None])
def test_an_admin_and_a_server_without_a_login_may_see_all_folders(user: str | None) -> None:
    for target in ("artifacts", "artifacts/team/x", "artifacts?path=team"):
        assert both(user)("GET", f"{BASE}/{target}")[0] == 200


def test_a_stranger_is_mlflows_to_refuse() -> None:
    assert both("")("GET", f"{BASE}/artifacts/team/x")[0] == 200


@pytest.mark.parametrize("user", ["ana", "admin", None])
@pytest.mark.parametrize("prefix", [BASE, BASE.replace("2.0", "2%2e0")])
def test_nobody_deletes_more_than_one_owners_artifacts(user: str | None, prefix: str) -> None:
    for path in ("x", "5", "5/models", "5/%2e", f"5/{RUN}"):
        status, body = both(user)("DELETE", f"http://localhost{prefix}/artifacts/{path}")
        assert status == 403
        assert b"inside those of one run, model or trace" in body
    assert both(user)("DELETE", f"http://localhost{prefix}/artifacts/5/{RUN}/artifacts/x")[0] == 200
    # MLflow's own words are for what leads out.
    assert both(user)("DELETE", f"http://localhost{prefix}/artifacts/%252e%252e/x")[0] == 200
