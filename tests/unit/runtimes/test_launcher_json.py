"""The JSON that a launcher reads: whole, read back as it was written, and moved with its places."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from provisioner.runtimes.embedded.processes import Binaries, moved_launcher
from provisioner.runtimes.embedded.supervisord_conf import ProcessSpec, read_launcher, render_launcher
from tests.unit.runtimes.specs import BINARIES, embedded

DIRECTORIES = ("/", "/data", "/home", "/srv", "/srv/a", "/srv/ab", "/srv/a/data/home", "/usr", "/secrets")
ODD = ("/a b", "/a.*", "/(x)+$", "/^[/]", "/data\\1", "/a=/data", "/a:/srv/a", "/ä\n", "/unix:", "/env/bin/x")
PROGRAMS = ("/env/bin", "/srv/a/data/environments/1/bin", "/data/bin", "/e (1)/bin", "/a:/srv/a/bin")
directories = st.sampled_from((*DIRECTORIES, *ODD)) | st.builds(
    lambda parts: "/" + "/".join(parts),
    st.lists(st.sampled_from(("data", "home", "srv", "a", "ab", "a b", "x+", "=", ":")), max_size=4),
)
# A person's own words in a value stay as they are.
SETTINGS = (
    "backend_store: {kind: external, uri: "
    "'postgresql+psycopg2://u@db.example.com/data?sslrootcert=/srv/a/data/home/ca.pem'}"
)


def written_at(directory: str, programs: str, text: str) -> str:
    return render_launcher(tuple(embedded(text, Path(directory), Binaries(Path(programs))).values()))


def test_the_launcher_reads_whole_command_lines_whatever_they_hold() -> None:
    odd = ProcessSpec(
        "odd", ("/a b/%(x)s", 'quo"te', "ä\n"), {"KEY": "50%, it's"}, stop_signal="INT", log="logs/odd.log"
    )
    read = json.loads(render_launcher([odd, embedded()["mlflow"]]))
    assert read["odd"] == {
        "argv": ["/a b/%(x)s", 'quo"te', "ä\n"],
        "environment": {"KEY": "50%, it's"},
        "parent_death_signal": "SIGINT",
        "grace_seconds": 10,
        "long_running": True,
        "reads": [],
        "log": "logs/odd.log",
    }
    assert "log" not in read["mlflow"]


def test_a_launchers_json_says_all_of_its_processes() -> None:
    every = (
        *embedded().values(),
        ProcessSpec("odd", ("/a b/%(x)s",), {"KEY": "ä"}, long_running=False, log="odd.log"),
    )
    assert read_launcher(render_launcher(every)) == every
    for text in ("", "[]", "{}", "{}x", '{"mlflow": {}}', render_launcher([every[-1]])):
        with pytest.raises(ValueError, match=r"."):
            moved_launcher(text, BINARIES, Path("/stack"))


def test_a_launchers_json_follows_the_environment_and_the_directory_and_keeps_all_else() -> None:
    text = render_launcher(tuple(embedded().values()))
    assert moved_launcher(text, BINARIES, Path("/stack")) == text
    entries = json.loads(text) | {"mlflow": json.loads(text)["mlflow"] | {"of a later release": ["/stack"]}}
    moved = moved_launcher(json.dumps(entries), Binaries(Path("/other env/bin")), Path("/home/a:b"))
    assert '"/stack' not in moved.replace('"/stack"\n', "", 1)
    assert moved_launcher(moved, BINARIES, Path("/stack")) == json.dumps(entries, indent=2) + "\n"


@given(directories, directories, st.sampled_from(PROGRAMS), st.sampled_from(PROGRAMS))
@example("/data", "/srv/mlflow", "/env/bin", "/env/bin")
@example("/", "/srv/mlflow", "/env/bin", "/env/bin")
@example("/srv/a", "/srv/ab", "/srv/a/data/environments/1/bin", "/env/bin")
def test_moved_it_is_what_would_have_been_written_there(
    before: str, now: str, programs_before: str, programs_now: str
) -> None:
    for settings in ("", SETTINGS):
        there = written_at(now, programs_now, settings)
        text = written_at(before, programs_before, settings)
        assert moved_launcher(text, Binaries(Path(programs_now)), Path(now)) == there
        assert moved_launcher(there, Binaries(Path(programs_before)), Path(before)) == text


def test_paths_are_found_wherever_a_value_may_have_them() -> None:
    entries = json.loads(render_launcher(tuple(embedded().values())))
    forms = ("--data={}/data", "file://{}/data", "unix:{}/x.sock", "path={}/data", "{}/data:/usr/bin")
    alone = ("/stackx/data", "see {}/data", "x:{}/data", "{}x/data")
    entries["proxy"]["argv"] += [form.format("/stack") for form in (*forms, *alone)]
    moved = json.loads(moved_launcher(json.dumps(entries), BINARIES, Path("/stack/stack")))
    assert moved["proxy"]["argv"][-len(forms + alone) :] == [
        *(form.format("/stack/stack") for form in forms),
        *(form.format("/stack") for form in alone),
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("argv", []),
        ("argv", [5]),
        ("argv", "python"),
        ("environment", {"HOME": 5}),
        ("environment", []),
        ("grace_seconds", "x"),
        ("grace_seconds", -1),
        ("grace_seconds", 10**9),
        ("grace_seconds", True),
        ("long_running", "yes"),
        ("parent_death_signal", 15),
        ("reads", [None]),
        ("log", 5),
        ("listen", [["127.0.0.1"]]),
        ("listen", [5]),
    ],
)
def test_a_process_of_another_form_is_no_launchers(key: str, value: object) -> None:
    entries = json.loads(render_launcher(tuple(embedded().values())))
    for name in ("initdb", "mlflow"):
        with pytest.raises(ValueError, match=key):
            read_launcher(json.dumps(entries | {name: entries[name] | {key: value}}))


def test_a_launchers_json_of_odd_names_or_depth_is_none() -> None:
    entries = json.loads(render_launcher(tuple(embedded().values())))
    for text in (
        json.dumps(entries | {"../x": entries["mlflow"]}),
        json.dumps(entries | {"mlflow": 5}),
        "[" * 100_000,
    ):
        with pytest.raises(ValueError, match=r"."):
            read_launcher(text)
