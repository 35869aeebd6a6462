"""Killed with SIGKILL at any moment, the same call leaves every file as if nothing had happened."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from barlow.report.page import write_report
from barlow.training.checkpoint import load_checkpoint
from tests.runs.killed import COMPARISON, STUDY, TRAINING

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="forks, and looks at open files")

TIMES = {"time", "seconds", "samples_per_second", "pretrain_seconds", "evaluation_seconds"}
"""What is never equal; pages, which show it, are held to the files that they are made of."""
STAGES = {"backbone.safetensors", "config.json", "evidence.npz", "report.html", "summary.json"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("killed")
    command = [sys.executable, "-m", "tests.runs.killed", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    (root / "moments.json").write_text(done.stdout)
    return root


@pytest.fixture(scope="module")
def moments(root: Path) -> dict[str, dict[str, str]]:
    """By kind of work and number, what the process was about to do."""
    return dict(json.loads((root / "moments.json").read_text()))


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_times(one) for name, one in value.items() if name not in TIMES}
    return [without_times(one) for one in value] if isinstance(value, list) else value


def journal(text: str) -> list[Any]:
    """The records without what a kill adds to them: resumes, a start that was not followed by a checkpoint."""
    records = [without_times(json.loads(line)) for line in text.splitlines()]
    kept = [record for record in records if record["event"] not in ("resume", "checkpoint")]
    return [record for place, record in enumerate(kept) if record["event"] != "start" or record not in kept[:place]]


def state(value: Any) -> Any:
    """A checkpoint with the bytes of its tensors; the file's own differ where one pickles a word twice."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.contiguous().numpy().tobytes()
    if isinstance(value, dict):
        return {name: state(one) for name, one in value.items()}
    return [state(one) for one in value] if isinstance(value, (list, tuple)) else value


def files_of(folder: Path) -> dict[str, Any]:
    """Every file of a folder by name, without times; pages by name alone."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".jsonl":
            found[name] = journal(path.read_text().replace(str(folder), "folder"))
        elif path.suffix == ".json":
            text = path.read_text().replace(str(folder), "folder")
            found[name] = without_times(json.loads(text))
        elif path.suffix == ".ckpt":
            found[name] = state(load_checkpoint(path))
        elif path.suffix == ".html":
            found[name] = "page"
        else:
            found[name] = path.read_bytes()
    return found


def folders(root: Path, kind: str) -> list[Path]:
    return [path for path in sorted(root.iterdir()) if re.fullmatch(rf"{kind}-\d+", path.name)]


@pytest.mark.parametrize("kind", ["run", "comparison", "study", "sequence"])
def test_every_file_is_as_without_the_kill_and_nothing_stays_beside_them(
    kind: str, root: Path, moments: dict[str, dict[str, str]]
) -> None:
    undisturbed = files_of(root / kind)
    assert len(folders(root, kind)) == len(moments[kind]) >= 4
    for folder in folders(root, kind):
        found, moment = files_of(folder), moments[kind][folder.name.partition("-")[2]]
        assert found.keys() == undisturbed.keys(), moment
        for name, content in undisturbed.items():
            assert found[name] == content, f"{name}, killed at {moment}"


def test_thirty_moments_were_tried_and_each_stage_of_finishing_among_them(moments: dict[str, dict[str, str]]) -> None:
    assert sum(map(len, moments.values())) >= 30
    assert [len(moments[kind]) for kind in ("comparison", "study")] == [COMPARISON, STUDY]
    finishing = list(moments["run"].values())[TRAINING:]
    synced = {moment.removeprefix("sync ").split(".partial")[0] for moment in finishing}
    assert {name.rpartition(".")[0] for name in synced} >= STAGES
    assert finishing[0] == "journal finish"
    assert finishing[-2].startswith("sync summary.json."), "it is the very last file"


def test_a_page_made_before_the_summary_shows_the_figures_of_the_summary(root: Path) -> None:
    for folder in [root / "run", *folders(root, "run")]:
        page = (folder / "report.html").read_bytes()
        assert write_report(folder).read_bytes() == page, folder.name


def test_a_kill_leaves_the_figures_to_the_bit(root: Path) -> None:
    rows = [json.loads((folder / "summary.json").read_text()) for folder in [root / "run", *folders(root, "run")]]
    assert rows[0]["evaluation"]["rows"][0]["knn"] not in (0.0, 1.0), "the figures show every digit of the features"
    assert all(row["label_free"] == rows[0]["label_free"] for row in rows)
    assert os.environ.get("OMP_NUM_THREADS") == "1"
