"""Docker's command line: argv as pure functions, and its failures in words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from provisioner.errors import CommandFailed, PreflightError, ProvisionError
from provisioner.model.plan import SERVES, ObservedService, State
from provisioner.model.stack import Stack
from provisioner.runtimes.base import port_taken

MINIMUM_ENGINE = (20, 10)
MINIMUM_COMPOSE = (2, 20)
# Only on this machine.
_OR_EMBEDDED = ", or use `provision up --runtime embedded`"
_OR_SHIP = "; `provision deploy --ship-images` sends images from this machine"
_ROW = "\t".join(
    [
        "{{.ID}}",
        "{{.State}}",
        "{{.Status}}",
        '{{.Label "com.docker.compose.service"}}',
        '{{.Label "com.docker.compose.config-hash"}}',
        '{{.Label "com.docker.compose.oneoff"}}',
        "{{.Networks}}",
    ]
)


def compose(project: str, *arguments: str, files: Sequence[str] = (), progress: str = "") -> list[str]:
    """Return the argv of `docker compose` on that project.

    `files` stand in place of the directory's own (`-` is standard input).
    """
    named = [part for file in files for part in ("-f", file)]
    shown = ["--progress", progress] if progress else []
    return ["docker", "compose", *shown, "-p", project, *named, *arguments]


def only_pulls(show: Callable[[str], None]) -> Callable[[str], None]:
    """Return a function that shows, of what `up` says, only the images that it fetches, each line once.

    The rest is shown as our own steps.
    """
    seen: set[str] = set()

    def line(text: str) -> None:
        if "Pull" in text and text not in seen:
            seen.add(text)
            show(text.strip())

    return line


def list_containers(project: str) -> list[str]:
    """Return the argv that lists every container of the project, a row each for `parse_containers`."""
    return [
        "docker",
        "ps",
        "-a",
        "--no-trunc",
        "--filter",
        f"label=com.docker.compose.project={project}",
        "--format",
        _ROW,
    ]


def try_server_image(image: str) -> list[str]:
    """Return the argv that succeeds when the image has what a server image of ours has."""
    program = [
        "-c",
        "import importlib.util; assert all(map(importlib.util.find_spec, ('mlflow', 'provision_server')))",
    ]
    isolated = ["--network", "none", "--read-only", "--cap-drop", "ALL"]
    return ["docker", "run", "--rm", *isolated, "--entrypoint", "/opt/venv/bin/python", image, *program]


def list_volumes(project: str) -> list[str]:
    """Return the argv that lists the project's volumes."""
    return ["docker", "volume", "ls", "-q", "--filter", f"label=com.docker.compose.project={project}"]


def parse_containers(text: str) -> dict[str, ObservedService]:
    """Return the project's services by name, from the rows of `list_containers`."""
    found: dict[str, ObservedService] = {}
    for identifier, state, status, name, fingerprint, _ in _services(text):
        seen = ObservedService(name, _state(state, status), fingerprint, status, identifier)
        if name in found:
            # It is as wanted when there is one of it: the next plan changes it.
            detail = "two of it: a change is under way, or was interrupted"
            seen = replace(
                min(seen, found[name], key=lambda one: one.state not in SERVES), fingerprint="", detail=detail
            )
        found[name] = seen
    return found


def containers_of(text: str, service: str) -> list[str]:
    """Return the identifiers of the service's containers, from the rows of `list_containers`."""
    return [identifier for identifier, _, _, name, _, _ in _services(text) if name == service]


def state_of(text: str, container: str) -> State:
    """Return the state of one container, from the rows of `list_containers`; "missing" where it has none."""
    found = [
        _state(state, status) for identifier, state, status, *_ in _services(text) if identifier == container
    ]
    return found[0] if found else "missing"


