"""The pages tell the truth: their commands can be typed, their snippets run, the files that they name are there."""

import ast
import importlib.util
import inspect
import re
import runpy
import shlex
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
import torch

import barlow
from barlow.cli.commands import COMMANDS
from barlow.cli.features import Classify, Duplicates, Groups, Label, Map, Outliers, Predict, Similar
from barlow.cli.flags import (
    Audit,
    Compare,
    Completion,
    Embed,
    Evaluate,
    Export,
    Networks,
    Recipes,
    Report,
    Segment,
    Study,
    Views,
    parse,
    parse_pretrain,
)
from barlow.cli.sequence import parse_sequence
from tests.images.data.making import write_folder
from tests.test_architecture import FLOORS

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "barlow"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "benchmarks").glob("*.md")),
]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)


# --- What the pages say of the files.


def test_the_map_lists_the_folders_and_files_of_the_package() -> None:
    spec = importlib.util.spec_from_file_location("docs_map", ROOT / "docs" / "map.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.page(text_of("docs/map.md")) == text_of("docs/map.md"), "python docs/map.py --write"


def test_the_readme_is_short() -> None:
    assert len(text_of("README.md").splitlines()) <= 160


@pytest.mark.parametrize("page", NAMES)
def test_every_linked_file_is_there(page: str) -> None:
    links = re.findall(r"\]\((?!http|#)([^)#]+)", text_of(page))
    assert page != "README.md" or len(links) > 5
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


def named_files(page: str) -> list[str]:
    """Paths of Python files with a folder, such as `audits/loss.py` or `runs/run.py:Run`."""
    return re.findall(r"`(?:python )?((?:\w+/)+\w+\.py)(?=[`: ])", text_of(page))


def located(path: str) -> Path | None:
    return next((home / path for home in (ROOT, SOURCE) if (home / path).exists()), None)


OTHERS = {"eval/sgd.py", "byol/main_loop.py"}
"""Files of other projects."""


@pytest.mark.parametrize("page", NAMES)
def test_every_python_file_that_is_named_is_there(page: str) -> None:
    assert [path for path in named_files(page) if path not in OTHERS and located(path) is None] == []


def test_the_ways_through_the_code_name_what_is_there() -> None:
    ways = re.findall(r"`((?:\w+/)+\w+\.py):(\w+)`", text_of("docs/map.md"))
    assert len(ways) > 20
    missing = []
    for path, name in ways:
        file = located(path)
        tree = ast.parse(file.read_text(encoding="utf-8")) if file else ast.Module([], [])
        if name not in [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]:
            missing.append(f"{path}:{name}")
    assert missing == []


def test_the_floors_of_imports_are_those_that_a_test_holds() -> None:
    rooms = [sorted(floor - {"__init__", "__main__"}) for floor in reversed(FLOORS)]
    floors = "; ".join(", ".join(f"`{room}`" for room in floor) for floor in rooms if floor)
    assert floors in " ".join(text_of("CONTRIBUTING.md").split()), floors


# --- What can be typed.


FLAGS = {
    "similar": Similar,
    "duplicates": Duplicates,
    "outliers": Outliers,
    "groups": Groups,
    "map": Map,
    "label": Label,
    "classify": Classify,
    "predict": Predict,
    "segment": Segment,
    "compare": Compare,
    "evaluate": Evaluate,
    "audit": Audit,
    "embed": Embed,
    "report": Report,
    "export": Export,
    "study": Study,
    "recipes": Recipes,
    "views": Views,
    "networks": Networks,
    "completion": Completion,
}


def commands(*pages: str) -> list[list[str]]:
    """The words of every `barlow` command in a block of the pages, without its comment."""
    found = []
    for page in pages:
        for block in blocks(page, "bash"):
            lines = block.replace("\\\n", " ").splitlines()
            found += [shlex.split(line, comments=True) for line in lines if line.startswith("barlow ")]
    return found


@pytest.mark.parametrize("words", commands(*NAMES), ids=" ".join)
def test_every_command_of_the_pages_can_be_typed(words: list[str]) -> None:
    name, arguments = words[1], words[2:]
    if name == "pretrain":
        parse_pretrain(arguments)
    elif name == "sequence":
        parse_sequence(arguments)
    else:
        parse(FLAGS[name], arguments)


def test_the_flags_of_all_commands_are_known_to_this_test_and_all_commands_are_shown() -> None:
    assert {"pretrain", "sequence", *FLAGS} == set(COMMANDS)
    assert {words[1] for words in commands(*NAMES)} == set(COMMANDS)


def selections() -> list[tuple[str, str]]:
    """Path and expression of every `python -m pytest PATH -k EXPRESSION` of the pages."""
    pattern = r"`python -m pytest ([\w/.]+) -k (\"[^\"]+\"|\w+)`"
    return sorted({(path, words.strip('"')) for page in NAMES for path, words in re.findall(pattern, text_of(page))})


def test_every_selection_of_tests_selects_some() -> None:
    assert len(selections()) > 30
    nothing = []
    for path, expression in selections():
        files = [ROOT / path] if path.endswith(".py") else sorted((ROOT / path).rglob("test_*.py"))
        assert all(file.exists() for file in files), path
        names = [name for file in files for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)]
        words = expression.split(" or ")
        nothing += [f"{path} -k {word}" for word in words if not any(word.lower() in name.lower() for name in names)]
    assert nothing == []


