"""Command lines of the system's `ssh`, what runs at their other end, and what their failures mean; pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from provisioner.errors import CommandFailed, PreflightError
from provisioner.system.files import LARGEST

BEGIN, READY, TAKEN = "provision-begin", "provision-ready", "provision-taken"
_ENDED = "provision-ended"
_NO_DIRECTORY = "no-directory"
# A link that is dead is noticed within a minute.
_OPTIONS = ("ConnectTimeout=20", "ServerAliveInterval=15", "ServerAliveCountMax=4")
# What a person's own configuration may add to a host for their own sessions.
_PLAIN = ("RemoteCommand=none", "RequestTTY=no", "PermitLocalCommand=no")
FACTS = ("home", "user", "system", "machine", "connection")


def connect(destination: str, socket: Path, *, interactive: bool, asks_about_keys: bool) -> list[str]:
    """Return the argv of the one connection that all others share.

    It tells the host's FACTS, then lasts as long as its standard input. What ssh would ask about an unknown
    host key is refused, since its question may be seen by nobody.
    """
    facts = 'printf "%s\\n" "$PWD" "$(id -un)" "$(uname -s)" "$(uname -m)" "${SSH_CONNECTION:-}"'
    script = f"echo {BEGIN}; {facts}; echo {READY}; exec cat >/dev/null"
    options = [
        *_OPTIONS,
        *_PLAIN,
        "ControlPersist=no",
        "ClearAllForwardings=yes",
        *([] if interactive else ["BatchMode=yes"]),
    ]
    options += ["StrictHostKeyChecking=yes"] if asks_about_keys else []
    return ["ssh", "-M", "-S", str(socket), *_as_options(options), "--", destination, in_sh(script)]


def over(destination: str, socket: Path, command: str, *, terminal: bool = False) -> list[str]:
    """Return the argv of a command over the shared connection, and never over another."""
    options = _as_options(["ControlMaster=no", "ProxyCommand=false", *_PLAIN[:1], *_PLAIN[2:]])
    return ["ssh", "-S", str(socket), *options, "-t" if terminal else "-T", "--", destination, command]


def forward(destination: str, socket: Path, port: int, address: str) -> list[str]:
    """Return the argv that makes the host's HOST:PORT reachable at that port of this machine."""
    return ["ssh", "-S", str(socket), "-O", "forward", "-L", f"127.0.0.1:{port}:{address}", "--", destination]


def resolved(destination: str) -> list[str]:
    """Return the argv that prints what the user's configuration makes of the destination.

    It is for `parse_resolved`.
    """
    return ["ssh", "-G", "--", destination]


def parse_resolved(text: str) -> dict[str, str]:
    """Return `hostname`, `user`, `port` and the rest, of `ssh -G`."""
    return dict(line.split(" ", 1) for line in text.splitlines() if " " in line)


def in_sh(script: str) -> str:
    """Return the command that runs the script in a POSIX shell, whatever the login shell is."""
    return f"exec /bin/sh -c {shlex.quote(script)}"


def remote(
    argv: Sequence[str], cwd: Path | None, changes: Mapping[str, str | None], *, guarded: bool = False
) -> str:
    """Return the command that runs the program there, in that directory, with those variables.

    They are set or (None) unset. The program's code is the last line on standard error. `guarded` ends it
    when its standard input does, since it would otherwise go on after a lost connection.
    """
    unset = [part for name, value in changes.items() if value is None for part in ("-u", name)]
    values = [f"{name}={value}" for name, value in changes.items() if value is not None]
    words = shlex.join(["env", *unset, *values, *argv] if changes else argv)
    enter = (
        f"cd -- {shlex.quote(str(cwd))} 2>/dev/null "
        f"|| {{ printf '\\n{_ENDED} {_NO_DIRECTORY}\\n' >&2; exit 1; }}\n"
        if cwd
        else ""
    )
    if guarded:
        # Without the redirection the shell would take the input of what runs in the background away.
        words = (
            f"exec 3<&0; {words} </dev/null & program=$!\n"
            "(cat <&3 >/dev/null; kill $program) >/dev/null 2>&1 & guard=$!\n"
            "wait $program; code=$?; kill $guard 2>/dev/null"
        )
    else:
        words += "; code=$?"
    return in_sh(f"{enter}{words}\nprintf '\\n{_ENDED} %d\\n' $code >&2; exit $code")


