"""The program as users have it: the built wheel in an environment of its own, and stacks that it makes."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from uv import find_uv_bin

from tests.support.evidence import keep_stack
from tests.support.locks import alone

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "provision-tests"
# Root's services run as another user, who could not enter a cache below root's home.
DATA = Path("/var/tmp/provision-tests") if os.geteuid() == 0 else CACHE / "data"
TEST_IMAGES = """\
images:
  python: provision-test/python:3.13
  postgres: provision-test/postgres:18
  minio: provision-test/minio:latest
  caddy: provision-test/caddy:2.11
"""


def installed_environment(base: str = sys.executable, cache: Path = CACHE, extra: str = "[demo]") -> Path:
    """A virtual environment with the wheel of this tree and its demo extra.

    The packages are made once, the wheel when the tree changed.
    """
    declared = (ROOT / "pyproject.toml").read_text().partition("[project.scripts]")[0]
    # Each checkout has one of its own, or the tests of one would run the program of another.
    name = hashlib.sha256(f"{ROOT}\n{sys.version}\n{extra}\n{declared}".encode()).hexdigest()[:12]
    directory = cache / f"installed-{name}"
    with alone(cache / f"installed-{name}.lock"):
        made_from, tree = directory / ".tree", tree_digest()
        if made_from.exists() and made_from.read_text() == tree:
            return directory
        python = str(directory / "bin/python")
        if not (directory / ".complete").exists():
            _uv("venv", "--quiet", "--clear", "--python", base, str(directory))
            # What is imported is compiled then; who may not write here could not keep it.
            compiled = ["--compile-bytecode"] if cache != CACHE else []
            _uv("pip", "install", "--quiet", *compiled, "--python", python, f"{ROOT}{extra}")
            (directory / ".complete").touch()
        dist = directory / "dist"
        shutil.rmtree(dist, ignore_errors=True)
        _uv("build", "--quiet", "--wheel", "--out-dir", str(dist), str(ROOT))
        wheel = next(dist.glob("*.whl"))
        _uv("pip", "install", "--quiet", "--no-deps", "--reinstall", "--python", python, str(wheel))
        made_from.write_text(tree)
    return directory


def tree_digest() -> str:
    """A hash of every file that may be in the wheel."""
    folders = [
        path
        for name in ("provisioner", "deploy")
        for path in (ROOT / name).rglob("*")
        if "__pycache__" not in path.parts
    ]
    digest = hashlib.sha256()
    for path in sorted(path for path in [*ROOT.iterdir(), *folders] if path.is_file()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT)} {path.stat().st_mode} {len(content)}\0".encode() + content)
    return digest.hexdigest()


def _uv(*arguments: str) -> None:
    subprocess.run([find_uv_bin(), *arguments], check=True, cwd="/")


@dataclass
class Answer:
    """What a command said: its exit code, its JSON document, its standard error."""

    code: int
    document: dict[str, Any]
    stderr: str

    @property
    def data(self) -> dict[str, Any]:
        return dict(self.document["data"])

    @property
    def verbs(self) -> list[tuple[str, str]]:
        return [(step["verb"], step["subject"]) for step in self.data["steps"]]

    @property
    def warned(self) -> list[str]:
        """What there were warnings of."""
        return [warning["subject"] for warning in self.data["warnings"]]

    @property
    def error(self) -> dict[str, str]:
        return dict(self.document["errors"][0])


@dataclass
class Program:
    """`provision` of the installed wheel, on one stack directory."""

    environment: Path
    stack: Path
    runtime: str
    variables: dict[str, str] = field(default_factory=dict)
    log: list[str] = field(default_factory=list, repr=False)
    user: pwd.struct_passwd | None = None
    """Whom the program runs as; None for ourselves."""

    @property
    def env(self) -> dict[str, str]:
        dropped = ("MLFLOW_", "KEDRO_", "PROVISION_", "AWS_", "PYTHON", "VIRTUAL_ENV", "COMPOSE_")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
        own = {
            "PROVISION_DATA_DIR": str(DATA),
            "PROVISION_STATE_DIR": str(self.stack.parent / "state"),
            "DO_NOT_TRACK": "1",
        }
        if self.user:
            own |= {"HOME": self.user.pw_dir, "USER": self.user.pw_name, "LOGNAME": self.user.pw_name}
        return {**kept, **own, "PATH": f"{self.environment / 'bin'}:{kept['PATH']}", **self.variables}

    @property
    def identity(self) -> dict[str, Any]:
        """What `subprocess` is told so that the program runs as that user."""
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []} if self.user else {}

    def changed(self, **changes: Any) -> Program:
        """The same stack with another user, runtime or variables."""
        return replace(self, **changes)

    def argv(self, command: str, *arguments: str) -> list[str]:
        return [
            str(self.environment / "bin/provision"),
            command,
            *arguments,
            "--stack",
            str(self.stack),
            "--output",
            "json",
        ]

    def __call__(
        self, command: str, *arguments: str, cwd: Path | None = None, stdin: str = "", timeout: float = 600
    ) -> Answer:
        """The command's answer as JSON; `--stack` is added."""
        process = self.start(command, *arguments, cwd=cwd)
        try:
            return self.answer(process, stdin, timeout)
        finally:
            process.kill()

    def start(self, command: str, *arguments: str, cwd: Path | None = None) -> subprocess.Popen[str]:
        """The command started, in a process group of its own; `answer` waits for it."""
        pipe = subprocess.PIPE
        where = cwd or self.stack.parent
        return subprocess.Popen(
            self.argv(command, *arguments),
            env=self.env,
            cwd=where,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
            start_new_session=True,
            **self.identity,
        )

    def answer(self, process: subprocess.Popen[str], stdin: str = "", timeout: float = 600) -> Answer:
        """What the started command said in the end."""
        stdout, stderr = process.communicate(stdin, timeout)
        self.log.append(f"$ {shlex.join(map(str, process.args))}\n{stdout}{stderr}")  # type: ignore[arg-type]
        assert "Traceback" not in stderr, stderr
        assert stdout, f"no JSON document; exit code {process.returncode}; {stderr}"
        return Answer(process.returncode, json.loads(stdout), stderr)

    def text(
        self, *arguments: str, cwd: Path | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """The command as a person sees it, as it is."""
        argv = [str(self.environment / "bin/provision"), *arguments]
        where = cwd or self.stack.parent
        return subprocess.run(
            argv,
            env=self.env,
            cwd=where,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
            **self.identity,
        )

    def up(self, *arguments: str, cwd: Path | None = None) -> Answer:
        """A successful `up`."""
        answer = self("up", "--runtime", self.runtime, *arguments, cwd=cwd)
        assert answer.code == 0, self.report()
        return answer

    def settings(self, text: str = "") -> None:
        """Write provision.yml; on Docker with the test images."""
        self.stack.mkdir(parents=True, exist_ok=True)
        images = TEST_IMAGES if self.runtime == "docker" else ""
        (self.stack / "provision.yml").write_text(images + text)

    @contextmanager
    def running(self, settings: str) -> Iterator[Answer]:
        """The answer of the `up` that made a stack with those settings; nothing of it is left afterwards."""
        self.settings(settings)
        try:
            yield self.up("--no-link")
        finally:
            self.remove()

    def secret(self, name: str) -> str:
        return (self.stack / "secrets" / name).read_text()

    def services(self) -> dict[str, dict[str, str]]:
        """What runs, by name: container ids or pids, in `detail` and `id`."""
        if self.runtime == "docker":
            return {name: {"id": container} for name, container in self._containers().items()}
        return {row["name"]: {"id": row["detail"].partition(",")[0]} for row in self.settled()}

    def settled(self, within: float = 20) -> list[dict[str, str]]:
        """The rows of `status` once every embedded service has run for a while.

        One that just starts has no process id to tell yet.
        """
        end = time.monotonic() + within
        while True:
            rows: list[dict[str, str]] = self("status").data["services"]
            if all(row["state"] in {"running", "completed"} for row in rows):
                return rows
            assert time.monotonic() < end, f"not within {within:.0f} s: every service runs; last seen: {rows}"
            time.sleep(0.3)

    def _containers(self) -> dict[str, str]:
        rows = _docker(
            "ps",
            "-a",
            "--no-trunc",
            "--filter",
            f"label=com.docker.compose.project={self.project}",
            "--format",
            "{{.ID}}",
        )
        found = {}
        for container in rows.split():
            facts = json.loads(_docker("inspect", container))[0]
            name = facts["Config"]["Labels"]["com.docker.compose.service"]
            found[name] = f"{container} {facts['State']['StartedAt']} {facts['RestartCount']}"
        return found

    @property
    def project(self) -> str:
        return str(json.loads((self.stack / "state.json").read_text())["project"])

    def container(self, service: str) -> str:
        return self._containers()[service].split()[0]

    def address(self, service: str) -> str:
        """Where this machine reaches a container that publishes nothing: only the engine's own host can."""
        networks = json.loads(_docker("inspect", self.container(service)))[0]["NetworkSettings"]["Networks"]
        return str(next(network["IPAddress"] for network in networks.values() if network["IPAddress"]))

    def report(self) -> str:
        """Everything said so far, for a failed test."""
        return "\n".join(self.log[-3:])

    def remove(self) -> None:
        """No container, volume, process or file of it is left; what a failed start shows is kept first."""
        if sys.exc_info()[0]:
            keep_stack(self)
        if (self.stack / "state.json").exists():
            self("erase", "--yes")
        shutil.rmtree(self.stack, ignore_errors=True)


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


def stream_through_a_job(program: Program, megabytes: int) -> dict[str, Any]:
    """What came of so much sent through a job and back in $PROVISION_JOB_SECONDS, as `job_stream.py` says."""
    seconds = os.environ.get("PROVISION_JOB_SECONDS", "20")
    argv = [
        str(program.environment / "bin/python"),
        str(ROOT / "tests/support/job_stream.py"),
        str(program.stack),
        str(megabytes),
        seconds,
    ]
    done = subprocess.run(argv, env=program.env, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    came: dict[str, Any] = json.loads(done.stdout)
    assert came["seconds"] >= float(seconds) * 0.9
    return came
