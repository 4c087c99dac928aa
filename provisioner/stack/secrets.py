"""The stack's secret files: made once, never over existing data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from provisioner.errors import PreflightError, WouldLoseData
from provisioner.model.secret import Secret, SecretSpec, generate
from provisioner.model.stack import Stack
from provisioner.output import Reporter
from provisioner.runtimes.embedded.directories import own_secrets
from provisioner.runtimes.embedded.service_user import current_account
from provisioner.stack.context import StackContext

FOLDER = "secrets"
# Compose mounts a secret file with the owner and mode that it has here, and services run as other users; the
# directory, which nobody else can enter, is what guards it.
FILE_MODE = 0o444
FOLDER_MODE = 0o700


def folder_mode(context: StackContext) -> int | None:
    """Return the permissions of the secrets' directory; None where there is none.

    Raise ProvisionError when it is a link: whoever can change what that leads to has the secrets.
    """
    return context.host.directory_mode(context.directory / FOLDER)


def warn_of_open_folder(context: StackContext, reporter: Reporter) -> None:
    """Say so where others can enter the secrets' directory, in which everybody may read the files."""
    mode = folder_mode(context)
    if mode is not None and mode & 0o777 != FOLDER_MODE:
        reporter.warn(
            FOLDER,
            f"{context.location}/{FOLDER} has the mode {mode:04o}, and what guards the passwords in it is "
            f"{FOLDER_MODE:04o}: `provision up` closes it; whoever entered it may know them",
        )


def close_folder(context: StackContext, reporter: Reporter) -> None:
    """Give the secrets' directory the mode that guards what is in it, and the services' account as owner."""
    mode, folder = folder_mode(context), context.directory / FOLDER
    if mode is None:
        return
    if mode & 0o777 != FOLDER_MODE:
        context.host.make_directory(folder, FOLDER_MODE)
        reporter.step("closed", "secrets", f"{context.location}/{FOLDER} had the mode {mode:04o}")
    if context.state.runtime == "embedded":
        own_secrets(context.directory, [spec.name for spec in context.model.secrets], current_account())


def missing_secrets(context: StackContext, stack: Stack) -> list[SecretSpec]:
    """Return the secrets that the stack needs and its directory lacks, or has an outdated copy of."""
    kept = read_secrets(context, [spec.name for spec in stack.secrets])
    return [spec for spec in stack.secrets if _is_missing(context, spec, kept[spec.name])]


def given_anew(
    context: StackContext, stack: Stack, environ: Mapping[str, str], reporter: Reporter
) -> list[SecretSpec]:
    """Return the secrets whose value in the environment is not their file's, which has never worked.

    Report one that has worked as kept.
    """
    asked = [spec for spec in stack.secrets if spec.from_env and environ.get(spec.from_env)]
    kept = read_secrets(context, [spec.name for spec in asked])
    anew = []
    for spec in asked:
        value = (kept[spec.name] or b"").decode(errors="replace").strip()
        if not value or value == environ[spec.from_env]:
            continue
        if _has_worked(context, spec):
            path = f"{context.location}/{FOLDER}/{spec.name}"
            reporter.step("kept", "secrets", f"{path}, which has worked; {spec.from_env} has another value")
        else:
            anew.append(spec)
    return anew


def _has_worked(context: StackContext, spec: SecretSpec) -> bool:
    # A stack from before that was kept was checked as a whole.
    return spec.name in (context.state.worked or (context.state.secrets if context.state.checked else ()))


def refuse_lost_secrets(context: StackContext, missing: list[SecretSpec], has_data: bool) -> None:
    """Raise WouldLoseData when secrets of existing data are gone: new ones would not open it."""
    if lost := lost_secrets(context, missing, has_data):
        raise lost


