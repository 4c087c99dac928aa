"""A run of which only its own row has been read: what asks for more gets it by one statement more.

Most of MLflow's server asks for a run to learn of which experiment it is, or where its artifacts are; a
permission is judged so with each call of a user.
"""

from __future__ import annotations

from collections.abc import Callable

from mlflow.entities import Run, RunData, RunInfo, RunInputs, RunOutputs


class LazyRun(Run):  # type: ignore[misc, unused-ignore]
    """MLflow's Run; `read` reads all of it, and raises what MLflow raises where it is gone meanwhile."""

    def __init__(self, info: RunInfo, read: Callable[[], Run]) -> None:
        super().__init__(info, RunData())
        self._read = read
        self._whole: Run | None = None

    # MLflow finds an entity's properties in its own class alone.

    @property
    def info(self) -> RunInfo:
        return self._info

    @property
    def data(self) -> RunData:
        return self.whole().data

    @property
    def inputs(self) -> RunInputs | None:
        return self.whole().inputs

    @property
    def outputs(self) -> RunOutputs | None:
        return self.whole().outputs

    def whole(self) -> Run:
        """Return all of the run, read once."""
        if self._whole is None:
            self._whole = self._read()
        return self._whole
