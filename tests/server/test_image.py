"""The server image: nothing in it that the server does not need, and nothing missing that it does."""

from __future__ import annotations

import json
import re
import subprocess
from functools import cache
from typing import Any

import pytest

from tests.server.deployed import HERE, Deployed
from tests.support.installed import ROOT

ADDED = ("/opt/venv", "/opt/provision", "/var/lib/mlflow", "/var/lib/minio")
# What Python calls it, where that is another word.
MODULES = {"scikit-learn": "sklearn"}
LISTING = """\
import json, os, stat
found = {}
for at, folders, files in os.walk("/"):
    folders[:] = [name for name in folders if os.path.join(at, name) not in {"/proc", "/sys", "/dev"}]
    for name in files:
        path = os.path.join(at, name)
        mode = os.lstat(path).st_mode
        found[path] = [stat.S_IMODE(mode), stat.S_ISREG(mode)]
print(json.dumps(found))
"""
CHECK = """\
import json, re
from importlib.metadata import distributions
from packaging.requirements import Requirement
there = {re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower(): one.version for one in distributions()}
problems = []
for one in distributions():
    for text in one.requires or []:
        wanted = Requirement(text)
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        if name not in there or not wanted.specifier.contains(there[name], prereleases=True):
            problems.append([one.metadata["Name"], name, there.get(name)])
print(json.dumps({"problems": problems, "there": there}))
"""


pytestmark = pytest.mark.only("docker")


@pytest.fixture(scope="module")
def image(deployed: Deployed) -> str:
    """The image that the running server is from."""
    facts = json.loads(docker("inspect", deployed.program.container("mlflow")))[0]
    return str(facts["Image"])


def docker(*arguments: str, stdin: str = "") -> str:
    done = subprocess.run(["docker", *arguments], input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def in_image(image: str, script: str, *options: str, python: str = "/opt/venv/bin/python") -> Any:
    """What a script prints as JSON in a container of the image.

    It has nothing else, no network and nothing to write to.
    """
    alone = ["--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"]
    return json.loads(
        docker(
            "run", "--rm", "-i", *alone, *options, "--entrypoint", python, image, "-", stdin=script
        ).splitlines()[-1]
    )


@cache
def added(image: str) -> dict[str, Any]:
    """Files of the image that its base does not have."""
    base = in_image("provision-test/python:3.13", LISTING, python="python3")
    own = in_image(image, LISTING)
    return {
        path: facts
        for path, facts in own.items()
        if path not in base and not path.startswith("/etc/") and path != "/.dockerenv"
    }


def excluded() -> list[str]:
    lines = (ROOT / "deploy/requirements-excluded.txt").read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def test_it_adds_to_its_base_the_server_alone(image: str) -> None:
    files = added(image)
    assert len(files) > 5000
    assert [path for path in files if not path.startswith(ADDED)] == []


def test_it_has_no_compiler_no_installer_and_no_cache(image: str) -> None:
    files = added(image)
    tools = re.compile(
        r"/(gcc|cc|g\+\+|c\+\+|clang|cc1|ld|as|make|cmake|rustc|cargo|go|pip3?|uv|uvx|conda|poetry)(-?[0-9.]*)$"
    )
    assert [
        path for path, (mode, regular) in files.items() if mode & 0o111 and regular and tools.search(path)
    ] == []
    leftovers = re.compile(
        r"/\.cache/|/site-packages/(pip|uv|setuptools)/|\.whl$|/var/cache/|/var/lib/apt/lists/"
    )
    assert [path for path in files if leftovers.search(path) and "/mlflow/" not in path] == []
    programs = ["gcc", "cc", "g++", "c++", "clang", "make", "ld", "as", "rustc", "cargo", "go"]
    found = in_image(
        image, f"import json, shutil; print(json.dumps([name for name in {programs} if shutil.which(name)]))"
    )
    assert found == []


def test_it_has_no_file_that_gives_other_rights(image: str) -> None:
    assert [path for path, (mode, regular) in added(image).items() if regular and mode & 0o6002] == []


def test_it_runs_without_root_and_cannot_change_itself(deployed: Deployed, image: str) -> None:
    facts = json.loads(docker("inspect", image))[0]["Config"]
    assert facts["User"] == "10001:10001"
    writable = deployed.python(
        "import json, os\n"
        "places = ['/', '/opt/venv', '/opt/provision', '/etc', '/usr', '/var/lib/mlflow']\n"
        "print(json.dumps([place for place in places if os.access(place, os.W_OK)] + [os.getuid()]))"
    )
    assert json.loads(writable) == [10001]


def test_its_bytecode_is_there_since_it_can_never_be_written(image: str) -> None:
    files = added(image)
    sources = [path for path in files if path.startswith("/opt/") and path.endswith(".py")]
    compiled = {
        re.sub(r"__pycache__/([^/]+)\.cpython-\d+\.pyc$", r"\1.py", path)
        for path in files
        if path.endswith(".pyc")
    }
    bare = [path for path in sources if path not in compiled]
    assert len(sources) > 3000
    assert len(bare) < len(sources) / 200, bare[:20]


def test_what_its_packages_require_is_there_but_for_what_was_left_out(image: str) -> None:
    answer = in_image(image, CHECK)
    assert len(answer["there"]) > 50
    left_out = set(excluded())
    assert [problem for problem in answer["problems"] if problem[1] not in left_out] == []
    assert left_out & set(answer["there"]) == set()


def test_all_routes_answer_without_what_was_left_out(image: str) -> None:
    answer = in_image(image, (HERE / "exercise_script.py").read_text())
    assert answer["routes"] >= 900
    assert answer["missing"] == []
    names = {MODULES.get(name, name) for name in excluded()}
    assert names & {name.partition(".")[0] for name in answer["files"]} == set()
    places = ("/opt/venv/", "/opt/provision/", f"{answer['prefix']}/lib/python3", "/usr/lib/python3")
    strays = {
        name: path
        for name, path in answer["files"].items()
        if path and path not in {"-", "<stdin>"} and not path.startswith(places)
    }
    assert strays == {}
    looked_for = (
        "import importlib.util, json; "
        f"print(json.dumps([name for name in {sorted(names)} if importlib.util.find_spec(name)]))"
    )
    assert in_image(image, looked_for) == []
    print(
        f"\n{answer['routes']} routes; {len(answer['files'])} modules; looked for in vain: "
        f"{', '.join(answer['looked_for'])}"
    )


def test_its_size_is_known_by_layer(image: str) -> None:
    layers = [
        line.split("\t")
        for line in docker(
            "history", "--no-trunc", "--format", "{{.Size}}\t{{.CreatedBy}}", image
        ).splitlines()
    ]
    assert len(layers) > 3
    total = int(json.loads(docker("inspect", image))[0]["Size"])
    print(f"\n{total / 1e6:.0f} MB:")
    for size, made_by in layers:
        print(f"  {size:>8}  {made_by[:100]}")
    assert total < 600e6
