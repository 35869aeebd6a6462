"""Whole runs over two processes, started in both ways: one journal, the losses of one process, no hang, no desync."""

from pathlib import Path

import pytest

import barlow
from barlow.training.journal import read_journal
from barlow.training.machine import Machine
from tests.distributed.launches import (
    BARLOW,
    EPOCHS,
    TORCHRUN,
    assert_equal_runs,
    assert_went_on,
    killed_after_a_checkpoint,
    last_saved,
    run,
    write_pictures,
)

pytestmark = pytest.mark.dist

NUMBERS = ["--recipe", "digits", "--width", "4", "--projector", "16-16", "--batch-size", "15", "--precision", "32-true"]
"""Fifteen samples for two processes: eight and seven."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("data") / "pictures.npy", side=8)


@pytest.fixture(scope="module")
def one_process(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("one") / "run"
    done = run([*BARLOW, str(data), *NUMBERS, "--epochs", str(EPOCHS), "--out", str(out)])
    assert done.returncode == 0, done.stderr
    return out


def test_devices_2_writes_one_journal_with_the_losses_of_one_process(
    data: Path, one_process: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    done = run([*BARLOW, str(data), *NUMBERS, "--epochs", str(EPOCHS), "--out", str(out), "--devices", "2"])
    assert done.returncode == 0, done.stderr
    assert_equal_runs(out, one_process)


def test_torchrun_writes_one_journal_with_the_losses_of_one_process(
    data: Path, one_process: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = [*TORCHRUN, *BARLOW[1:], str(data), *NUMBERS, "--epochs", str(EPOCHS), "--out", str(out)]
    done = run(command)
    assert done.returncode == 0, done.stderr
    assert_equal_runs(out, one_process)


def test_the_death_of_one_process_ends_the_run_with_a_sentence_and_the_same_command_goes_on(
    data: Path, tmp_path: Path
) -> None:
    out, said = tmp_path / "run", tmp_path / "said"
    epochs = 40
    command = [*BARLOW, str(data), *NUMBERS, "--epochs", str(epochs), "--out", str(out), "--devices", "2"]
    command += ["--checkpoint-minutes", "0.002"]
    assert killed_after_a_checkpoint(command, out, said) == 2, said.read_text()  # the first has started the second
    assert "Traceback" not in said.read_text()
    saved = last_saved(out)
    done = run(command)
    assert done.returncode == 0, done.stderr
    assert_went_on(out, saved, 3 * epochs)


def test_under_torchrun_the_death_of_the_first_process_ends_the_run_too_and_one_process_can_go_on(
    data: Path, tmp_path: Path
) -> None:
    out, said = tmp_path / "run", tmp_path / "said"
    epochs = 40
    command = [*TORCHRUN, *BARLOW[1:], str(data), *NUMBERS, "--epochs", str(epochs), "--out", str(out)]
    command += ["--checkpoint-minutes", "0.002"]
    assert killed_after_a_checkpoint(command, out, said) != 0, said.read_text()  # torchrun has started both
    assert "process 1 (of 2) has lost another one" in said.read_text()
    saved = last_saved(out)
    barlow.resume(out, machine=Machine(quiet=True, devices="1"))
    assert_went_on(out, saved, 3 * epochs)


UNREADABLE = """
import sys, torch, barlow
from barlow.data.arrays import ArraySource
from barlow.training.machine import Machine
from barlow.training.order import epoch_order
from barlow.training.plan import Plan

plan = Plan(2, 10, seed=0, factor=float, clip_norm=0.0, checkpoint_minutes=1.0, floor=None)
share = epoch_order(40, plan=plan, epoch=1, first_step=1, rank=1, world=2)[:5].tolist()
samples = torch.randint(0, 256, (40, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
source = ArraySource(samples, bad=dict.fromkeys(share, "made bad"))
numbers = dict(width=4, projector="16-16", epochs=2, batch_size=10, precision="32-true")
run = barlow.pretrain(source, recipe="digits", out=sys.argv[1], machine=Machine(quiet=True), **numbers)
assert run.finished and run.summary["label_free"]
"""


def test_a_share_of_which_nothing_can_be_read_costs_one_step_and_keeps_the_processes_in_step(tmp_path: Path) -> None:
    script, out = tmp_path / "script.py", tmp_path / "run"
    script.write_text(UNREADABLE)
    done = run([*TORCHRUN, str(script), str(out)])
    assert done.returncode == 0, done.stderr
    records = read_journal(out / "journal.jsonl")
    assert [r["step"] for r in records if r["event"] == "step"] == [1, 2, 3, 4, 5, 7, 8]
    (warning,) = (r["message"] for r in records if r["event"] == "warning" and "left out" in r["message"])
    assert warning.startswith("step 6 ")
    assert sum(r["event"] == "bad_sample" for r in records) == 5
    assert records[-1]["event"] == "evaluation"