def benchmarks() -> dict[str, set[str]]:
    """Flags that the pages use of each benchmark; every script that can be started is among them."""
    found: dict[str, set[str]] = {}
    for script in sorted((ROOT / "benchmarks").glob("*.py")):
        if "__main__" in script.read_text(encoding="utf-8"):
            found[f"benchmarks/{script.name}"] = set()
    for page in NAMES:
        for path, words in re.findall(r"python (benchmarks/\w+\.py)([^`#\n]*)", text_of(page)):
            found.setdefault(path, set()).update(word for word in words.split() if word.startswith("--"))
    return found


@pytest.mark.parametrize("script", benchmarks())
def test_every_benchmark_starts_and_has_the_flags_of_the_pages(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(ROOT / script), run_name="__main__")
    known = set(re.findall(r"--[\w-]+", capsys.readouterr().out))
    assert benchmarks()[script] <= known


# --- What can be run.


def test_the_numbers_of_the_loss_snippet_are_right() -> None:
    readme = text_of("README.md")
    assert "barlow.batch_floor(num_samples=256, num_features=8192, redundancy_weight=0.0051)  # 1122" in readme
    assert round(barlow.batch_floor(num_samples=256, num_features=8192, redundancy_weight=0.0051)) == 1122
    assert "terms = barlow.barlow_twins_loss(z_a, z_b, redundancy_weight=5e-3)" in readme
    z = torch.randn(8, 4)
    assert barlow.barlow_twins_loss(z, z, redundancy_weight=5e-3).total >= 0


SNIPPETS = ("README.md", "docs/runs.md", "docs/audit.md", "docs/evaluation.md")
"""Pages with Python, in the order in which their snippets build on each other."""


OF_APPLICATIONS = {
    "docs/sequence.md": "applications/continual/test_sequence.py",
    "docs/features.md": "runs/test_features.py",
    "docs/library.md": "test_library.py",
    "docs/start.md": "test_site.py",
    "docs/audio.md": "test_snippets.py",
    "docs/data.md": "data/stored/test_write_shards.py",
    "docs/segmentation.md": "test_snippets.py",
    "docs/speakers.md": "test_snippets.py",
}
"""Pages whose snippets run in the test of what they are about."""


def test_every_page_with_python_is_among_those_whose_snippets_run() -> None:
    assert {page for page in NAMES if blocks(page, "python")} == {*SNIPPETS, *OF_APPLICATIONS}
    for page, test in OF_APPLICATIONS.items():
        assert page in (ROOT / "tests" / test).read_text(encoding="utf-8")


def test_the_python_snippets_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they stand, one after the other, but for the size of the run; of the evaluation page only the calls."""
    write_folder(tmp_path / "photos", 64, size=(32, 32))
    for kind in ("cats", "dogs"):
        write_folder(tmp_path / "labelled" / kind, 20, size=(32, 32))
    small = {"width": 4, "projector": "8-8", "batch_size": 4, "precision": "32-true"}
    small |= {"machine": barlow.Machine(quiet=True), "image_size": 32}
    pretrain, audit = barlow.pretrain, barlow.audit

    def shortened(*data: Any, **numbers: Any) -> barlow.Run:
        numbers.pop("minutes", None)  # a time is kept in tests/runs/test_minutes.py
        return pretrain(*data, **{**numbers, **small, "epochs": 1})

    monkeypatch.setattr(barlow, "pretrain", shortened)
    monkeypatch.setattr(barlow, "audit", partial(audit, num_images=64, seconds=1.0))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"images": torch.zeros(3, 3, 32, 32, dtype=torch.uint8), "numpy": numpy}
    names |= {"z_a": torch.randn(8, 4), "z_b": torch.randn(8, 4)}
    first, second, third, fourth = ("\n".join(blocks(page, "python")) for page in SNIPPETS)
    exec(compile(first, "README.md", "exec"), names)
    assert names["h"].shape[0] == 3
    assert names["score"].row("raw pixels")
    assert names["why"].verdicts
    assert round(names["floor"]) == 1122
    names["run"].write_features("photos/", "features.npz")
    exec(compile(second, "docs/runs.md", "exec"), names)
    assert names["file"]["h"].shape == names["h"].shape == (64, names["run"].backbone.num_features)
    names["file"].close()
    names["other"] = names["why"]
    monkeypatch.setattr(barlow, "audit", lambda subject: names["why"])  # the same audit again takes as long again
    exec(compile(third, "docs/audit.md", "exec"), names)
    assert (tmp_path / "audit.html").exists()
    evaluate = inspect.signature(barlow.Run.evaluate)
    names["run"] = SimpleNamespace(
        evaluate=lambda *data, **asked: evaluate.bind(None, *data, **asked) and names["score"]
    )
    exec(compile(fourth, "docs/evaluation.md", "exec"), names)
