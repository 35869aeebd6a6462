"""Recordings go through the same commands as pictures: pretrain, resume, evaluate, embed, audit, export, report."""

import json
import os
import shutil
import signal
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch

import barlow
from barlow.cli import main
from barlow.training.checkpoint import load_checkpoint
from barlow.training.journal import Journal, read_journal
from barlow.training.machine import Machine
from tests.audio.recordings import spoken, tone, write

PATTERN = "{label}_{group}_*"
TINY: dict[str, Any] = {
    "recipe": "audio-small", "width": 4, "projector": "16-16", "batch_size": 16, "epochs": 2, "precision": "32-true",
    "modality_options": {"mels": 16, "seconds": 0.3, "bank": 8},
}  # fmt: skip
QUIET = Machine(accelerator="cpu", quiet=True)


def typed(words: list[str]) -> None:
    """Carry out a command, which ends with status 0."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spoken(tmp_path_factory.mktemp("recordings"), takes=6)


@pytest.fixture(scope="module")
def run(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> barlow.Run:
    out = tmp_path_factory.mktemp("runs") / "run"
    return barlow.pretrain(recordings, labels=PATTERN, hold_out="group=cem", out=out, machine=QUIET, **TINY)


def test_a_folder_of_recordings_is_pretrained_and_evaluated_on_the_voice_held_out(run: barlow.Run) -> None:
    assert run.finished
    assert run.modality.name == "audio"
    evaluation = run.summary["evaluation"]
    assert [row["features"] for row in evaluation["rows"]] == [
        "trained", "untrained", "raw log-mel", "raw log-mel, stretched", "raw log-mel, mean removed",
    ]  # fmt: skip
    assert (evaluation["train_samples"], evaluation["test_samples"]) == (36, 18)
    assert evaluation["test_seen_in_pretraining"] is False
    assert any("held out: cem" in note for note in evaluation["notes"])
    facts = json.loads((run.folder / "recipe.json").read_text())["data"]
    assert facts["num_samples"] == 36
    assert facts["front_end"]["sample_rate"] == 8000
    assert 0.01 < facts["loudness"][0] < 0.5
    assert (run.folder / "checkpoints" / "views.safetensors").is_file()


def test_a_run_opened_from_its_folder_has_the_views_and_the_features_it_had(run: barlow.Run, recordings: Path) -> None:
    again = barlow.open_run(run.folder)
    waves = torch.randn(3, 2400, generator=torch.Generator().manual_seed(0))
    views = [one.views.draw(waves, torch.Generator().manual_seed(1)) for one in (run, again)]
    assert all(torch.equal(a, b) for a, b in zip(*views, strict=True))
    one = sorted(recordings.glob("*.wav"))[0]
    alone = again.embed(one, accelerator="cpu")
    every = again.embed(recordings, names=True, accelerator="cpu")
    place = next(k for k, name in enumerate(every.names) if name.endswith(one.name))
    torch.testing.assert_close(alone[0], every.h[place], rtol=1e-5, atol=1e-5)


def test_groups_are_left_out_one_after_another(run: barlow.Run) -> None:
    score = run.evaluate(hold_out="group", keep=False, accelerator="cpu")
    row = score.row("trained")
    assert set(row["groups"]) == {"ann", "bob", "cem"}
    assert row["linear"] == pytest.approx(np.mean([found["linear"] for found in row["groups"].values()]))
    with pytest.raises(ValueError, match="there is no group 'ane'"):
        run.evaluate(hold_out="group=ane", keep=False)


def test_the_commands_take_recordings(
    recordings: Path, run: barlow.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(["evaluate", str(run.folder), "--accelerator", "cpu", "--hold-out", "group=bob", "--no-keep"])
    assert "stretched" in capsys.readouterr().out
    typed(["embed", str(run.folder), "--out", str(tmp_path / "h.npz"), "--accelerator", "cpu"])
    assert len(np.load(tmp_path / "h.npz")["h"]) == 54
    typed(["report", str(run.folder)])
    assert "raw log-mel" in (run.folder / "report.html").read_text()


def test_what_is_typed_wrong_is_one_line_and_status_2(recordings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        (["--modality-options", "hopp", "80"], "hopp"),
        (["--views", "mixupp"], "mixup"),
        (["--backbone", "audiont"], "audiontt"),
        (["--hold-out", "george"], "hold_out"),
        (["--labels", "{speaker}_*"], "{label}"),
        (["--hold-out", "group=ann"], "have no groups"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["pretrain", str(recordings), "--quiet", *words])
        assert stopped.value.code == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1


def test_the_audit_has_a_bar_and_a_curve_for_each_transform(run: barlow.Run) -> None:
    settings = barlow.AuditSettings(accelerator="cpu", seconds=5.0, mlp=False, quiet=True)
    found = barlow.audit(run, settings=settings).figures["augmentations"]
    assert {bar["name"] for bar in found} >= {"mixup", "crop", "fader"}
    assert any(bar["curve"] for bar in found)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_checkpoint(folder / "checkpoints" / "last.ckpt")["method"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_run_that_was_killed_goes_on_to_the_same_weights_with_mixup(recordings: Path, tmp_path: Path) -> None:
    every_step = Machine(accelerator="cpu", quiet=True, checkpoint_minutes=0.0)
    asked = {**TINY, "labels": "none", "machine": every_step}
    undisturbed = barlow.pretrain(recordings, out=tmp_path / "whole", **asked)
    child = os.fork()
    if child == 0:
        write_record = Journal.write

        def and_die(journal: Journal, event: str, /, **fields: Any) -> None:
            write_record(journal, event, **fields)
            if event == "step" and fields["step"] == 4:
                os.kill(os.getpid(), signal.SIGKILL)

        Journal.write = and_die  # type: ignore[method-assign]
        barlow.pretrain(recordings, out=tmp_path / "killed", **asked)
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert barlow.resume(tmp_path / "killed", machine=every_step).finished
    ours, theirs = weights(tmp_path / "killed"), weights(undisturbed.folder)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.dist
def test_two_processes_are_one(recordings: Path, tmp_path: Path) -> None:
    from tests.distributed.launches import BARLOW, run as launch

    losses = []
    for devices in ("1", "2"):
        out = tmp_path / devices
        words = [str(recordings), "--recipe", "audio-small", "--width", "4", "--projector", "16-16", "--labels", "none"]
        words += ["--batch-size", "15", "--epochs", "1", "--precision", "32-true", "--devices", devices]
        words += ["--modality-options", "mels", "16", "seconds", "0.3", "bank", "8", "--out", str(out)]
        done = launch([*BARLOW, *words, "--accelerator", "cpu", "--quiet"])
        assert done.returncode == 0, done.stderr
        losses.append([one["loss"] for one in read_journal(out / "journal.jsonl") if one["event"] == "step"])
    assert len(losses[0]) == 3
    assert losses[0] == pytest.approx(losses[1], rel=2e-4)


def test_a_broken_recording_is_named_and_changes_nothing_but_itself(tmp_path: Path) -> None:
    folder = spoken(tmp_path / "sounds", takes=2)
    (folder / "zzz.wav").write_bytes(b"RIFF nonsense")
    run = barlow.pretrain(folder, labels="none", out=tmp_path / "run", machine=QUIET, **TINY)
    found = [one for one in read_journal(run.folder / "journal.jsonl") if one["event"] == "bad_sample"]
    assert [Path(one["what"]).name for one in found] == ["zzz.wav"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert len(run.embed(folder, accelerator="cpu")) == 18


def test_clips_of_another_rate_are_brought_to_that_of_the_run(run: barlow.Run, tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(seconds=0.3), 8000)
    other = write(tmp_path / "b.wav", tone(seconds=0.3, rate=44100), 44100)
    one, two = (run.embed(each, accelerator="cpu") for each in (path, other))
    assert float(torch.nn.functional.cosine_similarity(one, two)) > 0.99


def test_arrays_are_recordings_where_the_modality_is_said(tmp_path: Path) -> None:
    waves = [tone(200 + 30 * k, 0.4) for k in range(24)]
    asked = {**TINY, "modality_options": {**TINY["modality_options"], "sample_rate": 8000}}
    run = barlow.pretrain(waves, modality="audio", out=tmp_path / "run", machine=QUIET, **asked)
    assert run.embed(waves[:3], accelerator="cpu").shape == (3, 32)


def test_a_long_recording_is_embedded_window_by_window(
    run: barlow.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "long" / "a.wav", tone(seconds=2.0))
    write(tmp_path / "long" / "b.wav", tone(seconds=0.2))
    (tmp_path / "long" / "broken.wav").write_bytes(b"no sound")
    out = tmp_path / "h.parquet"
    words = ["embed", str(run.folder), str(tmp_path / "long"), "--window", "0.3", "--hop", "0.1", "--out", str(out)]
    typed([*words, "--accelerator", "cpu"])
    assert "broken.wav" in capsys.readouterr().out
    table = parquet.read_table(out).to_pydict()
    assert len(table["h"]) == 18 + 1
    assert table["start"][:3] == pytest.approx([0.0, 0.1, 0.2])
    assert table["end"][17] == pytest.approx(2.0)
    assert (table["start"][18], table["end"][18]) == pytest.approx((0.0, 0.2))
    assert table["name"][1].endswith("a.wav#t=0.10,0.40")
    whole = run.embed(tmp_path / "long" / "b.wav", accelerator="cpu")
    torch.testing.assert_close(whole[0], torch.tensor(table["h"][18]), rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
def test_the_front_end_is_in_the_onnx_file(run: barlow.Run, tmp_path: Path) -> None:
    import onnxruntime

    run.export("onnx", tmp_path / "clips.onnx", with_preprocessing=True)
    run.export("onnx", tmp_path / "mels.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "clips.onnx"))
    waves = torch.randn(4, 2400, generator=torch.Generator().manual_seed(1))
    (found,) = session.run(None, {session.get_inputs()[0].name: waves.numpy()})
    with torch.no_grad():
        wanted = run.backbone(run.views.plain(waves))
    torch.testing.assert_close(torch.from_numpy(found), wanted, rtol=1e-3, atol=1e-3)
    assert "mono clips" in session.get_modelmeta().custom_metadata_map["preprocessing"]


def test_recordings_have_neighbours_copies_and_a_classifier_that_knows_of_speakers(
    run: barlow.Run, recordings: Path, tmp_path: Path
) -> None:
    """A recording that is there twice is found; whoever speaks is held out whole where names say it."""
    of = run.sampled()
    assert sorted({name.split("_")[0].split("/")[-1] for name in of.embeddings.names}) == ["high", "low", "mid"]
    shutil.copy(recordings / "low_bob_3.wav", tmp_path / "copy.wav")
    like = of.similar(tmp_path / "copy.wav", number=2)
    assert like.names[0][0].endswith("low_bob_3.wav")
    assert of.similar("low_bob_3.wav", number=2).names[0] != like.names[0]
    more = tmp_path / "more"
    shutil.copytree(recordings, more)
    shutil.copy(recordings / "low_bob_3.wav", more / "low_bob_again.wav")
    again = run.sampled(more)
    names = [Path(name).name for name in again.embeddings.names]
    groups = [[names[row] for row in group] for group in again.duplicates().groups]
    assert any({"low_bob_3.wav", "low_bob_again.wav"} <= set(group) for group in groups)
    made = of.classify(tmp_path / "model")
    assert made.classifier.class_names == ("high", "low", "mid")
    assert any("groups (3 of them) were held out whole" in note for note in made.notes)
    assert made.scores["trained"]["num_samples"] == 54
    found = barlow.predict(made.folder, recordings / "low_bob_3.wav")
    assert found.class_names[int(found.classes[0])] == "low"
