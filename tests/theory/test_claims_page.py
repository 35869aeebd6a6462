"""The pages of claims and of related work: commands run tests that exist, every claim has its test, links lead on."""

import re
from pathlib import Path

import pytest

from barlow.studies.table import STUDIES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
RELATED = (ROOT / "docs" / "related-work.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r'python -m pytest (tests/\S+) -k ("[^"]+"|\w+)', PAGE + RELATED)))


def names_in(path: Path) -> list[str]:
    """Names of the tests in a file or folder."""
    files = path.glob("test_*.py") if path.is_dir() else [path]
    return [name for file in files for name in re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.M)]


@pytest.mark.parametrize(("where", "words"), COMMANDS)
def test_every_command_finds_tests(where: str, words: str) -> None:
    names = names_in(ROOT / where)
    for word in words.strip('"').split(" or "):
        assert any(word.lower() in name.lower() for name in names), f"no test in {where} has {word} in its name"


def test_every_claim_has_its_row_and_its_command_and_every_test_of_a_claim_its_claim() -> None:
    rows = set(re.findall(r"^\| \[(C\d+[a-z]?)\]", PAGE, re.M))
    tests = {found for name in names_in(Path(__file__).parent) for found in re.findall(r"^test_(C\d+[a-z]?)_", name)}
    assert tests == rows - {"C20"}  # statements about the literature
    assert {f"{claim}_" for claim in tests} <= {words for where, words in COMMANDS if where == "tests/theory"}


def test_every_relation_that_is_proved_there_has_its_command_on_the_page_of_related_work() -> None:
    words = [words for where, words in COMMANDS if where == "tests/theory/test_related_work.py"]
    named = [word.lower() for text in words for word in text.strip('"').split(" or ")]
    for name in names_in(Path(__file__).parent / "test_related_work.py"):
        assert any(word in name for word in named), f"docs/related-work.md: no command shows {name}"


def test_every_study_that_is_named_exists() -> None:
    named = set(re.findall(r"barlow study (\w+)", PAGE))
    assert named
    assert named <= {*STUDIES, "NAME"}


def test_links_within_the_page_lead_somewhere() -> None:
    targets = re.findall(r"\]\(#(\w+)\)", PAGE)
    assert len(targets) > 25
    assert set(targets) <= set(re.findall(r'<a id="(\w+)">', PAGE))
