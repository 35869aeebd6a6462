"""The command line as it is typed: quick help, one-line errors, signals, resume, every command on a real run."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import barlow
from barlow.cli.commands import COMMANDS, HELP, INTERRUPTED, main, say_page
from barlow.evaluation.arms import evaluate_arms
from barlow.recipes import RECIPES
from barlow.report.side_by_side import COLUMNS
from barlow.report.terminal import print_evaluation
from barlow.runs.timing import calibrate
from barlow.training.journal import read_journal
from tests.images.data.making import write_folder
from tests.runs.test_pretrain import two_kinds


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
        (["report", "."], "got ., wanted one or more run folders"),
        (["compare", "--recipes", "simclear"], "recipe: got 'simclear', wanted one of"),
        (["compare", "--recipes", "digits", "--minutes", "1", "--images", "9"], "wanted one of them"),
        (["report"], "got nothing, wanted one or more run folders"),
        (["recipes", "simcrl"], "recipe: got 'simcrl'"),
        (["pretrain", "--resume", "x", "--epochs", "3", "--out", "y"], "got --out y, --epochs 3 too"),
        (["pretrain", "photos", "--download"], "there is no 'photos'"),
        (
            ["pretrain", "--recipe", "simclr", "--redundancy-weight", "3"],
            "simclr has no such option; it has temperature=",
        ),
        (
            ["pretrain", "--recipe", "byol", "--normalization", "raw"],
            "normalization: byol has no such option; it has m",
        ),
        (["pretrain", "no/such", "--lr", "0.1"], "--lr: is called --learning-rate here"),
        (["pretrain", "no/such", "--backbone", "resnet81"], "backbone: got 'resnet81', which neither timm nor"),
        (["pretrain", "no/such", "--backbone", "resnet81", "--width", "8"], "backbone: got 'resnet81', which neither"),
        (["pretrain", "no/such", "--views", "byul"], "did you mean 'byol'"),
        (["pretrain", "no/such", "--epochs", "0"], "epochs: got 0, wanted a number above 0"),
        (["pretrain", "no/such", "--projector", "wide"], "projector: 'wide' is none of the forms known"),
        (["pretrain", "no/such", "--pretrained", "no.pth"], "pretrained: got 'no.pth'"),
        (["pretrain", "no/such", "--out", __file__], "which is a file, wanted a folder"),
        (["pretrain", "no/such", "--out", f"{__file__}/run"], "is a file, wanted a folder"),
        (["compare", "digits", "--recipes", "digits", "--out", __file__], "which is a file, wanted a folder"),
        (["pretrain", "--normalization", "persson"], "normalization: got 'persson', wanted one of pearson"),
        (["pretrain", "--recipe", "byol", "--momentum", "0.99"], "momentum: got 0.99 with the optimizer adamw"),
        (["pretrain", "--resume", "x", "--redundancy-weight", "3"], "got --redundancy-weight 3.0 too"),
        (["pretrain", "--resume", "x", "--recipe", "swav", "--options", "epsilon", "0.3"], "--options epsilon 0.3 too"),
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


@pytest.mark.parametrize(("given", "expected"), [("", "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_sleep_while_they_wait_unless_told_otherwise(
    given: str, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", given)  # so that it is put back
    if not given:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    assert run("--version")[0] == 0
    assert os.environ["OMP_WAIT_POLICY"] == expected


def test_recipes_are_listed_with_source_and_published_result(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run("recipes")[0] == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in RECIPES)
    assert "73.5" in printed


def test_one_recipe_is_shown_with_every_number_and_the_options_of_its_method(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("recipes", "swav", "--data", "cifar10")[0] == 0
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    assert ["name", "swav-cifar", "custom"] in rows
    assert ["weight_decay", "1e-06", "0.0001"] in rows
    assert ["queue_length", "3840", "0"] in rows


def test_the_help_of_pretrain_shows_the_numbers_that_would_be_used(capsys: pytest.CaptureFixture[str]) -> None:
    for words, epochs in ((["digits"], 120), (["--recipe", "imagenet"], 1000)):
        assert run("pretrain", *words, "--help")[0] == 0
        lines = capsys.readouterr().out.split("--epochs")[1].split("--batch-size")[0]
        assert f"(default: {epochs})" in " ".join(lines.replace("│", " ").split())


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
    assert run("pretrain", str(kinds), *NUMBERS, "--epochs", "1", "--out", str(out), "--log-to", "tensorboard")[0] == 0
    printed = capsys.readouterr()
    assert "raw pixels" in printed.out
    assert f"page: {out / 'report.html'}" in printed.out
    assert "floor: no network can show a loss below" in printed.err
    assert list((out / "tensorboard").glob("events*"))
    assert run("pretrain", "--resume", str(out))[0] == 0
    assert run("evaluate", str(out), str(kinds), "--sgd-linear", "--finetune", "0.25")[0] == 0
    evaluated = capsys.readouterr().out
    assert "fine-tuned, 25% of labels" in evaluated
    assert "untrained" in evaluated
    assert "100 epochs of SGD" in evaluated
    assert run("embed", str(out), str(kinds), "--out", str(tmp_path / "h.parquet"))[0] == 0
    assert (tmp_path / "h.parquet").exists()
    assert run("export", str(out), "--to", "onnx")[0] == 0
    assert (out / "backbone.onnx").exists()
    assert run("export", str(out), "--to", "timm")[0] == 2
    assert "onnx" in capsys.readouterr().err
    (out / "report.html").unlink()
    assert run("report", str(out), "--out", str(tmp_path / "page.html"))[0] == 0
    assert (tmp_path / "page.html").exists()
    assert not (out / "report.html").exists()
    assert run("report", str(out))[0] == 0
    assert (out / "report.html").exists()
    assert run("pretrain", str(kinds), *NUMBERS, "--epochs", "2", "--out", str(tmp_path / "runs" / "two"))[0] == 0
    assert run("report", str(tmp_path / "runs"))[0] == 0
    assert (tmp_path / "runs" / "compare.html").exists()


def test_a_file_that_cannot_be_read_is_said_on_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "photos"
    write_folder(folder, 120)
    broken = folder / "0007.png"
    broken.write_bytes(broken.read_bytes()[:60])
    numbers = [*NUMBERS, "--epochs", "1", "--image-size", "8", "--out", str(tmp_path / "run"), "--quiet"]
    assert run("pretrain", str(folder), *numbers)[0] == 0
    said = capsys.readouterr().out
    assert f"1 unreadable sample left out:\n  {broken} (number 7): " in said
    assert said.index("unreadable") < said.index("page: ")
    for number in range(40, 50):
        (folder / f"{number:04}.png").write_bytes(b"")
    features = tmp_path / "features.npz"
    assert run("embed", str(tmp_path / "run"), str(folder), "--out", str(features))[0] == 0
    with np.load(features) as written:
        assert len(written["h"]) == 109
    said = capsys.readouterr().out
    assert f"11 of 120 samples in photos cannot be read and are left out: {broken} (" in said
    assert "0040.png (the file is empty)" in said


def test_a_frozen_backbone_is_evaluated_on_data_of_other_sizes_and_colours(
    kinds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Grey 8 x 8 pictures were learnt from; larger ones in colour are shrunk, and their colours dropped."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("barlow.evaluation.scores.evaluate_arms", partial(evaluate_arms, draws=1))
    out, other = tmp_path / "run", tmp_path / "other.npz"
    assert run("pretrain", str(kinds), *NUMBERS, "--epochs", "1", "--out", str(out), "--quiet")[0] == 0
    pictures, labels = two_kinds(80, 3)
    large = pictures.expand(-1, 3, -1, -1).repeat_interleave(2, 2).repeat_interleave(3, 3)
    np.savez(other, images=large, labels=labels)
    assert barlow.open_run(out).evaluate(kinds).evaluation["test_seen_in_pretraining"] is False
    score = barlow.open_run(out).evaluate(other)
    assert score.evaluation["test_seen_in_pretraining"] is False  # a part of it is the test, but nobody learnt from it
    assert score.row("raw pixels")["num_features"] == 64
    assert score.linear > 0.8
    capsys.readouterr()
    np.savez(other, images=large)
    assert run("evaluate", str(out), str(other))[0] == 2
    assert f"data: {other} has no labels to evaluate with" in capsys.readouterr().err
    np.savez(other, images=torch.zeros(80, 2, 8, 8, dtype=torch.uint8), labels=labels)
    assert run("evaluate", str(out), str(other))[0] == 2
    assert "channels" in capsys.readouterr().err
    with pytest.raises(ValueError, match="data: the Tensor given has no labels"):
        barlow.open_run(out).evaluate(pictures)
    assert run("evaluate", str(out), str(kinds), "--finetune", "0.01")[0] == 2
    assert "finetune: 0.01 of 96 labels is 0.48 for each of 2 classes" in capsys.readouterr().err


def test_compare_prints_a_table_and_the_same_command_keeps_what_is_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("barlow.evaluation.scores.evaluate_arms", partial(evaluate_arms, draws=1))
    monkeypatch.setattr("barlow.runs.compare.calibrate_apart", partial(calibrate, seconds=0.0))
    out = tmp_path / "compare"
    command = ["compare", "digits", "--recipes", "digits", "--seeds", "1", "--images", "1200", "--out", str(out)]
    assert run(*command, "--quiet")[0] == 0
    printed = capsys.readouterr()
    assert all(title in printed.out for title in (*COLUMNS.values(), "untrained", "raw pixels", "1,152"))
    assert f"page: {out / 'compare.html'}" in printed.out
    plan = json.loads((out / "plan.json").read_text())["arms"]["digits"]
    assert plan["epochs"] == 1
    assert plan["calibration"]["peak_memory"] == 0 or plan["calibration"]["peak_memory"] > 50 * 2**20
    before = (out / "digits" / "seed-0" / "journal.jsonl").read_bytes()
    assert run(*command)[0] == 0
    assert "pretraining" not in capsys.readouterr().err
    assert (out / "digits" / "seed-0" / "journal.jsonl").read_bytes() == before


def test_sigterm_stops_with_a_checkpoint_and_the_same_command_finishes(kinds: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "barlow", "pretrain", str(kinds), *NUMBERS, "--epochs", "400", "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        path = out / "journal.jsonl"
        if path.exists() and any(record["event"] == "step" for record in read_journal(path)):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == INTERRUPTED
    assert "the same command goes on" in said
    interrupted = next(r["step"] for r in read_journal(out / "journal.jsonl") if r["event"] == "interrupted")
    assert 0 < interrupted < 1200
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "page:" in done.stdout
    steps = [r["step"] for r in read_journal(out / "journal.jsonl") if r["event"] == "step"]
    assert steps == list(range(1, 1201))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_outside_the_loop_ends_a_command_with_one_line_and_130(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def strike(_: Sequence[str]) -> int:
        signal.raise_signal(number)
        return 0

    monkeypatch.setitem(COMMANDS, "embed", strike)
    before, at_start = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background of a shell ignores Ctrl-C
    try:
        assert run("embed")[0] == INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, at_start)
    assert capsys.readouterr().err == "barlow: stopped; what was finished is kept\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_no_memory_is_one_line_and_other_faults_of_ours_show_where_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(error: Exception) -> int:
        raise error

    monkeypatch.setitem(COMMANDS, "embed", lambda _: broken(torch.OutOfMemoryError("CUDA out of memory. Tried 2 GB")))
    assert run("embed")[0] == 2
    assert capsys.readouterr().err == "barlow: CUDA out of memory. Tried 2 GB\n"
    monkeypatch.setitem(COMMANDS, "embed", lambda _: broken(RuntimeError("shape")))
    with pytest.raises(RuntimeError, match="shape"):
        main(["embed"])


def test_a_lost_process_ends_the_command_without_the_clean_up_of_the_interpreter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class LeftAtOnce(Exception):
        """In the place of the end of this process."""

    def leave(status: int) -> None:
        raise LeftAtOnce(status)

    def lose(arguments: Sequence[str]) -> int:
        raise ConnectionError("another one is gone")

    monkeypatch.setitem(COMMANDS, "recipes", lose)
    monkeypatch.setattr(os, "_exit", leave)
    with pytest.raises(LeftAtOnce, match="2"):
        main(["recipes"])
    assert capsys.readouterr().err == "barlow: another one is gone\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "no space left on the device for a/last.ckpt; the last good checkpoint is kept"), ""),
        (FileNotFoundError("out: 'run' was deleted, moved or replaced"), "out: 'run' was deleted, moved or replaced"),
        (PermissionError(13, "Permission denied", "run/.lock"), "permission denied: run/.lock"),
    ],
)
def test_an_error_of_the_system_is_one_line_without_its_number(
    error: OSError, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: Sequence[str]) -> int:
        raise error

    monkeypatch.setitem(COMMANDS, "embed", broken)
    assert run("embed")[0] == 2
    assert capsys.readouterr().err == f"barlow: {line or error.strerror}\n"


def test_a_terminal_without_plus_minus_still_gets_the_table_and_the_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = io.BytesIO()
    shown = io.TextIOWrapper(written, encoding="ascii")
    monkeypatch.setattr(sys, "stdout", shown)
    row = {"features": "trained", "knn": 0.5, "linear": 0.5, "few_labels": {"mean": 0.5, "std": 0.1, "per_class": 1}}

    def shows_a_table(_: Sequence[str]) -> int:
        print_evaluation({"evaluation": {"rows": [row]}})
        return 0

    monkeypatch.setitem(COMMANDS, "embed", shows_a_table)
    assert run("embed")[0] == 0
    shown.flush()
    assert b"50.0 ? 10.0" in written.getvalue()


def test_figures_without_labels_stand_beside_those_of_the_untrained_network(capsys: pytest.CaptureFixture[str]) -> None:
    print_evaluation(
        {"label_free": {"effective_rank": 13.72, "effective_rank_untrained": 104.0, "backbone_limit": 73.8}}
    )
    rank, limit = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert rank.replace(" ", "") == "│Effectiverankofplainsamples│13.7│104│"
    assert limit.replace(" ", "") == "│Bestlinearprojector'sloss,roughly│73.8││"
    print_evaluation({"label_free": {}})
    assert capsys.readouterr().out == ""


def test_a_page_that_is_not_there_is_not_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    say_page(tmp_path / "report.html")
    assert capsys.readouterr().out == ""
    (tmp_path / "report.html").touch()
    say_page(tmp_path / "report.html")
    assert capsys.readouterr().out == f"page: {tmp_path / 'report.html'}\n"
