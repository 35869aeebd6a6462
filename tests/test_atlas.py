"""The atlas: a row for every subject, what cannot be read with its reason, and nothing audited twice."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import barlow

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def atlas() -> ModuleType:
    spec = importlib.util.spec_from_file_location("atlas", ROOT / "benchmarks" / "atlas.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["atlas"] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


def test_a_word_is_a_target_and_how_it_is_opened(atlas: ModuleType) -> None:
    one = atlas.subject("dir/mine.pth:arch=vit_small_patch16_224,prefix=teacher.backbone")
    assert (one.target, one.how) == ("dir/mine.pth", {"arch": "vit_small_patch16_224", "prefix": "teacher.backbone"})
    assert atlas.subject("timm:resnet50").target == "timm:resnet50"
    assert atlas.subject("x/dino_resnet50_pretrain.pth").how == {"arch": "resnet50"}
    assert atlas.subject("a/last.ckpt").name != atlas.subject("b/last.ckpt").name
    with pytest.raises(ValueError, match="wanted arch or prefix"):
        atlas.subject("mine.pth:width=3")


def test_every_method_of_ours_has_a_recipe(atlas: ModuleType) -> None:
    methods = {make().method for make in barlow.RECIPES.values()}
    assert len(atlas.METHODS) == len(set(atlas.METHODS)) == 10
    assert set(atlas.METHODS) <= methods


def test_runs_and_layouts_of_others_are_rows_and_a_broken_file_takes_nothing_from_them(
    atlas: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretrain = barlow.pretrain
    quiet = barlow.Machine(quiet=True, accelerator="cpu")
    monkeypatch.setattr(atlas, "METHODS", ("barlow_twins",))
    monkeypatch.setattr(
        barlow, "pretrain", lambda *data, **how: pretrain(*data, width=4, projector="8", machine=quiet, **how)
    )
    subjects = atlas.train_ours("digits", 1, tmp_path)
    torch.save({"nothing": torch.zeros(2)}, tmp_path / "broken.pth")
    subjects.append(atlas.subject(str(tmp_path / "broken.pth")))
    how = {"views": "small-grey", "images": 64, "seconds": 1.0}
    rows = atlas.atlas("digits", subjects, tmp_path, **how)
    assert [row["name"] for row in rows][:4] == ["barlow_twins", "untrained", "as-solo-learn", "as-lightly"]
    ours, untrained, solo, lightly, broken = rows
    assert untrained["figures"]["effective_rank"][0] != pytest.approx(ours["figures"]["effective_rank"][0], rel=1e-3)
    assert "nothing" in broken["error"]
    for other in (solo, lightly):  # the same weights under other names: the same figures
        assert other["figures"]["effective_rank"][0] == pytest.approx(ours["figures"]["effective_rank"][0], rel=1e-3)
    page = atlas.write_atlas(rows, "digits", 64, tmp_path / "atlas.html").read_text(encoding="utf-8")
    assert all(row["name"] in page for row in rows)
    linked = re.findall(r'href="(audits/[^"]+)"', page)
    assert len(linked) == 2 * (len(rows) - 1)
    assert all((tmp_path / name).is_file() for name in linked)
    assert page.count('class="bar') == len(rows) - 1
    monkeypatch.setattr(barlow, "audit", lambda *_, **__: pytest.fail("audited again"))
    assert atlas.atlas("digits", subjects[:4], tmp_path, **how) == rows[:4]