def half_made(text: str, project: str, stack: Stack) -> dict[str, str]:
    """Return the services that lack one of their networks, and which, from the rows of `list_containers`.

    With an engine before 25, Compose makes a container with one network and connects it to the others
    afterwards. Killed in between it leaves one that Compose (5.6 at least) starts as it is from then on.
    """
    lacking = {}
    wanted = {service.name: service.networks for service in stack.services}
    for _, _, _, name, _, networks in _services(text):
        if missing := {f"{project}_{network}" for network in wanted.get(name, ())} - set(networks.split(",")):
            lacking[name] = min(missing)
    return lacking


def _services(text: str) -> Iterator[tuple[str, str, str, str, str, str]]:
    """Yield identifier, state, status, name, fingerprint and networks of each service's container.

    Leave out what `docker compose run` made.
    """
    for row in text.splitlines():
        identifier, state, status, name, fingerprint, one_off, networks = row.split("\t")
        if name and one_off != "True":
            yield identifier, state, status, name, fingerprint, networks


def parse_hashes(text: str) -> dict[str, str]:
    """Return each service's configuration hash, from `docker compose config --hash '*'`."""
    return dict(line.split() for line in text.splitlines() if line.strip())


def explained(
    failure: CommandFailed, left_as: str = "nothing was changed", *, remote: bool = False
) -> ProvisionError:
    """Return Docker's failure as what the user has to fix; the failure itself when it is not a known one."""
    other = _OR_EMBEDDED if remote else _OR_SHIP
    seen = failure.output or failure.why
    for line in seen.splitlines():
        if re.search(_PORT_TAKEN, line, re.IGNORECASE):
            return port_taken(failure.where, line.strip(), left_as)
    for pattern, what, hint in _KNOWN:
        for line in seen.splitlines():
            if re.search(pattern, line, re.IGNORECASE):
                told = what.format(image=_image_in(line, failure.argv))
                return PreflightError(
                    told, where=failure.where, why=line.strip(), hint=hint.replace(other, ""), left_as=left_as
                )
    if (
        failure.returncode is None
        and not seen
        and failure.argv[:1] == ("docker",)
        and "is not there" in failure.what
    ):
        return PreflightError(
            "Docker is not installed",
            where="PATH",
            hint=f"install Docker Engine with its Compose plugin{_OR_EMBEDDED}".replace(other, ""),
        )
    return failure


def _image_in(line: str, argv: Sequence[str]) -> str:
    """Return "the image NAME" for one that could not be fetched, as the line names it, else the one pulled.

    Return "an image" where neither is known.
    """
    found = re.search(_IMAGE, line)
    if found is None:
        return f"the image {argv[-1]}" if list(argv[:2]) == ["docker", "pull"] else "an image"
    name = next(part for part in found.groups() if part).replace("/manifests/", ":", 1)
    return f"the image {name.removeprefix('docker.io/').removeprefix('library/')}"


_IMAGE = (
    r"(?:metadata for|resolve reference \"?|access denied for|(?<!matching )manifest for) *([\w./:@-]+\w)"
    r"|/v2/([\w./-]+/manifests/[\w.:-]+)"
)
_PORT_TAKEN = r"port is already allocated|address already in use"
_KNOWN = (
    (
        r"permission denied.*(docker.sock|docker daemon|docker API)",
        "this user may not use the Docker engine",
        (
            "add yourself to the group docker (`sudo usermod -aG docker $USER`, then log in again), "
            "or use rootless Docker"
        ),
    ),
    (
        (
            r"cannot connect to the docker daemon|is the docker daemon running|"
            r"failed to connect to the docker API|error during connect"
        ),
        "the Docker engine is not running",
        f"start Docker (Docker Desktop, or `sudo systemctl start docker`){_OR_EMBEDDED}",
    ),
    (
        r"'compose' is not a docker command|unknown (shorthand )?flag.*|unknown command.*compose",
        "Docker's Compose plugin is missing",
        "install the package docker-compose-plugin (Compose 2.20 or later)",
    ),
    (
        r"cannot assign requested address",
        "the proxy's address is none of this machine",
        "set another server.bind in provision.yml, such as 127.0.0.1",
    ),
    (
        # It reads the directory that it is in as a URL.
        r"invalid URL escape",
        "Docker Compose cannot work below a folder with % in its name",
        "choose another directory for the stack (`provision up --stack DIR`), and work in one without %",
    ),
    (
        r"no space left on device",
        "the disk of the Docker engine is full",
        "free space (`docker system df` shows what is used), then run `provision up` again",
    ),
    (
        r"no matching manifest for ([\w/.-]+)",
        "{image} is not made for this machine's processor",
        "name another one in provision.yml (images.*), or run the stack on an amd64 machine",
    ),
    (
        r"client version [\d.]+ is too old|Minimum supported API version",
        "Docker's command line or Compose is too old for the engine",
        "update the packages docker-ce-cli and docker-compose-plugin",
    ),
    (
        (
            r"pull access denied|manifest unknown|no such host|TLS handshake timeout|"
            r"failed to resolve reference|dial tcp|"
            r"Client\.Timeout exceeded|pull rate limit|x509: |unauthorized: |no basic auth credentials"
        ),
        "{image} could not be fetched",
        (
            "check the network and the login (`docker login`), "
            f"or name a mirror with images.registry in provision.yml{_OR_SHIP}"
        ),
    ),
)


