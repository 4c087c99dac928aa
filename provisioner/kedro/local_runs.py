"""Runs that a project logged into its own folder before it was linked: no tracking server shows them."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

_FOLDER, _DATABASE = "mlruns", "mlflow.db"
_MOST = 10_000


@dataclass(frozen=True)
class LocalRuns:
    """A project's store of runs: its path there, how many (up to 10,000), and the command that shows them."""

    path: str
    runs: int
    command: str

    @property
    def seen(self) -> str:
        """Return the sentence that tells a person of it."""
        count = (
            "1 run stays"
            if self.runs == 1
            else f"{self.runs}{' or more' if self.runs == _MOST else ''} runs stay"
        )
        return f"{count} there and not on the server: `{self.command}` in the project shows them"


def local_runs(project: Path) -> list[LocalRuns]:
    """Return the project's stores that have runs: a folder of files, or a database; nothing is written."""
    found = [
        # MLflow 3.13 and later open a store of files only with that variable, which earlier ones do not know.
        LocalRuns(
            _FOLDER,
            _in_files(project / _FOLDER),
            f"MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri {_FOLDER}",
        ),
        LocalRuns(
            _DATABASE,
            _in_database(project / _DATABASE),
            f"mlflow ui --backend-store-uri sqlite:///{_DATABASE}",
        ),
    ]
    return [store for store in found if store.runs]


def _in_files(folder: Path) -> int:
    # Of the folders beside experiments, as that of models, none has a meta.yaml of its own.
    try:
        experiments = [path.parent for path in folder.glob("*/meta.yaml")]
        runs = (run for experiment in experiments for run in experiment.glob("*/meta.yaml"))
        return sum(1 for _ in itertools.islice(runs, _MOST))
    except OSError:
        return 0


def _in_database(path: Path) -> int:
    if not path.is_file():
        return 0
    # Immutable: without it SQLite may make files beside a database that it only reads.
    address = f"file:{quote(str(path))}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(address, uri=True)) as database:
            (count,) = database.execute(
                "SELECT count(*) FROM (SELECT 1 FROM runs LIMIT ?)", [_MOST]
            ).fetchone()
            return int(count)
    except sqlite3.Error:
        return 0
