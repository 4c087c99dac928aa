"""The texts of the repository say what the program does: compared with it, name by name."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import yaml

import provisioner
from docs import generate, screens
from provisioner import errors
from provisioner.model.setting_keys import setting_names
from provisioner.model.settings import Settings
from provisioner.model.settings_text import parse_settings
from provisioner.output import Data, Recorder, Result, result_document
from tests.support.commands import COMMANDS, PROGRAM, named
from tests.unit.doc_texts import (
    DOCUMENTS,
    ROOT,
    arguments_of,
    code_blocks,
    code_in,
    command_sections,
    documented_options,
    example_settings,
    options_of,
    provision_lines,
    sections,
    setting_codes,
    table,
    text_of,
)

KEYS_OF_MLFLOW_YML = ("server.mlflow_tracking_uri", "server.mlflow_registry_uri", "server.credentials")
GROUPS = (["user"],)
COMMON = {"--stack", "--output", "--help"}
OUR_FOLDERS = ("docs/", "tests/", "provisioner/", ".ci/")


def error_codes() -> dict[int, list[str]]:
    """The codes of errors by the exit code that they give, sorted."""
    codes: dict[int, set[str]] = {}
    for kind in every_kind(errors.ProvisionError):
        codes.setdefault(kind.exit_code, set()).add(kind.code)
    return {exit_code: sorted(named) for exit_code, named in codes.items()}


def every_kind(kind: type[errors.ProvisionError]) -> Iterator[type[errors.ProvisionError]]:
    """The class and all that derive from it, wherever they are: of every module that a command may import."""
    for module in pkgutil.walk_packages(provisioner.__path__, "provisioner."):
        if "demo_project" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    yield kind
    for derived in kind.__subclasses__():
        yield from every_kind(derived)


def repository_files() -> list[Path]:
    """Every file that git has or would take."""
    argv = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def test_every_command_has_its_section_and_no_other_has_one() -> None:
    assert set(command_sections()) == set(COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_and_argument_of_a_command_is_documented(name: str) -> None:
    arguments, body = command_sections()[name]
    command = COMMANDS[name]
    assert documented_options(body) == options_of(command) - COMMON
    assert arguments == arguments_of(command)


def test_the_common_options_are_those_that_every_command_has() -> None:
    assert (
        documented_options(sections(text_of("docs/reference/commands.md"))["Common to all commands"])
        == COMMON
    )
    for command in COMMANDS.values():
        assert options_of(command) >= COMMON


def test_the_options_of_the_program_itself_are_documented() -> None:
    line = next(
        line
        for line in text_of("docs/reference/commands.md").splitlines()
        if line.startswith("`provision` itself has")
    )
    assert {code for code in code_in(line) if code.startswith("-")} == options_of(PROGRAM)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_says_what_it_touches(name: str) -> None:
    _, body = command_sections()[name]
    topics = re.findall(r"^- \*\*(.+?):\*\* \S", body, flags=re.MULTILINE)
    assert topics == ["Reads", "Writes", "Network", "Processes", "Exit codes"]


def test_the_table_of_exit_codes_is_that_of_the_errors() -> None:
    rows = table(sections(text_of("docs/reference/commands.md"))["Exit codes"])[1:]
    codes = {int(exit_code): code_in(named) for exit_code, named, _ in rows}
    assert {exit_code: named for exit_code, named in codes.items() if named} == error_codes()
    assert {exit_code for exit_code, named in codes.items() if not named} == {0, 2}
    assert list(codes) == sorted(codes)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_names_only_exit_codes_that_exist(name: str) -> None:
    _, body = command_sections()[name]
    line = re.search(r"^- \*\*Exit codes:\*\* (.+(?:\n  .+)*)", body, flags=re.MULTILINE)
    assert line
    codes = [int(code) for code in re.findall(r"\b\d+\b", re.sub(r"\([^)]*\)", "", line[1]))]
    assert codes[0] == 0
    assert codes == sorted(set(codes))
    assert set(codes) <= {0, *error_codes()}


def test_every_exit_code_but_success_is_explained_to_people() -> None:
    rows = table(text_of("docs/how-to/troubleshooting.md"))[1:]
    assert [int(row[0]) for row in rows] == sorted({2, *error_codes()})


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_line_in_the_texts_parses(document: str) -> None:
    for words in provision_lines(text_of(document)):
        if not words or words[0].startswith("-"):
            assert set(words) <= options_of(PROGRAM)
            continue
        name, rest = named(words)
        assert name or words in GROUPS, f"provision {' '.join(words)}"
        if not name:
            continue
        if rest == arguments_of(COMMANDS[name]):
            # A heading's form, not a line to type.
            continue
        # A usage error fails the test in its own words.
        COMMANDS[name].make_context(name, [word for word in rest if word != "--help"])


def test_the_command_lines_are_really_found() -> None:
    found = [" ".join(words) for document in DOCUMENTS for words in provision_lines(text_of(document))]
    assert {
        "up",
        "env",
        "link ../shop",
        "logs -f",
        "render --check",
        "up --runtime embedded",
        "schema",
    } <= set(found)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_setting_named_in_the_texts_exists(document: str) -> None:
    assert setting_codes(text_of(document)) <= {*setting_names(), *KEYS_OF_MLFLOW_YML}


def test_the_page_of_settings_names_each_or_its_sibling() -> None:
    rows = [row[0] for row in table(text_of("docs/reference/settings.md"))[1:]]
    named = {code for row in rows for code in code_in(row)}
    for name in setting_names():
        assert name.split(".")[0] in {code.split(".")[0] for code in named}, name
    for name in setting_names():
        if name.startswith(("backend_store.", "artifact_store.", "server.", "build.")):
            assert name in named


def test_every_example_of_settings_is_valid() -> None:
    assert len(example_settings()) >= 5
    for block in example_settings():
        assert parse_settings(block) != Settings(), block


def test_the_override_example_is_of_a_service_that_a_stack_has() -> None:
    from provisioner.model.stack import build_stack

    (override,) = [
        block
        for block in code_blocks(text_of("docs/how-to/plain-docker-compose.md"), "yaml")
        if block.startswith("services:")
    ]
    names = {service.name for service in build_stack(Settings(), "docker").services}
    assert set(yaml.safe_load(override)["services"]) <= names


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_that_the_texts_name_exists(document: str) -> None:
    text = text_of(document)
    base = (ROOT / document).parent
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http:", "https:", "#")):
            assert (base / target.partition("#")[0]).exists(), target
    for code in code_in(re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)):
        if code.startswith(OUR_FOLDERS):
            assert (ROOT / code).exists(), code


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_to_a_heading_leads_somewhere(document: str) -> None:
    base = (ROOT / document).parent
    for target in re.findall(r"\]\(([^)\s]*#[^)\s]+)\)", text_of(document)):
        if target.startswith(("http:", "https:")):
            continue
        name, _, anchor = target.partition("#")
        there = (base / name if name else ROOT / document).read_text(encoding="utf-8")
        headings = re.findall(r"^#+ (.+)$", there, flags=re.MULTILINE)
        anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in anchors, target


def test_the_table_of_folders_names_all_of_the_program() -> None:
    named = {
        code
        for row in table(sections(text_of("CONTRIBUTING.md"))["Where things are"])[1:]
        for code in code_in(row[0])
    }
    for name in named:
        assert (ROOT / name).exists(), name
    for path in (ROOT / "provisioner").iterdir():
        if path.name.startswith("__") or path.suffix not in {"", ".py"}:
            continue
        assert f"provisioner/{path.name}{'/' if path.is_dir() else ''}" in named


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_that_the_texts_name_exists(document: str) -> None:
    text = text_of(document)
    lines = [line for block in code_blocks(text, "sh") for line in block.splitlines()]
    lines += code_in(re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
    named = {match[1] for line in lines if (match := re.match(r"make ([a-z]+)", line))}
    assert named <= make_targets()


def make_targets() -> set[str]:
    phony = re.search(r"^\.PHONY: (.+)$", text_of("Makefile"), flags=re.MULTILINE)
    assert phony
    return set(phony[1].split())


def test_every_make_target_has_a_line_of_help() -> None:
    helped = re.findall(r"^([a-z-]+):.*## \S", text_of("Makefile"), flags=re.MULTILINE)
    assert set(helped) == make_targets()
    assert len(helped) == len(set(helped))


def test_every_dependency_has_its_reason() -> None:
    text = text_of("pyproject.toml")
    lists = re.findall(r"^(?:dependencies|demo) = \[\n(.*?)^\]", text, flags=re.MULTILINE | re.DOTALL)
    assert len(lists) == 2
    for line in "".join(lists).splitlines():
        assert re.search(r'^ +"[^"]+", +# \S', line), f"no reason: {line}"


def test_the_json_page_names_the_keys_of_the_document() -> None:
    recorder = Recorder()
    recorder.step("created", "secrets", "4 generated")
    recorder.warn("port", "it is taken")
    document = yaml.safe_load(result_document("up", Result(errors=(errors.ProvisionError("x"),)), recorder))
    rows = table(text_of("docs/reference/json.md").partition("## Steps, warnings, checks, errors")[0])[1:]
    assert [code_in(row[0])[0] for row in rows] == list(document)
    explained = table(sections(text_of("docs/reference/json.md"))["Steps, warnings, checks, errors"])[1:]
    objects = {code_in(row[0])[0]: code_in(row[1]) for row in explained}
    assert objects["data.steps[]"] == list(document["data"]["steps"][0])
    assert objects["data.warnings[]"] == list(document["data"]["warnings"][0])
    assert objects["errors[]"] == list(document["errors"][0])


def test_every_command_says_what_data_it_gives() -> None:
    assert set(generate.data_classes()) == set(COMMANDS)


@pytest.mark.parametrize("page", generate.PARTS)
def test_the_generated_parts_of_the_reference_are_those_of_this_program(page: str) -> None:
    assert text_of(f"docs/reference/{page}") == generate.generated(page), "`make reference` writes them anew"


def test_every_terminal_session_is_one_that_a_script_makes() -> None:
    drawings = {"CONTRIBUTING.md", "docs/explanation/architecture.md"}
    pages = [text_of(name) for name in DOCUMENTS if name not in drawings]
    shown = [block for page in pages for block in code_blocks(page, "text")]
    assert sorted(shown) == sorted(screens.in_page(screen) for screen in screens.PAGES)


def test_a_session_is_the_same_at_another_time_and_stale_with_another_word() -> None:
    session = screens.in_page("status")
    later = re.sub(r"Up \d+ seconds", "Up About a minute", session).replace("10.6 MB", "1.1 GB")
    assert session != later
    assert screens.stable(session) == screens.stable(later)
    assert screens.stable(session) != screens.stable(session.replace("of memory", "of RAM"))


def test_the_picture_of_the_page_shows_this_mlflow_and_this_demo() -> None:
    assert screens.picture_shows() == screens.picture_is_of(), "`make screens` makes it anew"


@dataclass(frozen=True)
class Undescribed(Data):
    path: str


@dataclass(frozen=True)
class Described(Data):
    path: Annotated[str, "where it is"] | None = None


def test_a_key_without_a_meaning_or_with_two_is_found() -> None:
    with pytest.raises(ValueError, match="no description"):
        list(generate.described(Undescribed))
    assert [(field.name, text) for field, text in generate.described(Described)] == [("path", "where it is")]


def test_the_changelog_has_the_version_of_the_program() -> None:
    headings = re.findall(r"^## \[(.+?)\]", text_of("CHANGELOG.md"), flags=re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert provisioner.__version__ in headings


def test_the_mlflow_version_in_the_texts_is_the_pinned_one() -> None:
    from provisioner.assets import mlflow_version

    texts = "".join(text_of(document) for document in DOCUMENTS if document.startswith("docs/how-to/"))
    named = re.findall(r"(?i)(?<!-)\bmlflow (\d+\.\d+\.\d+)", texts)
    assert named
    assert set(named) == {mlflow_version()}
    assert f"\nmlflow=={mlflow_version()}" in "\n" + text_of("deploy/requirements.txt")


def test_the_hooks_run_programs_of_the_development_environment() -> None:
    (repository,) = yaml.safe_load(text_of(".pre-commit-config.yaml"))["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        program = hook["entry"].split()[0]
        assert hook["language"] == "system"
        assert Path(program).parent == Path(".venv/bin")
        assert (Path(sys.executable).parent / Path(program).name).exists(), program


def test_nothing_names_a_place_of_one_machine() -> None:
    # In parts, so that this file does not name one.
    private = re.compile("(?<![A-Za-z0-9.])/" + "(?:root|work|Users|home/(?!ana/)[a-z]+)" + r"/|/tmp/" + "w/")
    found = []
    for path in repository_files():
        content = path.read_bytes()
        if b"\0" in content:
            continue
        for number, line in enumerate(content.decode("utf-8").splitlines(), 1):
            if private.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not found, "\n".join(found)