def lost_secrets(context: StackContext, missing: list[SecretSpec], has_data: bool) -> WouldLoseData | None:
    """Return the error where secrets of existing data are gone; None where all that it needs are there."""
    known = set(context.state.secrets)
    lost = [spec.name for spec in missing if not spec.from_file and (spec.name in known or not known)]
    if not (has_data and lost):
        return None
    return WouldLoseData(
        f"secrets are gone that this stack's data was made with: {', '.join(lost)}",
        where=f"{context.location}/{FOLDER}",
        why="the stack has data; new secrets would not open it",
        hint="put the files back from a backup; or, to give the data up, `provision erase` and start anew",
    )


def refuse_ungiven(context: StackContext, missing: list[SecretSpec], environ: Mapping[str, str]) -> None:
    """Raise PreflightError for missing secrets that only the user has; it says how to give them."""
    absent = [spec for spec in missing if _value(context, spec, environ) is None]
    if absent:
        names = ", ".join(str(context.directory / FOLDER / spec.name) for spec in absent)
        variables = " and ".join(spec.from_env for spec in absent if spec.from_env)
        raise PreflightError(
            f"{'; '.join(sorted({spec.purpose for spec in absent}))}: not given yet",
            where=names,
            hint=f"write each value into its file, or set {variables} for this one `provision up`",
        )


def make_secrets(
    context: StackContext, missing: list[SecretSpec], environ: Mapping[str, str], reporter: Reporter
) -> None:
    """Write the missing secrets as files; call `refuse_ungiven` first.

    A user's own come from the environment once, or from the user's file.
    """
    folder = context.directory / FOLDER
    context.host.make_directory(folder, FOLDER_MODE)
    if read_secrets(context, [".gitignore"])[".gitignore"] is None:
        context.host.put(b"*\n", folder / ".gitignore", 0o644)
    for spec in missing:
        value = _value(context, spec, environ)
        if value is not None:
            context.host.put(value.reveal().encode(), folder / spec.name, FILE_MODE)
    generated = [spec.name for spec in missing if spec.generated]
    if generated:
        reporter.step(
            "created",
            "secrets",
            f"{len(generated)} generated, kept in {context.location}/{FOLDER} (for your eyes only)",
        )
    if given := [f"{FOLDER}/{spec.name} from {spec.from_env}" for spec in missing if spec.from_env]:
        reporter.step("created", "secrets", f"taken from the environment: {', '.join(given)}")
    for spec in missing:
        if spec.from_file:
            reporter.step("copied", "secrets", f"{spec.name} from {spec.from_file}")


def read_secrets(context: StackContext, names: Sequence[str]) -> dict[str, bytes | None]:
    """Return the content of those files of the folder of secrets; None for one that is not there."""
    return context.host.read_below(context.directory / FOLDER, names)


def read_secret(context: StackContext, name: str) -> Secret | None:
    """Return the secret's value; None when it is not there, or empty."""
    content = read_secrets(context, [name])[name]
    return Secret(content.decode().strip()) if content else None


def needed_secret(context: StackContext, name: str, instead: str = "") -> Secret:
    """Return the secret of a stack that was made.

    Raise PreflightError where its file is gone, with what can be done `instead`.
    """
    secret = read_secret(context, name)
    if secret is None:
        where, hint = (
            f"{context.location}/{FOLDER}/{name}",
            f"put the stack's secrets back from a backup{instead}",
        )
        raise PreflightError(f"the secret {name} is not there", where=where, hint=hint)
    return secret


def _is_missing(context: StackContext, spec: SecretSpec, kept: bytes | None) -> bool:
    # A copy of a file of the user's follows that file.
    return not kept or bool(spec.from_file and kept != context.own_file(spec.from_file))


def _value(context: StackContext, spec: SecretSpec, environ: Mapping[str, str]) -> Secret | None:
    if spec.generated:
        return generate()
    if spec.from_file:
        return Secret((context.own_file(spec.from_file) or b"").decode())
    given = environ.get(spec.from_env)
    return Secret(given) if given else None
