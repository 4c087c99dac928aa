"""Editing configuration files of Kedro projects: only the bytes of our value change."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.errors import EditRefused
from provisioner.yaml_edit.edit import CREDENTIALS, TRACKING_URI, Change, edit, line, read
from provisioner.yaml_edit.refusals import refuse_flat
from tests.support.kedro_files import config_files

URI = "http://127.0.0.1:5000"
SET = [Change(TRACKING_URI, URI)]
REMOVE = [Change(TRACKING_URI, remove=True)]
OURS = f'"{URI}"'

# name: (file before, file after)
LAYOUTS: dict[str, tuple[str, str]] = {
    "plain value": (
        "server:\n  mlflow_tracking_uri: http://old:5000\n",
        f"server:\n  mlflow_tracking_uri: {OURS}\n",
    ),
    "null": (
        "server:\n  mlflow_tracking_uri: null # default\n",
        f"server:\n  mlflow_tracking_uri: {OURS} # default\n",
    ),
    "tilde": ("server:\n  mlflow_tracking_uri: ~\n", f"server:\n  mlflow_tracking_uri: {OURS}\n"),
    "no value": ("server:\n  mlflow_tracking_uri:\n", f"server:\n  mlflow_tracking_uri: {OURS}\n"),
    "no value, comment": (
        "server:\n  mlflow_tracking_uri:   # why\n",
        f"server:\n  mlflow_tracking_uri: {OURS}   # why\n",
    ),
    "single quotes stay": (
        "server:\n  mlflow_tracking_uri: 'mlruns'\n",
        f"server:\n  mlflow_tracking_uri: '{URI}'\n",
    ),
    "double quotes": (
        'server:\n  mlflow_tracking_uri: "mlruns"\n',
        f"server:\n  mlflow_tracking_uri: {OURS}\n",
    ),
    "quoted key": (
        "'server':\n  \"mlflow_tracking_uri\": a\n",
        f"'server':\n  \"mlflow_tracking_uri\": {OURS}\n",
    ),
    "comments and order": (
        "# top\ntracking:\n  run: {id: null}\n\nserver: # s\n    # inner\n    credentials: c # c\n"
        "    mlflow_tracking_uri: a # u\n# end\n",
        "# top\ntracking:\n  run: {id: null}\n\nserver: # s\n    # inner\n    credentials: c # c\n"
        f"    mlflow_tracking_uri: {OURS} # u\n# end\n",
    ),
    "windows line ends": (
        "server:\r\n  mlflow_tracking_uri: a\r\nui:\r\n  port: '5'\r\n",
        f"server:\r\n  mlflow_tracking_uri: {OURS}\r\nui:\r\n  port: '5'\r\n",
    ),
    "windows line ends, new key": (
        "server:\r\n  credentials: c\r\n",
        f"server:\r\n  mlflow_tracking_uri: {OURS}\r\n  credentials: c\r\n",
    ),
    "byte-order mark": (
        "\ufeffserver:\n  mlflow_tracking_uri: a\n",
        f"\ufeffserver:\n  mlflow_tracking_uri: {OURS}\n",
    ),
    "byte-order mark, new block": (
        "\ufeffui:\n  port: '5'\n",
        f"\ufeffui:\n  port: '5'\nserver:\n  mlflow_tracking_uri: {OURS}\n",
    ),
    "byte-order mark alone": ("\ufeff", f"\ufeffserver:\n  mlflow_tracking_uri: {OURS}\n"),
    "no final newline": ("server:\n  mlflow_tracking_uri: a", f"server:\n  mlflow_tracking_uri: {OURS}"),
    "no final newline, new block": (
        "ui:\n  port: '5'",
        f"ui:\n  port: '5'\nserver:\n  mlflow_tracking_uri: {OURS}",
    ),
    "flow": (
        "server: {mlflow_tracking_uri: a, credentials: c}\n",
        f"server: {{mlflow_tracking_uri: {OURS}, credentials: c}}\n",
    ),
    "flow without our key": (
        "server: {credentials: c} # x\n",
        f"server: {{mlflow_tracking_uri: {OURS}, credentials: c}} # x\n",
    ),
    "empty flow": ("server: {}\n", f"server: {{mlflow_tracking_uri: {OURS}}}\n"),
    "flow over lines": (
        "server: {\n  credentials: c,\n  mlflow_tracking_uri: a\n}\n",
        f"server: {{\n  credentials: c,\n  mlflow_tracking_uri: {OURS}\n}}\n",
    ),
    "all flow": ("{ui: {port: '5'}}\n", f"{{server: {{mlflow_tracking_uri: {OURS}}}, ui: {{port: '5'}}}}\n"),
    "braces only": ("{}\n", f"{{server: {{mlflow_tracking_uri: {OURS}}}}}\n"),
    "JSON text": (
        '{"server": {"mlflow_tracking_uri": null}}',
        f'{{"server": {{"mlflow_tracking_uri": {OURS}}}}}',
    ),
    "empty": ("", f"server:\n  mlflow_tracking_uri: {OURS}\n"),
    "blank lines": ("\n\n", f"\n\nserver:\n  mlflow_tracking_uri: {OURS}\n"),
    "comments only": (
        "# nothing here\n# yet",
        f"# nothing here\n# yet\nserver:\n  mlflow_tracking_uri: {OURS}",
    ),
    "document start": ("---\n# c\n", f"---\n# c\nserver:\n  mlflow_tracking_uri: {OURS}\n"),
    "server left empty": (
        "server: # none yet\ntracking:\n    run: {}\n",
        f"server: # none yet\n    mlflow_tracking_uri: {OURS}\ntracking:\n    run: {{}}\n",
    ),
    "server left empty, last": ("server:", f"server:\n  mlflow_tracking_uri: {OURS}"),
    "server null": ("server: null # x\nui: {}\n", f"server: {{mlflow_tracking_uri: {OURS}}} # x\nui: {{}}\n"),
    "server without our key": (
        "server:   # s\n\n  # c\n  credentials: c\n",
        f"server:   # s\n  mlflow_tracking_uri: {OURS}\n\n  # c\n  credentials: c\n",
    ),
    "no server": (
        "tracking:\n  run: {}\n# end\n",
        f"tracking:\n  run: {{}}\n# end\nserver:\n  mlflow_tracking_uri: {OURS}\n",
    ),
    "folded value": (
        "server:\n  mlflow_tracking_uri: >-\n    http://old\nui: {}\n",
        f"server:\n  mlflow_tracking_uri: {OURS}\nui: {{}}\n",
    ),
    "tagged value": (
        "server:\n  mlflow_tracking_uri: !!str a\n",
        f"server:\n  mlflow_tracking_uri: {OURS}\n",
    ),
    "underscore keys and interpolation elsewhere": (
        "_x: 1\nserver:\n  mlflow_tracking_uri: a\n  credentials: ${_x}\n",
        f"_x: 1\nserver:\n  mlflow_tracking_uri: {OURS}\n  credentials: ${{_x}}\n",
    ),
    "anchors elsewhere": (
        "_d: &d {a: 1}\ntracking:\n  run: *d\nserver:\n  mlflow_tracking_uri: a\n",
        f"_d: &d {{a: 1}}\ntracking:\n  run: *d\nserver:\n  mlflow_tracking_uri: {OURS}\n",
    ),
    "non-ASCII and tabs in comments": (
        "# größe\t☃\nserver: # x\ty\n  mlflow_tracking_uri: ä # y\tz\n",
        f"# größe\t☃\nserver: # x\ty\n  mlflow_tracking_uri: {OURS} # y\tz\n",
    ),
    "indented top level": ("  ui: {}\n", f"  ui: {{}}\n  server:\n    mlflow_tracking_uri: {OURS}\n"),
    "ends with a block scalar": (
        "tracking:\n  note: |\n    text",
        f"server:\n  mlflow_tracking_uri: {OURS}\ntracking:\n  note: |\n    text",
    ),
    "end marker": ("ui: {}\n...\n", f"server:\n  mlflow_tracking_uri: {OURS}\nui: {{}}\n...\n"),
}

# name: (file, line named, words of the reason)
REFUSED: dict[str, tuple[bytes, int, str]] = {
    "key twice": (
        b"server:\n  mlflow_tracking_uri: a\n  mlflow_tracking_uri: b\n",
        3,
        "is there twice, in lines 2 and 3",
    ),
    "block twice": (b"server: {}\nui: {}\nserver: {}\n", 3, "is there twice"),
    "other key twice": (b"ui: {a: 1, a: 2}\n", 1, "is there twice"),
    "several documents": (b"server: {}\n---\nserver: {}\n", 2, "several documents"),
    "tab": (b"server:\n\tmlflow_tracking_uri: a\n", 2, "a tab"),
    "alias as value": (b"_u: &u http://x\nserver:\n  mlflow_tracking_uri: *u\n", 3, "alias (*u)"),
    "alias as block": (b"_s: &s {credentials: c}\nserver: *s\n", 2, "alias (*s)"),
    "anchor used elsewhere": (
        b"server:\n  mlflow_tracking_uri: &u http://x\nui: *u\n",
        2,
        "used elsewhere too (&u)",
    ),
    "block used elsewhere": (b"server: &s\n  credentials: c\nui: *s\n", 1, "used elsewhere too (&s)"),
    "merge key": (b"_s: &s {credentials: c}\nserver:\n  <<: *s\n", 3, "merge key"),
    "latin-1": (b"# gr\xf6\xdfe\nserver: {}\n", 1, "not UTF-8"),
    "UTF-16": ("server: {}\n".encode("utf-16"), 1, "not UTF-8"),
    "list at the top": (b"- server\n", 1, "not a mapping"),
    "word at the top": (b"server\n", 1, "not a mapping"),
    "server is a word": (b"server: http://x\n", 1, "not a block of keys"),
    "server is a list": (b"server:\n- a\n", 2, "not a block of keys"),
    "value is a block": (b"server:\n  mlflow_tracking_uri:\n    a: b\n", 3, "not a single value"),
    "interpolated": (b"server:\n  mlflow_tracking_uri: ${base}/x\n", 2, "interpolation"),
    "broken": (b"server: {\n", 2, "not valid YAML"),
    "control character": (b"ui: a\nserver: \x00\n", 2, "not valid YAML"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_only_the_value_changes(name: str) -> None:
    before, after = (text.encode() for text in LAYOUTS[name])
    assert edit(before, SET, "mlflow.yml").decode() == after.decode()
    assert yaml.safe_load(after)["server"]["mlflow_tracking_uri"] == URI


@pytest.mark.parametrize("name", LAYOUTS)
def test_twice_equals_once(name: str) -> None:
    once = edit(LAYOUTS[name][0].encode(), SET, "mlflow.yml")
    assert edit(once, SET, "mlflow.yml") == once


@pytest.mark.parametrize("name", LAYOUTS)
def test_removing_leaves_everything_else(name: str) -> None:
    once = edit(LAYOUTS[name][0].encode(), SET, "mlflow.yml")
    removed = read(edit(once, REMOVE, "mlflow.yml"), "mlflow.yml")
    expected = read(once, "mlflow.yml")
    del expected["server"]["mlflow_tracking_uri"]
    if not expected["server"]:
        del expected["server"]
    assert {key: value for key, value in removed.items() if key != "server" or value} == expected


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_certain_is_refused_with_line_and_reason(name: str) -> None:
    content, number, words = REFUSED[name]
    with pytest.raises(EditRefused) as caught:
        edit(content, SET, "conf/local/mlflow.yml")
    assert words in caught.value.what
    assert caught.value.where == (
        f"conf/local/mlflow.yml, line {number}" if number else "conf/local/mlflow.yml"
    )
    assert caught.value.left_as == "the file is untouched"


def test_two_new_keys_stand_in_the_order_given() -> None:
    changes = [*SET, Change(CREDENTIALS, "mlflow_server")]
    assert (
        edit(b"", changes, "m")
        == f'server:\n  mlflow_tracking_uri: {OURS}\n  credentials: "mlflow_server"\n'.encode()
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"server:\n  mlflow_tracking_uri: {OURS}\n  credentials: c\n", "server:\n  credentials: c\n"),
        (f"ui: {{}}\nserver:\n  mlflow_tracking_uri: {OURS}\n# end\n", "ui: {}\n# end\n"),
        (
            f"server:\n  credentials: c\n  mlflow_tracking_uri: {OURS} # mine\n",
            "server:\n  credentials: c\n  # mine\n",
        ),
        (f"server: # mine\n  mlflow_tracking_uri: {OURS}\n", "server: {} # mine\n"),
        (f"server: {{mlflow_tracking_uri: {OURS}, credentials: c}}\n", "server: {credentials: c}\n"),
        (f"server: {{credentials: c, mlflow_tracking_uri: {OURS}}}\n", "server: {credentials: c}\n"),
        (f"server:\n  mlflow_tracking_uri: {OURS}", ""),
        ("ui: {}\n", "ui: {}\n"),
    ],
)
def test_removing_takes_our_key_and_no_comment_of_others(before: str, after: str) -> None:
    assert edit(before.encode(), REMOVE, "m").decode() == after


@pytest.mark.parametrize(
    "value", ["a'b", 'a"b', "a\\b", "a: b # c", " x ", "", "null", "1", "ä☃😀", "\x85\u2028\x7f", "a\tb"]
)
def test_a_value_comes_back_as_it_was_given(value: str) -> None:
    path = ("mlflow_server", "MLFLOW_TRACKING_PASSWORD")
    for before in (b"", b"other: {a: b}\n", b"mlflow_server:\n  MLFLOW_TRACKING_PASSWORD: 'x'\n", b"{}"):
        assert read(edit(before, [Change(path, value)], "c"), "c")["mlflow_server"] == {path[1]: value}


@pytest.mark.parametrize("value", ["${oc.env:HOME}", "???"])
def test_a_value_that_kedro_would_interpret_is_refused(value: str) -> None:
    with pytest.raises(EditRefused, match="Kedro gives a meaning"):
        edit(b"", [Change(TRACKING_URI, value)], "m")


@pytest.mark.parametrize(
    "flat", [b"mlflow_tracking_uri: mlruns\nexperiment:\n  name: a\n", b"experiment: {name: a}\n"]
)
def test_the_flat_form_is_recognised(flat: bytes) -> None:
    with pytest.raises(EditRefused, match="flat form of kedro-mlflow") as caught:
        refuse_flat(read(flat, "conf/base/m"), "conf/base/m", "base")
    assert (
        "move conf/base/m out of the configuration, run `kedro mlflow init --env base`" in caught.value.hint
    )


def test_a_value_s_line_is_known() -> None:
    assert line(b"a: 1\nserver:\n  # c\n  mlflow_tracking_uri: x\n", TRACKING_URI, "m") == 4
    assert line(b"a: 1\n", TRACKING_URI, "m") == 0


@settings(max_examples=300, deadline=None)
@given(config_files(), st.text(max_size=20).filter(lambda value: "${" not in value and value != "???"))
def test_bytes_outside_of_the_edit_are_identical(content: bytes, value: str) -> None:
    change = [Change(TRACKING_URI, value)]
    before = read(content, "m")
    try:
        after = edit(content, change, "m")
    except EditRefused as error:
        assert "no certain place" in error.what or "encod" in error.what  # noqa: PT017
        return
    assert edit(after, change, "m") == after
    expected = {**before, "server": {**(before.get("server") or {}), "mlflow_tracking_uri": value}}
    assert read(after, "m") == expected
    _assert_one_splice(content, after)


def _assert_one_splice(before: bytes, after: bytes) -> None:
    """All lines from before are still there, in order, but the one that held the value or its empty block."""
    old, new = before.splitlines(), after.splitlines()
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    assert len(old) - head - tail <= 1
