"""What a link did or would do, and what it says of that."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from provisioner.kedro.address import warnings_of_environment
from provisioner.kedro.experiment import UNKNOWN, RunExperiment
from provisioner.kedro.link_plan import Placement, Work, stack_of
from provisioner.kedro.project import KedroProject
from provisioner.kedro.record import CA_FILE
from provisioner.kedro.staged_edits import StagedFile
from provisioner.model.proxy import is_loopback_url
from provisioner.output import Reporter

# The verbs of remarks that say what a link did; the others say how things are.
DONE = frozenset({"carried", "changed", "removed"})


@dataclass(frozen=True)
class Proof:
    """Whether the project's own Kedro was seen to use the URI: `ok`, `not made` or `not tracked`, and why."""

    state: str
    detail: str
    hint: str = ""
    experiment: RunExperiment = UNKNOWN
    """Where a run would log to."""


@dataclass(frozen=True)
class LinkReport:
    """What a link did: the files it changed (or, dry, would change, as a unified diff), and its proof."""

    project: Path
    uri: str
    env: str
    changed: tuple[str, ...] = ()
    diff: str = ""
    proof: Proof = Proof("not made", "")
    shared: tuple[str, ...] = ()
    """The files of the base environment that have the address: whoever has the project's repository has
    them."""
    unchanged: bool = False
    """Whether all was already as it is to be."""
    run_env: str = ""
    """The environment that a `kedro run` has to name; "" where it is the default."""


def changed_beside(work: Work, made: Sequence[Path], ca_before: bytes | None) -> list[tuple[str, str, str]]:
    """Return what this link changed beside the project's files: verb, subject and detail of each."""
    found = [
        ("created", work.project.shown(path), "Kedro reads no configuration without that folder")
        for path in made
    ]
    if work.ca != ca_before:
        verb = "removed" if work.ca is None else "created" if ca_before is None else "changed"
        found.append((verb, "certificates", str(work.folder / CA_FILE)))
    stack = stack_of(work)
    if work.record and work.record.stack != stack:
        detail = (
            f"is counted among the projects of {stack}"
            if stack
            else f"is no longer counted among those of {work.record.stack}"
        )
        found.append(("changed", "project", detail))
    return found


def report_link(work: Work, proof: Proof, beside: list[tuple[str, str, str]], reporter: Reporter) -> None:
    """Report what a link did to each file and beside them, what a person should know, and the proof."""
    for file in work.files:
        name = work.project.shown(file.path)
        keys = ", ".join(".".join(known.path) for known in file.record.owned)
        if not file.changed:
            reporter.step("unchanged", name, keys)
        elif file.after is None:
            reporter.step("removed", name, "an earlier link made it")
        elif not keys:
            reporter.step("restored", name, "an earlier link wrote there")
        else:
            reporter.step("changed" if file.now is not None else "created", name, keys)
    # What was done by an earlier link is not done again.
    remarks = [remark for remark in work.placement.remarks if work.changed or remark[0] not in DONE]
    surroundings = warnings_of_environment(
        work.uri, has_login=_sends_login(work), has_proxy=not is_loopback_url(work.uri)
    )
    for verb, subject, detail in [*beside, *remarks]:
        reporter.step(verb, subject, detail)
    for subject, text in [*work.placement.warnings, *surroundings]:
        reporter.warn(subject, text)
    reporter.step("not proved" if proof.state == "not made" else proof.state, "kedro", proof.detail)


def preview(
    project: KedroProject, uri: str, placement: Placement, files: Sequence[StagedFile], reporter: Reporter
) -> LinkReport:
    """Report the changes, and return them as a diff; of a file with secrets only the names of its keys."""
    changed = [file for file in files if file.changed]
    for file in files:
        keys = ", ".join(".".join(known.path) for known in file.record.owned)
        reporter.step("would write" if file.changed else "unchanged", project.shown(file.path), keys)
    for verb, subject, detail in placement.remarks:
        reporter.step(verb, subject, detail)
    for subject, text in placement.warnings:
        reporter.warn(subject, text)
    names = tuple(project.shown(file.path) for file in changed)
    return LinkReport(
        project.path, uri, placement.env, names, "".join(_diff(project, file) for file in changed)
    )


def _diff(project: KedroProject, file: StagedFile) -> str:
    name = project.shown(file.path)
    if file.record.private:
        return f"--- a/{name}\n+++ b/{name}\n(has secrets: its content is not shown)\n"
    old, new = (
        (content or b"").decode("utf-8", "replace").splitlines(keepends=True)
        for content in (file.now, file.after)
    )
    lines = difflib.unified_diff(old, new, f"a/{name}" if file.now is not None else "/dev/null", f"b/{name}")
    return "".join(
        text if text.endswith("\n") else f"{text}\n\\ No newline at end of file\n" for text in lines
    )


def _sends_login(work: Work) -> bool:
    """Return whether a run sends a login in any case, and the user knows."""
    return work.wanted.has_login or work.placement.old_login == "keep"
