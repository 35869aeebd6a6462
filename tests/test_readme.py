"""The README tells the truth about the files, and its Python snippet runs."""

import importlib.util
import re
from pathlib import Path

import torch

import barlow

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


def test_every_command_of_the_readme_is_a_command() -> None:
    from barlow.cli import COMMANDS

    used = set(re.findall(r"^barlow ([a-z]+)", readme(), flags=re.MULTILINE))
    assert used
    assert used <= set(COMMANDS)