def build_step(line: str) -> str:
    """Return a step of a build, from the line that begins it: `1/9 RUN make`; "" for every other line."""
    found = re.match(r"#\d+ \[(?:[\w.-]+ +)*(\d+/\d+)\] (.+)|Step (\d+/\d+) : (.+)", line)
    return " ".join(" ".join(part for part in found.groups() if part).split())[:100] if found else ""


def check_versions(engine: str, compose_version: str) -> None:
    """Raise PreflightError when the engine or Compose is too old."""
    for name, version, minimum, fix in (
        ("Docker engine", engine, MINIMUM_ENGINE, "update Docker"),
        ("Docker Compose", compose_version, MINIMUM_COMPOSE, "update the package docker-compose-plugin"),
    ):
        if version_tuple(version) < minimum:
            wanted = ".".join(map(str, minimum))
            raise PreflightError(f"{name} {version} is too old", why=f"{wanted} or later is needed", hint=fix)


def version_tuple(text: str) -> tuple[int, int]:
    """Return major and minor of `v2.29.1-desktop`; (0, 0) where there are none."""
    found = re.search(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def refuse_remote(endpoint: str) -> None:
    """Raise PreflightError when Docker's current endpoint is another machine.

    File secrets and mounts would not be there.
    """
    if endpoint.startswith(("unix://", "npipe://", "/")) or not endpoint:
        return
    raise PreflightError(
        "the current Docker context is on another machine",
        where=endpoint,
        why="a stack's files and secrets must be where its engine is",
        hint=(
            "`docker context use default` (and unset DOCKER_HOST and DOCKER_CONTEXT), or work on that machine"
        ),
    )


def refuse_snap(docker: Path | None, directory: Path) -> None:
    """Raise PreflightError when Docker from snap cannot see the directory: it reads no hidden folder."""
    if docker is None or not str(docker).startswith("/snap/"):
        return
    hidden = [part for part in directory.parts if part.startswith(".") and part not in {".", ".."}]
    if hidden:
        raise PreflightError(
            "Docker from snap cannot read hidden folders",
            where=str(directory),
            why=f"{hidden[0]} is hidden",
            hint="choose a stack directory without hidden parts: `provision up --stack ~/mlflow-stack`",
        )


def current_context(config: bytes | None) -> str:
    """Return the context named in Docker's own config.json; "" where it names none."""
    try:
        return str(json.loads(config or b"{}").get("currentContext", ""))
    except (ValueError, AttributeError):
        return ""


def _state(state: str, status: str) -> State:
    if state == "running":
        if "(unhealthy)" in status:
            return "unhealthy"
        return "starting" if "(health: starting)" in status else "running"
    if state == "restarting":
        return "unhealthy"
    if state == "exited":
        return "completed" if status.startswith("Exited (0)") else "failed"
    return "stopped"
