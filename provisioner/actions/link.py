"""A tracking server and the Kedro projects that use it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from provisioner.errors import ProvisionError, Unhealthy
from provisioner.kedro.address import checked_uri
from provisioner.kedro.experiment import experiment_problem
from provisioner.kedro.link import Credentials, LinkReport, Proof, link
from provisioner.kedro.login import check_server, rest_of, shell_login
from provisioner.kedro.old_login import Ask, OldLoginFound, decided
from provisioner.kedro.project import NotAProject, find_project
from provisioner.kedro.record import OldLogin
from provisioner.mlflow_api import OtherServer, identity_of
from provisioner.model.proxy import is_loopback_url
from provisioner.model.secret import Secret
from provisioner.model.stack import ADMIN_LOGIN
from provisioner.output import (
    NOTHING_CHANGED,
    ChangedFiles,
    Data,
    KedroProjectPath,
    Reporter,
    Result,
    TrackingUri,
)
from provisioner.stack.ca_bundle import given_certificates
from provisioner.stack.context import StackContext
from provisioner.stack.find import open_made_stack
from provisioner.stack.secrets import needed_secret
from provisioner.system.certificates import clients_ca_file
from provisioner.system.http import Rest, RestError

Login = Literal["credentials", "environment", "file"]


@dataclass(frozen=True)
class ProofData:
    """Whether a plain `kedro run` would be tracked, and what was seen."""

    state: str
    detail: str


@dataclass(frozen=True)
class LinkData(Data):
    """What `link` gives; the lines for a shell with `--login environment`."""

    command: ClassVar[str] = "link"

    tracking_uri: TrackingUri
    project: KedroProjectPath
    env: Annotated[str, "the Kedro environment that was written to"]
    changed: ChangedFiles
    diff: Annotated[
        str, "the change as a unified diff, with `--dry-run` alone; of a file with secrets only its name"
    ]
    proof: Annotated[
        ProofData,
        "`state` (`ok`, `not made`, or `not tracked`: Kedro uses the address, "
        "and a plain `kedro run` leaves no run there) and `detail`",
    ]
    environment: Annotated[tuple[str, ...] | None, "lines for a shell that ask for the login's password"] = (
        None
    )


@dataclass(frozen=True)
class LinkOptions:
    """What the user asked of `link`."""

    project: Path
    uri: str | None = None
    env: str | None = None
    python: Path | None = None
    ca_file: Path | None = None
    dry_run: bool = False
    user: str | None = None
    login: Login = "credentials"
    ask: Callable[[str], str] | None = None
    check: bool = True
    old_login: OldLogin | None = None
    confirm: Ask | None = None


def link_project(option: Path | None, options: LinkOptions, reporter: Reporter) -> Result:
    """Make the project use the URI given, or this stack's; prove it where Kedro is available."""
    # Before anybody is asked for a password.
    project = find_project(options.project)
    if options.env is not None and not project.uncertain:
        project.folder(options.env)
    server = _server(option, options, reporter)
    credentials = server.credentials
    if options.user and options.ask:
        credentials = Credentials(options.user, Secret(options.ask(options.user)))
    asked = options.check and bool(options.uri or options.user)
    if asked:
        uri = checked_uri(server.uri)
        if credentials and uri.startswith("http://") and not is_loopback_url(uri):
            reporter.warn(
                "login",
                "the password travels in clear: whoever is on the way can read it; "
                "ask for an https:// address",
            )
        reporter.check(check_server(uri, credentials, server.ca))
    make = partial(
        link,
        options.project,
        server.uri,
        credentials=credentials if options.login == "credentials" else None,
        home=credentials if options.login == "file" else None,
        login_in_shell=bool(credentials) and options.login == "environment",
        ca=server.ca,
        env=options.env,
        python=options.python,
        stack=server.stack,
        identity=server.identity,
        dry_run=options.dry_run,
        reporter=reporter,
    )
    report = _with_decision(make, options.old_login, options.confirm)
    if options.check and not options.dry_run and report.proof.state != "not tracked":
        report = replace(report, proof=_proof_of_server(report, credentials, server.ca, asked=asked))
    return _link_result(options, report, credentials)


def _proof_of_server(
    report: LinkReport, credentials: Credentials | None, ca: bytes | None, *, asked: bool
) -> Proof:
    """Return the link's proof if the server would take a run now, else one that says why not.

    Check the server first unless it was `asked` before; a stack that is down may be linked to.
    """
    try:
        if not asked:
            check_server(report.uri, credentials, ca)
        problem, hint = experiment_problem(rest_of(report.uri, credentials, ca), report.proof.experiment)
    except ProvisionError as error:
        problem = f"the server takes no run now: {error.why or error.what}"
        hint = "start the stack: `provision up`" if isinstance(error, Unhealthy) else error.hint
    except RestError as error:
        problem, hint = (
            f"the server takes no run now: {error}",
            error.hint or "`provision logs mlflow` shows what it says",
        )
    return Proof("not tracked", problem, hint) if problem else report.proof


def _with_decision(
    make: Callable[..., LinkReport], old_login: OldLogin | None, confirm: Ask | None
) -> LinkReport:
    """Make the link, after the user's decision where the project has a login for another server."""
    try:
        return make(old_login=old_login)
    except OldLoginFound as found:
        return make(old_login=decided(found, confirm))


