"""Where the pages of one or two audits go: each to a place of its own."""

from pathlib import Path
from typing import Any

import pytest

from barlow.audits.settings import AuditSettings
from barlow.cli.audit import LONGEST_NAME, folders_of
from barlow.cli.flags import Audit as Flags


def folder(word: str, out: Path | None = None, **numbers: Any) -> Path:
    (found,) = folders_of([word], Flags((word,), out=out, settings=AuditSettings(**numbers)))
    return found


@pytest.fixture
def run(tmp_path: Path) -> str:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.json").write_text("{}")
    return str(tmp_path / "run")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a/checkpoint.pth", "b/checkpoint.pth"),
        ("one/checkpoints/last.ckpt", "two/checkpoints/last.ckpt"),
        ("weights.pth", "weights.safetensors"),
        ("timm:resnet50.a1_in1k", "timm:resnet50.tv_in1k"),
        ("timm:resnet50", "torchvision:resnet50"),
    ],
)
def test_subjects_of_different_names_go_to_different_folders(one: str, other: str) -> None:
    assert folder(one) != folder(other)
    both = folders_of([one, other], Flags((one, other)))
    assert both == [folder(one), folder(other)]  # the same place as alone


def test_a_name_is_one_folder_below_runs_that_every_file_system_takes() -> None:
    assert folder("a/checkpoint.pth") == Path("runs/audit-a-checkpoint.pth")
    assert folder("timm:resnet50.a1_in1k") == Path("runs/audit-timm-resnet50.a1_in1k")
    assert folder("../data/x y*?.npy") == Path("runs/audit-data-x-y-.npy")
    long = folder("/".join(["a" * 50] * 9) + "/epoch.ckpt")
    assert len(long.name) <= LONGEST_NAME + len("audit-")
    assert long.name.endswith("-epoch.ckpt")


def test_what_makes_it_another_network_is_in_the_name() -> None:
    assert folder("timm:resnet50", weights="none") == Path("runs/audit-timm-resnet50-none")
    assert folder("x/a.pth", weights="none") == folder("x/a.pth")  # weights are of models by name
    assert folder("x/a.pth", prefix="teacher") == Path("runs/audit-x-a.pth-teacher")


def test_a_run_keeps_its_audit_and_not_that_of_the_network_before_training(run: str) -> None:
    assert folder(run) == Path(run)
    assert folder(run, untrained=True).name.endswith("run-untrained")


def test_the_same_subject_twice_gets_a_folder_for_each_side(run: str) -> None:
    same = str(Path(run).parent / "run" / "..") + "/run"
    assert folders_of([run, same], Flags((run, same))) == [Path(run) / "a", Path(same) / "b"]
    twice = ["x/a.pth", "x/a.pth"]
    assert folders_of(twice, Flags(tuple(twice))) == [Path("runs/audit-x-a.pth/a"), Path("runs/audit-x-a.pth/b")]


def test_a_folder_that_was_asked_for_holds_one_audit_or_two_below_it() -> None:
    assert folder("x/a.pth", out=Path("here")) == Path("here")
    words = ("x/a.pth", "y/a.pth")
    assert folders_of(words, Flags(words, out=Path("here"))) == [Path("here/a/x-a.pth"), Path("here/b/y-a.pth")]