def ended(stderr: bytes) -> tuple[bytes, str]:
    """Return what the program wrote to standard error, and the exit marker after it: its code.

    The marker is "" when the connection was lost.
    """
    said, mark, exit_marker = stderr.rpartition(f"\n{_ENDED} ".encode())
    return (said, exit_marker.decode(errors="replace").strip()) if mark else (stderr, "")


def ended_line(line: str) -> str:
    """Return the exit marker of such a line, as `ended` does; "" for every other line."""
    return line.removeprefix(f"{_ENDED} ") if line.startswith(f"{_ENDED} ") else ""


def code_of(exit_marker: str) -> int:
    """Return the program's code; negative when a signal ended it."""
    code = int(exit_marker)
    return 128 - code if 128 < code <= 192 else code


def no_directory(exit_marker: str) -> bool:
    """Return whether the program was not started, since its directory is not there."""
    return exit_marker == _NO_DIRECTORY


def put(path: Path, size: int, mode: int) -> str:
    """Return the shell command that puts a file of that size in place whole or not at all.

    It takes the file from standard input.
    """
    folder, name = shlex.quote(str(path.parent)), shlex.quote(f".{path.name}.")
    # A lost connection looks like the end of the file.
    return in_sh(
        f"umask 022; mkdir -p -- {folder} && t=$(mktemp {folder}/{name}XXXXXX) || exit 1\n"
        "trap 'rm -f -- \"$t\"' EXIT; trap 'exit 1' HUP INT TERM PIPE\n"
        f'cat >"$t" && [ "$(wc -c <"$t")" -eq {size} ] && chmod {mode:o} "$t" || exit 1\n'
        f'sync "$t" 2>/dev/null; mv -fT -- "$t" {shlex.quote(str(path))}'
    )


def receive(new: Path) -> str:
    """Return the shell command that keeps standard input in a new file, and prints its size in bytes."""
    file = shlex.quote(str(new))
    return in_sh(
        f"umask 077; mkdir -p -- {shlex.quote(str(new.parent))} && set -C && cat >{file} && wc -c <{file}"
    )


def take_place(new: Path, path: Path, mode: int) -> str:
    """Return the shell command by which a received file takes the place of another."""
    name = shlex.quote(str(new))
    return in_sh(
        f"chmod {mode:o} {name} && {{ sync {name} 2>/dev/null; mv -fT -- {name} {shlex.quote(str(path))}; }}"
    )


def no_link(path: Path) -> str:
    """Return the shell's words that end it where the path is a link."""
    return f"if [ -L {shlex.quote(str(path))} ]; then echo 'path: it is a link' >&2; exit 1; fi"


def read_all(paths: Sequence[Path], within: Path | None = None) -> str:
    """Return the shell command that prints each file, with its size or what it is on a line before it.

    It prints nothing, and fails, where the directory `within` is a link.
    """
    first = f"{no_link(within)}\n" if within else ""
    return in_sh(
        f"{first}set -- {shlex.join(map(str, paths))}\n"
        f'for p do if [ -f "$p" ] && [ -r "$p" ] && [ "$(wc -c <"$p")" -le {LARGEST} ]\n'
        'then s=$(wc -c <"$p"); echo $s; head -c $s "$p"\n'
        'elif [ -e "$p" ]; then echo unreadable; else echo absent; fi; done'
    )


def parse_files(content: bytes, count: int) -> list[bytes | str | None]:
    """Return what `read_all` printed.

    That is the bytes, None where there is no file, a word where it cannot be read.
    """
    found: list[bytes | str | None] = []
    for _ in range(count):
        head, _, content = content.partition(b"\n")
        if head.strip().isdigit():
            size = int(head)
            found.append(content[:size])
            content = content[size:]
        else:
            found.append(None if head == b"absent" else head.decode(errors="replace"))
    return found


