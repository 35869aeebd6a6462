"""The command line as it is typed: quick help, one-line errors, signals, resume, every command on a real run."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from barlow.cli import COMMANDS, HELP, INTERRUPTED, main
from barlow.recipes import RECIPES
from barlow.training.journal import read_journal
from tests.test_pretraining import two_kinds


def run(*words: str) -> tuple[int, str]:
    """Run one command in this process; return its exit status."""
    with pytest.raises(SystemExit) as stopped:
        main(list(words))
    return int(stopped.value.code or 0), ""


def test_help_answers_in_under_a_second_and_names_every_command() -> None:
    times = []
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "barlow", "--help"], capture_output=True, text=True, check=True)
        times.append(time.perf_counter() - started)
    assert min(times) < 1.0
    assert done.stdout.strip() == HELP.strip()
    assert all(f"barlow {name}" in HELP for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_of_its_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(name, "--help")[0] == 0
    assert f"barlow {name}" in capsys.readouterr().out


def test_the_flags_of_pretrain_are_the_fields_of_recipe_and_machine(capsys: pytest.CaptureFixture[str]) -> None:
    run("pretrain", "--help")
    printed = capsys.readouterr().out
    for flag in ("--redundancy-weight", "--batch-size", "--checkpoint-minutes", "--data-root", "--out", "--resume"):
        assert flag in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pretrian"], "command: got 'pretrian', wanted one of"),
        (["pretrain", "no/such/folder"], "no/such/folder"),
        (["pretrain", "--recipe", "imagnet"], "did you mean 'imagenet'"),
        (["pretrain", "fashion-mnist", "--data-root", "nowhere"], "--data-root"),
        (["evaluate", "no/such/run"], "wanted a run folder"),
        (["report", "."], "no run folder"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_2(
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*words)[0] == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert "Traceback" not in said
    with pytest.raises((ValueError, OSError)):
        main(["--debug", *words])


def test_recipes_are_listed_with_source_and_published_result(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run("recipes")[0] == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in RECIPES)
    assert "73.5" in printed


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (train, train_y), (test, test_y) = two_kinds(96, 0), two_kinds(40, 1)
    path = tmp_path_factory.mktemp("data") / "kinds.npz"
    np.savez(path, train_images=train, train_labels=train_y, test_images=test, test_labels=test_y)
    return path


NUMBERS = ["--recipe", "digits", "--width", "4", "--projector", "16-16", "--batch-size", "32"]


def test_every_command_on_a_real_run(
    kinds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    out = tmp_path / "runs" / "one"
    assert run("pretrain", str(kinds), *NUMBERS, "--epochs", "1", "--out", str(out), "--tensorboard")[0] == 0
    printed = capsys.readouterr()
    assert "raw pixels" in printed.out
    assert f"page: {out / 'report.html'}" in printed.out
    assert "floor: no network can show a loss below" in printed.err
    assert list((out / "tensorboard").glob("events*"))
    assert run("pretrain", "--resume", str(out))[0] == 0
    assert run("evaluate", str(out), str(kinds), "--sgd-linear")[0] == 0
    evaluated = capsys.readouterr().out
    assert "untrained" in evaluated
    assert "100 epochs of SGD" in evaluated
    assert run("embed", str(out), str(kinds), "--out", str(tmp_path / "h.parquet"))[0] == 0
    assert (tmp_path / "h.parquet").exists()
    assert run("export", str(out), "--to", "onnx")[0] == 0
    assert (out / "backbone.onnx").exists()
    assert run("export", str(out), "--to", "timm")[0] == 2
    assert "onnx" in capsys.readouterr().err
    (out / "report.html").unlink()
    assert run("report", str(out))[0] == 0
    assert (out / "report.html").exists()
    assert run("pretrain", str(kinds), *NUMBERS, "--epochs", "2", "--out", str(tmp_path / "runs" / "two"))[0] == 0
    assert run("report", str(tmp_path / "runs"))[0] == 0
    assert (tmp_path / "runs" / "compare.html").exists()


def test_sigterm_stops_with_a_checkpoint_and_the_same_command_finishes(kinds: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "barlow", "pretrain", str(kinds), *NUMBERS, "--epochs", "400", "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        path = out / "journal.jsonl"
        if path.exists() and any(record["event"] == "step" for record in read_journal(path)):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED
    assert "the same command goes on" in said
    interrupted = next(r["step"] for r in read_journal(out / "journal.jsonl") if r["event"] == "interrupted")
    assert 0 < interrupted < 1200
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "page:" in done.stdout
    steps = [r["step"] for r in read_journal(out / "journal.jsonl") if r["event"] == "step"]
    assert steps == list(range(1, 1201))
