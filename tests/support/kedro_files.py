"""Configuration files as people and programs write them, for property tests."""

from __future__ import annotations

import yaml
from hypothesis import strategies as st

_word = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
_scalar = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    _word,
    st.text(alphabet="ab:#'\"{}[],& *!|>%@`-?\n ä☃", max_size=12),
)
_tree = st.recursive(
    _scalar,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_word, inner, max_size=3)),
    max_leaves=8,
)
_server = st.dictionaries(
    st.sampled_from(["credentials", "mlflow_tracking_uri", "zeta"]), st.one_of(st.none(), _word), max_size=3
)


@st.composite
def config_files(draw: st.DrawFn) -> bytes:
    """A file as people and programs write them: any style, indentation, line end, comments.

    With or without a final newline.
    """
    data = draw(st.dictionaries(_word.filter(lambda key: key != "server"), _tree, max_size=3))
    if draw(st.booleans()):
        data["server"] = draw(st.one_of(st.none(), _server))
    keys = draw(st.permutations(list(data)))
    style = draw(st.sampled_from([None, True, False]))
    text = yaml.safe_dump(
        {key: data[key] for key in keys},
        default_flow_style=style,
        indent=draw(st.integers(2, 5)),
        sort_keys=False,
        allow_unicode=True,
    )
    if draw(st.booleans()):
        text = "# comment: {x}\n\n" + text + "# end\n"
    if draw(st.booleans()):
        text = text.rstrip("\n")
    if draw(st.booleans()):
        text = text.replace("\n", "\r\n")
    return (("\ufeff" if draw(st.booleans()) else "") + text).encode()
