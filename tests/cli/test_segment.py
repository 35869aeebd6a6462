"""`barlow segment` on the terminal: a table, differences in words, where everything is; then masks of new images."""

from pathlib import Path

import pytest

from barlow.applications.segmentation import bars
from barlow.cli.commands import main
from tests.applications.segmentation.discs import write_discs

PRETRAIN = "--backbone unet:2 --image-size 16 --batch-size 4 --epochs 1 --projector 8 --accelerator cpu --quiet"
SEGMENT = "--labels 2 --seeds 1 --steps 2 --batch-size 2 --window 16 --accelerator cpu --quiet"


def call(words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    return int(ended.value.code or 0)


def test_two_commands_from_pictures_to_masks_and_a_third_for_new_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bars, "TREES", 3)
    data, run = write_discs(tmp_path / "discs", 8), tmp_path / "run"
    assert call(f"pretrain {data} --out {run} {PRETRAIN}") == 0
    capsys.readouterr()
    assert call(f"segment {run} {data} {SEGMENT}") == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("pretrained", "scratch", "frozen", "pixels", "Otsu", "all foreground"))
    assert "pretrained minus scratch at 2 labels:" in said
    assert "one seed, which says little" in said
    where = run / "segmentation" / "discs"
    assert f"page: {where.resolve() / 'segmentation.html'}" in said.replace("\n", "")
    assert call(f"segment {where / 'model'} {data / 'images'} --out {tmp_path / 'new'} --accelerator cpu") == 0
    assert len(list((tmp_path / "new").glob("*.png"))) == 8
    assert "8 masks: " in capsys.readouterr().out


def test_a_mistake_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(f"segment {tmp_path} {tmp_path} --quiet") == 2
    assert capsys.readouterr().err.count("\n") == 1