def _link_result(options: LinkOptions, report: LinkReport, credentials: Credentials | None) -> Result:
    shell = shell_login(credentials.username) if credentials and options.login == "environment" else ()
    proof = ProofData(report.proof.state, report.proof.detail)
    data = LinkData(
        report.uri, str(report.project), report.env, report.changed, report.diff, proof, shell or None
    )
    lines = [*report.diff.splitlines(), f"tracking URI  {report.uri}"]
    if shell:
        lines += ["", "# before `kedro run`, in the shell or its start file:", *shell, ""]
    if options.dry_run:
        return Result(data, (*lines, NOTHING_CHANGED))
    lines += _colleagues(options, report, credentials)
    if report.proof.state == "not tracked":
        why, hint = report.proof.detail, report.proof.hint
        left_as = "the project is linked, and waits for that"
        error = Unhealthy(
            "a plain `kedro run` would not be tracked",
            where=str(report.project),
            why=why,
            hint=hint,
            left_as=left_as,
        )
        return Result(data, tuple(lines), (error,))
    if report.unchanged:
        lines.append("nothing was changed: the project was linked like this")
    return Result(data, (*lines, f"next          {kedro_run(report.project, report.run_env)}"))


@dataclass(frozen=True)
class _Server:
    """The server to link to, as far as it is known before anybody is asked."""

    uri: str
    credentials: Credentials | None = None
    ca: bytes | None = None
    identity: str = ""
    stack: str = ""
    """The directory of the stack that it is of; "" for one elsewhere."""


def _server(option: Path | None, options: LinkOptions, reporter: Reporter) -> _Server:
    """Return the server that the user names, else this stack's, with its admin's login."""
    ca = given_certificates(options.ca_file) if options.ca_file else None
    if options.uri is not None:
        return _Server(
            options.uri,
            ca=ca,
            identity=_identity_there(checked_uri(options.uri), ca) if options.check else "",
        )
    context = open_made_stack(option, reporter)
    _refuse_other_server(context)
    return _Server(
        context.tracking_uri,
        stack_credentials(context),
        ca or context.clients_ca(),
        context.state.identity,
        str(context.source),
    )


def _identity_there(uri: str, ca: bytes | None) -> str:
    """Return the identity of the stack that answers there; "" when it is none, or nothing answers."""
    try:
        return identity_of(Rest(uri, timeout=5, trusted=ca or clients_ca_file("")))
    except RestError:
        return ""


def _refuse_other_server(context: StackContext) -> None:
    """Raise Unhealthy when another server has this stack's address; one that is down may be linked to."""
    try:
        context.client(timeout=5).get_bytes("/health")
    except OtherServer as error:
        raise Unhealthy(
            "this stack's address is another server's",
            where=context.tracking_uri,
            why=str(error),
            hint=error.hint,
        ) from error
    except RestError:
        return


def _colleagues(options: LinkOptions, report: LinkReport, credentials: Credentials | None) -> list[str]:
    """Return what the others of a team do, where the address is in files that they share."""
    if is_loopback_url(report.uri) or not report.shared:
        return []
    lines = [f"team          commit {', '.join(report.shared)}: the address is there for everybody"]
    if credentials:
        certificates = " --ca-file FILE" if options.ca_file else ""
        lines.append(
            f"colleagues    provision link --uri {report.uri} --user THEIR_NAME{certificates}, "
            "each in their own copy"
        )
    return lines


def link_projects(
    context: StackContext,
    named: tuple[Path, ...],
    wanted: bool,
    reporter: Reporter,
    confirm: Ask | None = None,
) -> list[Path]:
    """Link the projects named, else the one that the user stands in, where `wanted`; return those linked."""
    if not wanted:
        return []
    projects = list(named) or _project_here()
    for project in projects:
        make = partial(
            link,
            project,
            context.tracking_uri,
            credentials=stack_credentials(context),
            ca=context.clients_ca(),
            stack=str(context.source),
            identity=context.state.identity,
            reuse_proof=True,
            reporter=reporter,
        )
        _with_decision(make, None, confirm)
    return projects


def stack_credentials(context: StackContext) -> Credentials | None:
    """Return the login that a linked project uses; None where there is no login."""
    if context.settings.server.auth == "none":
        return None
    own = ", or link with a login of your own: `provision link --user NAME`"
    return Credentials(ADMIN_LOGIN, needed_secret(context, "mlflow_admin_password", own))


def next_step(linked: list[Path]) -> str:
    """Return the command that the user runs next."""
    if linked:
        return kedro_run(linked[0])
    return "provision link" if _project_here() else "provision link PATH_TO_KEDRO_PROJECT"


def kedro_run(project: Path, env: str = "") -> str:
    """Return the command line that runs the project, from where the user is."""
    command = f"kedro run --env {shlex.quote(env)}" if env else "kedro run"
    here = Path.cwd()
    project = project.absolute()
    return command if project in (here, *here.parents) else f"cd {shlex.quote(str(project))} && {command}"


def _project_here() -> list[Path]:
    try:
        return [find_project(Path.cwd()).path]
    except NotAProject:
        return []
