"""The page about performance names the parts of `make bench`."""

from __future__ import annotations

from bench.__main__ import PARTS
from tests.unit.doc_texts import code_in, sections, table, text_of


def test_the_page_lists_every_part_in_its_order() -> None:
    rows = table(sections(text_of("docs/explanation/performance.md"))["What is measured"])[1:]
    listed = [part for row in rows for part in code_in(row[0])]
    assert listed == list(PARTS)
