"""What a campaign does to a running stack, and what must be so after each of it."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.campaign.steps import Step
from tests.faults.conftest import new_stack
from tests.server.deployed import Deployed
from tests.server.flood import LOGIN_STACK, Door
from tests.server.load import logging_batches, logging_metrics, moving_artifacts
from tests.server.roles import replaced
from tests.support.checks import LoggedRun, each_once, eventually, has_ended, healthy, run_logged, running
from tests.support.ports import free_port

# A run for each step, whose every value must be there ever after;
# to look at more each time would take longer than the doing.
RUNS_LOOKED_AT = 5


class Campaign:
    """The stacks of one runtime, with everything that their servers acknowledged so far."""

    def __init__(self, installed: Path, folder: Path, runtime: str, cleanup: contextlib.ExitStack) -> None:
        self._installed, self._folder, self._cleanup = installed, folder, cleanup
        self._runtime = runtime
        self._runs: list[LoggedRun] = []
        self._door: Door | None = None
        self.program = cleanup.enter_context(new_stack(installed, folder / f"campaign-{runtime}", runtime))
        self._server = f"server:\n  port: {free_port()}\n"
        self.program.settings(self._server)
        self.uri = str(self.program.up("--no-link").data["tracking_uri"])

    def do(self, step: Step) -> None:
        """Take the step; AssertionError unless the stack comes back whole, with everything acknowledged."""
        run = run_logged(self.uri)
        self._runs.append(run)
        action: Callable[..., None] = getattr(self, step.action)
        action(**step.values)
        healthy(self.program)
        if self._runtime == "embedded":
            each_once(self.program.stack)
        for kept in self._runs[-RUNS_LOOKED_AT:]:
            kept.all_there()

    def all_there(self) -> None:
        """AssertionError when anything is gone of all that was ever acknowledged."""
        for run in self._runs:
            run.all_there()

    @property
    def deployed(self) -> Deployed:
        return Deployed(self.program, self.uri)

    def kill_service(self, service: str, after: float) -> None:
        victim = running(self.program)[service]
        self._log_for(after)
        victim.kill()
        eventually(lambda: has_ended(victim), 10, f"{service} has ended")

    def kill_all_services(self, after: float) -> None:
        processes = running(self.program)
        self._log_for(after)
        for process in processes.values():
            process.kill()
        eventually(lambda: all(map(has_ended, processes.values())), 10, "all services have ended")

    def kill_supervisor(self, after: float) -> None:
        supervisor = running(self.program)["proxy"].parent()
        assert supervisor is not None
        self._log_for(after)
        supervisor.kill()
        eventually(lambda: has_ended(supervisor), 10, "the supervisor has ended")
        self.program.up("--no-link")

    def stop_up(self, signals: Sequence[tuple[int, float, str]]) -> None:
        assert self.program("down").code == 0
        for lines, after, name in signals:
            self._stopped_up(lines, after, signal.Signals[name])
        self.program.up("--no-link")
        assert [step["verb"] for step in self.program.up("--no-link").data["steps"]] == ["unchanged"]

    def _stopped_up(self, lines: int, after: float, number: signal.Signals) -> None:
        """Start an `up`, and signal it so many seconds after so many lines; it may have ended before."""
        process = self.program.start("up", "--no-link")
        try:
            assert process.stderr is not None
            for _ in range(lines):
                if not process.stderr.readline():
                    break
            time.sleep(after)
            process.send_signal(number)
            said = "".join(process.communicate(timeout=120))
        finally:
            process.kill()
        assert "Traceback" not in said, said
        assert process.returncode in {0, 130, -number}, (process.returncode, said)

    def two_ups(self, down: bool, after: float) -> None:
        if down:
            assert self.program("down").code == 0
        first = self.program.start("up", "--no-link")
        time.sleep(after)
        second = self.program("up", "--no-link")
        codes = self.program.answer(first).code, second.code
        # Whoever comes while the other works is told so.
        assert set(codes) <= {0, 8}, codes
        assert 0 in codes, codes

    def change_workers(self, workers: str) -> None:
        self.program.settings(f"{self._server}  workers: {workers}\n")
        self.program.up("--no-link")
        if workers != "auto":
            assert len(self.deployed.processes().flask) == int(workers)

    def kill_workers(self, workers: Sequence[int], reload: bool) -> None:
        deployed = self.deployed
        before = deployed.processes()
        gone = tuple({before.workers[place % len(before.workers)] for place in workers})
        with logging_metrics(deployed) as load, moving_artifacts(deployed, killed=True) as files:
            first = [(before.master, signal.SIGHUP.value)] if reload else []
            deployed.python(
                f"import os\nfor pid, number in {[*first, *((pid, 9) for pid in gone)]}: os.kill(pid, number)"
            )
            replaced(deployed, before, before.workers if reload else gone)
            load.goes_on()
            files.goes_on(3)

    def reload(self, times: int) -> None:
        deployed = self.deployed
        with logging_metrics(deployed) as load, moving_artifacts(deployed) as files:
            for _ in range(times):
                before = deployed.processes()
                deployed.signal(before.master, signal.SIGHUP)
                replaced(deployed, before, before.workers)
                load.goes_on()
                files.goes_on(2)

    def restart(self, after: float) -> None:
        deployed = self.deployed
        with logging_metrics(deployed) as load, moving_artifacts(deployed) as files:
            time.sleep(after)
            deployed.restart()
            load.goes_on()
            files.goes_on(2)

    def log_batches(self, clients: int, calls: int) -> None:
        with logging_batches(self.deployed, clients) as load:
            load.goes_on(calls)

    def flood(self, way: str, connections: int, seconds: int) -> None:
        """Flood a stack with a login; who knows the password is let in meanwhile, and no worker is lost."""
        door = self._door_with_login()
        before = door.deployed.processes()
        flooding = door.flood(way, connections, seconds)
        answers = 0
        while flooding.poll() is None:
            assert door.admin().status == 200
            answers += 1
        seen: dict[str, int] = json.loads(flooding.communicate()[0])
        assert set(seen) <= {"401", "429"}, seen
        assert answers > seconds, f"{answers} calls of the admin in {seconds} s"
        assert door.deployed.processes() == before

    def _door_with_login(self) -> Door:
        if self._door is None:
            program = self._cleanup.enter_context(
                new_stack(self._installed, self._folder / f"login-{self._runtime}", self._runtime)
            )
            port = free_port()
            program.settings(LOGIN_STACK.format(port=port))
            program.up("--no-link")
            self._door = Door(Deployed(program, f"http://127.0.0.1:{port}"))
            self._door.ready()
        return self._door

    def _log_for(self, seconds: float) -> None:
        """Write acknowledged values for so long: what happens next comes right after them."""
        end = time.monotonic() + seconds
        self._runs[-1].log_metrics(1)
        while time.monotonic() < end:
            self._runs[-1].log_metrics(5)
