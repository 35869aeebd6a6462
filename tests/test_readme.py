"""The README tells the truth about the files; its commands can be typed, and its Python snippets run."""

import importlib.util
import re
import shlex
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

import barlow
from barlow.cli import COMMANDS
from barlow.flags import Audit, Compare, Embed, Evaluate, Export, Recipes, Report, Study
from barlow.parsing import parse, parse_pretrain
from tests.data.making import write_folder

ROOT = Path(__file__).parents[1]


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_file_tree_is_that_of_the_package() -> None:
    spec = importlib.util.spec_from_file_location("file_tree", ROOT / "docs" / "file_tree.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.tree() in readme(), "python docs/file_tree.py --write"


def test_every_linked_file_is_there() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", readme())
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_numbers_of_the_loss_snippet_are_right() -> None:
    assert "barlow.batch_floor(num_samples=256, num_features=8192, redundancy_weight=0.0051)  # 1122" in readme()
    assert round(barlow.batch_floor(num_samples=256, num_features=8192, redundancy_weight=0.0051)) == 1122
    assert "terms = barlow.barlow_twins_loss(z_a, z_b, redundancy_weight=5e-3)" in readme()
    z = torch.randn(8, 4)
    assert barlow.barlow_twins_loss(z, z, redundancy_weight=5e-3).total >= 0


FLAGS = {
    "compare": Compare,
    "evaluate": Evaluate,
    "audit": Audit,
    "embed": Embed,
    "report": Report,
    "export": Export,
    "study": Study,
    "recipes": Recipes,
}


def commands() -> list[list[str]]:
    """The words of every `barlow` command in a block of the README and of the pages in docs, without its comment."""
    found = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for block in re.findall(r"^```bash\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            found += [shlex.split(line, comments=True) for line in block.splitlines() if line.startswith("barlow ")]
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_of_the_pages_can_be_typed(words: list[str]) -> None:
    name, arguments = words[1], words[2:]
    if name == "pretrain":
        parse_pretrain(arguments)
    else:
        parse(FLAGS[name], arguments)


def test_the_flags_of_all_commands_are_known_to_this_test() -> None:
    assert {"pretrain", *FLAGS} == set(COMMANDS)
    assert {words[1] for words in commands()} == set(COMMANDS)


def test_the_python_snippets_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they stand, one after the other, but for the size of the run."""
    first, second = re.findall(r"^```python\n(.*?)^```", readme(), re.MULTILINE | re.DOTALL)
    write_folder(tmp_path / "photos", 64, size=(32, 32))
    for kind in ("cats", "dogs"):
        write_folder(tmp_path / "labelled" / kind, 20, size=(32, 32))
    small = {"width": 4, "projector": "8-8", "batch_size": 4, "precision": "32-true"}
    small |= {"machine": barlow.Machine(quiet=True), "image_size": 32}
    pretrain, audit = barlow.pretrain, barlow.audit

    def shortened(*data: Any, **numbers: Any) -> barlow.Run:
        return pretrain(*data, **{**numbers, **small, "epochs": 1})

    monkeypatch.setattr(barlow, "pretrain", shortened)
    monkeypatch.setattr(barlow, "audit", partial(audit, num_images=64, seconds=1.0))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"images": torch.zeros(3, 3, 32, 32, dtype=torch.uint8), "numpy": numpy}
    names |= {"z_a": torch.randn(8, 4), "z_b": torch.randn(8, 4)}
    exec(compile(first, "README.md", "exec"), names)
    assert names["h"].shape[0] == 3
    assert names["score"].row("raw pixels")
    assert names["why"].verdicts
    assert round(names["floor"]) == 1122
    names["run"].write_features("photos/", "features.npz")
    exec(compile(second, "README.md", "exec"), names)
    assert names["file"]["h"].shape == names["h"].shape == (64, names["run"].backbone.num_features)
