"""Link a Kedro project to a tracking server, and prove it."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from provisioner.errors import LinkRefused
from provisioner.kedro.address import checked_uri
from provisioner.kedro.git_ignore import refuse_visible
from provisioner.kedro.introspection import (
    GIVEN,
    NAMED,
    Interpreter,
    Loaded,
    ask,
    certain_project,
    choose_interpreter,
    old_client,
    refusal,
)
from provisioner.kedro.link_plan import ClientEntry, Credentials, Placement, Wanted, Work, stack_of
from provisioner.kedro.link_report import LinkReport, Proof, changed_beside, preview, report_link
from provisioner.kedro.login import write_home_login
from provisioner.kedro.old_login import OldLoginRule
from provisioner.kedro.placement import make_placement
from provisioner.kedro.project import KedroProject, config_files, find_project
from provisioner.kedro.record import (
    CA_FILE,
    LinkRecord,
    OldLogin,
    digest,
    forget,
    holding,
    keep_ca,
    linked_projects,
    load_record,
    record_folder,
    save_record,
)
from provisioner.kedro.staged_edits import StagedEdits, StagedFile
from provisioner.model.login import LOGIN
from provisioner.model.proxy import is_loopback_url
from provisioner.output import Reporter
from provisioner.system.files import make_folders, read_file, remove_empty_folder, remove_file, replace_file
from provisioner.system.proxies import swallowing_proxy

__all__ = ["Credentials", "LinkReport", "Proof", "link", "linked_projects"]


def link(
    project: Path,
    uri: str,
    *,
    credentials: Credentials | None = None,
    home: Credentials | None = None,
    login_in_shell: bool = False,
    ca: bytes | None = None,
    env: str | None = None,
    python: Path | None = None,
    stack: str = "",
    identity: str = "",
    old_login: OldLogin | None = None,
    reuse_proof: bool = False,
    dry_run: bool = False,
    reporter: Reporter,
) -> LinkReport:
    """Make the project at the path (or above it) use the URI, and ask its own Kedro for proof.

    LinkRefused leaves every byte. `credentials` go into the project, `home` into MLflow's own file of this
    account, or the shell has them; `identity` is what the server there says it is; `old_login` decides about
    a login that the project has for another server: raise OldLoginFound when nobody has decided.
    `reuse_proof` asks Kedro only where its files changed since it was asked last.
    """
    uri = checked_uri(uri)
    found, interpreter = _understood(find_project(project), python)
    folder = record_folder(found.path)
    # A dry run writes nothing, so it needs no lock.
    with contextlib.nullcontext() if dry_run else holding(folder, "link"):
        record = load_record(folder)
        draft = StagedEdits(found, record, folder)
        client = ClientEntry(credentials, folder / CA_FILE if ca else None)
        wanted = Wanted(uri, client, bool(credentials or home or login_in_shell), env)
        placement, files = _decided(found, draft, wanted, OldLoginRule(old_login, record, identity), home)
        if dry_run:
            return preview(found, uri, placement, files, reporter)
        work = Work(
            found, folder, record, placement, files, wanted, stack, identity, ca, interpreter, reuse_proof
        )
        return _carry_out(work, reporter)


def _understood(project: KedroProject, python: Path | None) -> tuple[KedroProject, Interpreter]:
    """Return the project with all its settings, and the Python that knows them."""
    known = load_record(record_folder(project.path))
    interpreter = choose_interpreter(project, python, known.python if known else "")
    return certain_project(project, interpreter), interpreter


def _decided(
    project: KedroProject, draft: StagedEdits, wanted: Wanted, rule: OldLoginRule, home: Credentials | None
) -> tuple[Placement, list[StagedFile]]:
    """Return the placement, and every file as it shall be; raise LinkRefused where git would see a login."""
    placement = make_placement(project, draft, wanted, rule)
    if home:
        write_home_login(draft, home)
    files = draft.files()
    _refuse_what_git_sees(project, files if wanted.client.credentials else ())
    return placement, files


def _refuse_what_git_sees(project: KedroProject, files: Sequence[StagedFile]) -> None:
    for file in files:
        if file.record.private and file.record.owned:
            refuse_visible(project, file.path)


def _carry_out(work: Work, reporter: Reporter) -> LinkReport:
    """Remember, write, prove; what cannot be proved false stays."""
    made: list[Path] = []
    ca_before = read_file(work.folder / CA_FILE)
    new = _new_record(work)
    save_record(work.folder, new, [(file.record, file.first) for file in work.files if file.record.owned])
    try:
        keep_ca(work.folder, work.ca)
        for file in work.changed:
            made += _write(work.project, file)
        run_folder = make_folders(work.project.folder(work.placement.proof_env))
        made += run_folder
        new = replace(
            new, folders=tuple(dict.fromkeys([*new.folders, *(work.project.shown(path) for path in made)]))
        )
        proof, proved = _prove(work)
    except BaseException:
        keep_ca(work.folder, ca_before)
        _roll_back(work, made)
        raise
    save_record(work.folder, replace(new, proved=proved), [])
    beside = changed_beside(work, run_folder, ca_before)
    report_link(work, proof, beside, reporter)
    names = tuple(work.project.shown(file.path) for file in work.changed)
    base = work.project.folder(work.project.base_env)
    shared = tuple(
        work.project.shown(file.path)
        for file in work.files
        if file.record.owned and base in file.path.parents
    )
    run_env = "" if work.placement.proof_env == work.project.default_env() else work.placement.proof_env
    unchanged = not names and not beside
    return LinkReport(
        work.project.path, work.uri, work.placement.env, names, "", proof, shared, unchanged, run_env
    )


def _new_record(work: Work) -> LinkRecord:
    files = tuple(file.record for file in work.files if file.record.owned)
    folders = work.record.folders if work.record else ()
    proved = work.record.proved if work.record else ""
    placement = work.placement
    python = str(work.interpreter.path) if work.interpreter.reason in (GIVEN, NAMED) else ""
    stack = stack_of(work)
    return LinkRecord(
        str(work.project.path),
        stack,
        work.uri,
        placement.env,
        files,
        folders,
        proved,
        work.identity,
        placement.old_login,
        python,
    )


def _write(project: KedroProject, file: StagedFile) -> list[Path]:
    if file.after is None:
        remove_file(file.path)
        return []
    made = make_folders(file.path.parent)
    replace_file(file.path, file.after, file.mode)
    return made


def _roll_back(work: Work, made: Sequence[Path]) -> None:
    """Restore every file as it was when this link began, and the record too."""
    for file in work.changed:
        if file.now is None:
            remove_file(file.path)
        else:
            replace_file(file.path, file.now, file.mode_now)
    for path in reversed(made):
        remove_empty_folder(path)
    if work.record is None:
        forget(work.folder)
    else:
        save_record(work.folder, work.record, [])


def _prove(work: Work) -> tuple[Proof, str]:
    """Return what a run would do, as its Kedro says and this shell lets it, and a fingerprint.

    The fingerprint is of all that Kedro's answer depends on; "" where that is no proof.
    """
    proof, fingerprint = _heard(work)
    # Beyond this machine a proxy may be the way, and the server down just now.
    if (
        proof.state != "not tracked"
        and is_loopback_url(work.uri)
        and (swallowed := swallowing_proxy(work.uri))
    ):
        cause, fix = swallowed
        return Proof("not tracked", f"{proof.detail}; but {cause}", fix), fingerprint
    return proof, fingerprint


def _heard(work: Work) -> tuple[Proof, str]:
    """Return what the project's Kedro says now, and a fingerprint of all that it depends on.

    The fingerprint is "" without a proof. Raise LinkRefused when Kedro says something else.
    """
    env, interpreter = work.placement.proof_env, work.interpreter
    if interpreter.path is None:
        return Proof("not made", interpreter.reason), ""
    fingerprint = _fingerprint(work, interpreter.path)
    if work.reuse_proof and work.record and work.record.proved == fingerprint and not work.changed:
        return Proof(
            "ok", f"the files are as they were when Kedro in {env} was seen to take {work.uri}"
        ), fingerprint
    answer = ask(work.project, interpreter, [env])
    if answer.error:
        return Proof("not made", answer.error), ""
    loaded = answer.environments[env]
    if loaded.error:
        said, hint = refusal(work.project, loaded, work.reader)
        if not loaded.uncertain:
            raise _refused(work, f"Kedro cannot load it: {said}", hint)
        return Proof("not made", f"{said}, unless a hook of the project's registers it"), ""
    _refuse_different(work, loaded)
    detail = f"`kedro run` in {env} uses {work.uri} ({answer.versions}; {interpreter.reason})"
    if loaded.problem:
        return Proof("not tracked", f"{detail}; but {loaded.problem}", loaded.hint), ""
    if old := old_client(answer.mlflow):
        work.placement.warnings.append(("client", old))
    return Proof("ok", detail, experiment=loaded.experiment), fingerprint


def _refuse_different(work: Work, loaded: Loaded) -> None:
    wrong = ""
    if loaded.uri != work.uri:
        wrong = f"Kedro takes {loaded.uri} ({loaded.origin})"
    elif work.client and loaded.credentials != work.placement.entry:
        wrong = f"Kedro takes the credentials {loaded.credentials or 'of nobody'}, not {work.placement.entry}"
    elif not _same_login(loaded, work.client):
        wrong = f"Kedro takes another login from the credentials {work.placement.entry}"
    elif (
        work.placement.old_login == "remove"
        and loaded.credentials != work.placement.entry
        and LOGIN & loaded.login.keys()
    ):
        wrong = f"Kedro still takes the login {loaded.credentials}, which was made for another server"
    if wrong:
        raise _refused(work, wrong, "`provision doctor` shows where each environment's value comes from")


def _refused(work: Work, why: str, hint: str) -> LinkRefused:
    return LinkRefused(
        f"a `kedro run` in {work.placement.proof_env} would not use {work.uri}",
        where=str(work.project.path),
        why=why,
        hint=hint,
        left_as="every file is as it was",
    )


def _same_login(loaded: Loaded, client: ClientEntry) -> bool:
    return all(
        loaded.login.get(name) == hashlib.sha256(value.encode()).hexdigest()
        for name, value in client.values().items()
    )


def _fingerprint(work: Work, interpreter: Path) -> str:
    """Return a hash of what decides the proof.

    That is the settings, the files that Kedro reads for it, this shell and the interpreter.
    """
    project = work.project
    paths = [project.path / "pyproject.toml", project.settings_file]
    for env in dict.fromkeys((project.base_env, work.placement.proof_env)):
        for kind in ("mlflow", "globals", "credentials"):
            paths += config_files(project, env, kind)
    parts = [digest(read_file(path) or b"") + project.shown(path) for path in paths]
    shell = [os.environ.get(name, "") for name in ("KEDRO_ENV", "MLFLOW_TRACKING_URI", "PYTHONPATH")]
    return digest("\n".join([work.uri, work.placement.proof_env, str(interpreter), *shell, *parts]).encode())