def own(path: Path) -> str:
    """Return the shell command that ends the script where a link, or else no file, is in the file's place."""
    file = shlex.quote(str(path))
    return (
        f'if [ -L {file} ]; then echo "sh: it is a symbolic link" >&2; exit 1; '
        f'elif [ -e {file} ] && [ ! -f {file} ]; then echo "sh: it is no regular file" >&2; exit 1; fi'
    )


def lock(path: Path, holder: str) -> str:
    """Return the shell command that holds the lock as long as its standard input lasts.

    `holder` is JSON with `%d` for its process.
    """
    file = shlex.quote(str(path))
    return in_sh(
        f"umask 077; mkdir -p -- {shlex.quote(str(path.parent))} || exit 1\n"
        # What can only be read, as on a disk that is read only, can be locked too; so on a full one.
        f"{own(path)}\nif [ -f {file} ] && [ ! -w {file} ]; then exec 9<{file}; else exec 9>>{file}; fi\n"
        f"flock -n 9; code=$?; [ $code -eq 1 ] && {{ cat {file}; echo; echo {TAKEN}; exit 1; }}; "
        "[ $code -eq 0 ] || exit $code\n"
        f"{{ printf {shlex.quote(holder)} $$ >{file}; }} 2>/dev/null; echo {READY}; cat >/dev/null 9>&-\n"
        f": 2>/dev/null >{file}"
    )


def break_lock(path: Path, process: int) -> str:
    """Return the shell command that ends the holder of a lock, if it is that process."""
    file = shlex.quote(str(path))
    return in_sh(
        f'readlink /proc/{process}/fd/* | grep -qxF "$(readlink -f {file})" && kill {process} && : >{file}'
    )


def _as_options(options: Sequence[str]) -> list[str]:
    return [part for option in options for part in ("-o", option)]


_KNOWN = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "the host key of {host} is another than before",
        (
            "find out why first: the server was set up anew, or somebody else answers in its place; "
            "then {remove}, and `ssh {destination}`"
        ),
    ),
    (
        r"Host key verification failed|No \S+ host key is known",
        "the host key of {host} is not known here",
        (
            "`ssh {destination}` shows its fingerprint and asks; "
            "or `ssh-keyscan {address} >> ~/.ssh/known_hosts`, where you trust the network"
        ),
    ),
    (
        r"Permission denied|Too many authentication failures|no mutual signature",
        "{destination} takes none of your SSH keys",
        (
            "`ssh-copy-id {destination}` puts your key there; `ssh-add` loads one with a passphrase; "
            "USER@HOST names another account"
        ),
    ),
    (
        r"Could not resolve hostname",
        "the name {host} leads nowhere",
        "check its spelling, or name the address; `ssh {destination}` has to work",
    ),
    (
        r"Connection refused|timed out|No route to host|Network is unreachable|did not answer",
        "{host} cannot be reached",
        "is it on, and its SSH port open for you? `ssh {destination}` has to work",
    ),
)


def explained(failure: CommandFailed, destination: str, resolved: Mapping[str, str]) -> PreflightError:
    """Return the error for a connection that could not be made, with what the user has to fix.

    `resolved` is as of `parse_resolved`.
    """
    seen = failure.output or failure.what
    host = destination.rpartition("@")[2]
    removal = re.search(r"ssh-keygen -f .*", seen)
    remove = f"`{removal[0].strip()}`" if removal else f"`ssh-keygen -R {host}`"
    for pattern, what, hint in _KNOWN:
        if found := re.search(f".*(?:{pattern}).*", seen):
            port = resolved.get("port", "22")
            address = f"{'' if port == '22' else f'-p {port} '}{resolved.get('hostname', host)}"
            words = {"host": host, "destination": destination, "remove": remove, "address": address}
            return PreflightError(
                what.format(**words),
                where=f"ssh {destination}",
                why=found[0].strip(" @\r"),
                hint=hint.format(**words),
            )
    return PreflightError(
        f"no connection to {destination}",
        where=f"ssh {destination}",
        why="\n".join(seen.splitlines()[-5:]),
        hint=f"`ssh {destination}` has to work",
    )
