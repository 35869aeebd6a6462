"""The site: links lead somewhere, every public name has an example that runs, nothing is fetched from elsewhere."""

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import barlow
from tests.audio.recordings import spoken
from tests.images.data.making import write_folder

ROOT = Path(__file__).parents[1]


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


api = loaded("api")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("latex2mathml")
    out: Path = tmp_path_factory.mktemp("site") / "docs"
    loaded("site").write_site(out)
    return out


def test_every_link_of_the_tree_leads_to_a_file_in_it(tree: Path) -> None:
    missing = []
    for page in tree.rglob("*.md"):
        text = re.sub(r"^(```|~~~~~).*?^\1$|`[^`\n]+`", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
        for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text):
            if not (page.parent / link).resolve().is_file():
                missing.append(f"{page.relative_to(tree)}: {link}")
    assert missing == []


def test_the_navigation_names_pages_that_are_there(tree: Path) -> None:
    named = set(re.findall(r"[\w/.-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]))
    assert [name for name in named if not (tree / name).is_file()] == []
    assert len(named) > 30


def test_every_table_has_its_head_above_its_rule(tree: Path) -> None:
    torn = []
    for page in tree.rglob("*.md"):
        lines = page.read_text(encoding="utf-8").splitlines()
        rules = [place for place, line in enumerate(lines) if re.match(r"\|[ :|-]*---[ :|-]*\|$", line)]
        torn += [f"{page.name}:{place}" for place in rules if not lines[place - 1].startswith("|")]
    assert torn == []


def test_formulas_are_set_and_code_is_left_alone(tree: Path) -> None:
    prepared: Callable[[str, str], str] = loaded("site").prepared
    assert "<math" in prepared("the matrix $C_{ij}$ of", "x.md")
    assert 'display="block"' in prepared("$$L = \\sum_i (1 - C_{ii})^2$$", "x.md")
    assert prepared("`$x$` costs 3$ and 4$\n\n```bash\necho $A $B\n```", "x.md").count("<math") == 0
    assert "<math" in (tree / "seven-pictures.md").read_text(encoding="utf-8")


def test_links_that_leave_the_folder_lead_to_pages_made_of_the_files(tree: Path) -> None:
    led: Callable[[str, str], str] = loaded("site").prepared
    assert led("[x](../examples/own_method.py)", "map.md") == "[x](examples/own_method.py.md)"
    assert led("[x](../docs/audit.md#a)", "benchmarks/README.md") == "[x](../audit.md#a)"
    assert led("[x](docs/audit.md)", "index.md") == "[x](audit.md)"


@pytest.mark.slow
def test_the_site_builds_strictly_and_fetches_nothing(tree: Path) -> None:
    pytest.importorskip("zensical")
    shutil.copy(ROOT / "mkdocs.yml", tree.parent)  # a link would be followed to where it leads
    (tree.parent / "src").symlink_to(ROOT / "src")
    shutil.copytree(tree, tree.parent / "build" / "docs")
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"], cwd=tree.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = sorted((tree.parent / "build" / "site").rglob("*.html"))
    assert len(pages) > 60
    fetched = re.compile(r"<(?:script|img|link|iframe)[^>]*(?:src|href)=\"?(?:https?:)?//[^\"> ]+")
    assert [(page.name, found) for page in pages for found in fetched.findall(page.read_text(encoding="utf-8"))] == []
    assert "Drive the cross-correlation matrix" in (tree.parent / "build/site/api/losses.html").read_text()


# --- The examples of the public names.


def test_every_public_name_has_one_example_and_no_other_name_has() -> None:
    named = [name for names in api.AREAS.values() for name in names]
    assert len(named) == len(set(named))
    assert set(named) == set(barlow._HOME)
    for names in api.AREAS.values():
        for name, example in names.items():
            compile(example, name, "exec")
    assert set(named) >= api.NOT_RUN


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "photos", 64, size=(32, 32))
    for kind in ("cats", "dogs"):
        write_folder(tmp_path / "labelled" / kind, 20, size=(32, 32))
    spoken(tmp_path / "recordings", takes=2)
    small: dict[str, Any] = {"width": 4, "projector": "8-8", "batch_size": 16, "precision": "32-true", "image_size": 32}
    monkeypatch.chdir(tmp_path)
    machine = barlow.Machine(quiet=True, accelerator="cpu")
    pretrain = partial(barlow.pretrain, backbone="resnet10", machine=machine, **small)
    monkeypatch.setattr(barlow, "pretrain", lambda *data, minutes=0, **how: pretrain(*data, **{"epochs": 1, **how}))
    monkeypatch.setattr(barlow, "audit", partial(barlow.audit, num_images=64, seconds=1.0))
    monkeypatch.setattr(barlow, "compare_recipes", lambda *data, **how: (data, how))  # runs/test_compare.py runs it
    torch.save({}, "checkpoint.pth")
    monkeypatch.setattr(barlow, "load_foreign", lambda path: path)  # as images/networks/test_foreign.py does
    torch.manual_seed(0)
    names: dict[str, Any] = {"barlow": barlow, "torch": torch, "photos": "photos/", "labelled": "labelled/"}
    names |= {"recordings": "recordings/", "z_a": torch.randn(32, 8), "z_b": torch.randn(32, 8)}
    for area in api.AREAS.values():
        for name, example in area.items():
            if name not in api.NOT_RUN:
                exec(compile(example, name, "exec"), names)
    assert names["h"].shape[0] == 3
    assert names["sentences"]
    page = (ROOT / "docs/start.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    exec(compile(snippet, "docs/start.md", "exec"), names)
    assert len(names["new"].names) == len(names["h"]) == 64


def test_the_figures_in_the_examples_are_right() -> None:
    for example in api.AREAS["Theory"].values():
        for call, said in re.findall(r"^(barlow\.\w+\(.*\)(?:\.loss)?)  # ([\d.]+)$", example, re.MULTILINE):
            decimals = len(said.partition(".")[2])
            assert round(float(eval(call)), decimals) == float(said), call
