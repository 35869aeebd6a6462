"""A run that told speakers apart is verified: on clips not learnt from, in noise, by files of trials."""

import json
from pathlib import Path

import numpy as np
import pytest

import barlow
from barlow.applications.speakers.verify import verify_speakers
from barlow.cli.commands import main
from barlow.runs.run import open_run
from barlow.training.machine import Machine
from tests.audio.recordings import spoken, tone, write

PATTERN = "{group}_{label}_*"
"""The words are groups, the speakers labels."""


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spoken(tmp_path_factory.mktemp("speakers") / "voices", takes=6)


@pytest.fixture(scope="module")
def run(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> barlow.Run:
    return barlow.pretrain(
        recordings,
        recipe="speakers",
        labels=PATTERN,
        hold_out="group=mid",
        out=tmp_path_factory.mktemp("run") / "run",
        machine=Machine(accelerator="cpu", quiet=True),
        epochs=2,
        batch_size=12,
        width=8,
        modality_options={"seconds": 0.4, "mels": 16, "noises": "white+babble"},
    )


def test_the_run_learnt_two_words_and_its_page_says_what_was_set_aside(run: barlow.Run) -> None:
    assert run.recipe.options["num_classes"] == 3
    page = (run.folder / "report.html").read_text()
    assert "18 test samples were set aside before the first step" in page
    assert run.views.studied is run.views.pipelines[1]
    assert 0 < run.summary["label_free"]["invariance_share"] < 0.999  # of the noisy copies, not of the clean ones


def test_the_held_out_word_is_paired_clean_and_in_noise_beside_the_untrained_network(run: barlow.Run) -> None:
    score = verify_speakers(run, snr=(20.0, -20.0), noise="white", accelerator="cpu", keep=False)
    assert score.trials == "every pair of 18 clips"
    assert [row["features"] for row in score.rows] == ["trained", "untrained", "log-mel, mean and deviation"]
    conditions = [one["condition"] for one in score.rows[0]["verification"]]
    assert conditions == ["clean", "white 20 dB", "white -20 dB"]
    bar = "log-mel, mean and deviation"
    assert score.eer("clean", bar) < score.eer("white -20 dB", bar)  # speakers differ in loudness of their noise alone
    again = verify_speakers(run, snr=(20.0, -20.0), noise="white", accelerator="cpu", keep=False)
    assert again.rows == score.rows  # the noise is the same for everyone


def test_what_is_kept_stands_on_the_page(run: barlow.Run) -> None:
    score = verify_speakers(run, snr=(5.0,), noise="babble", accelerator="cpu")
    assert score.kept is not None
    content = json.loads(score.kept.read_text())
    assert content["evaluation"]["rows"][0]["verification"][1]["condition"] == "babble 5 dB"
    page = (run.folder / "report.html").read_text()
    assert "verification: EER / minDCF" in page
    assert "babble 5 dB: " in page


def test_a_file_of_trials_may_name_any_clip_and_noise_may_come_from_a_folder(
    run: barlow.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = tmp_path / "trials.txt"
    trials.write_text("high_ann_0.wav low_ann_1.wav target\nhigh_ann_0 mid_bob_1 nontarget\n")
    hum = tone(50, 2.0) + 0.1 * np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    write(tmp_path / "hum" / "a.wav", hum)
    arguments = ["evaluate", str(run.folder), "--trials", str(trials), "--snr", "10", "--noise", f"{tmp_path}/hum/"]
    with pytest.raises(SystemExit) as left:
        main([*arguments, "--accelerator", "cpu", "--no-keep"])
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert "2 trials of trials.txt" in said
    assert "clips of the training data may be among the trials" in said


def test_unknown_speakers_are_verified_without_being_classes(run: barlow.Run, tmp_path: Path) -> None:
    others = spoken(tmp_path / "others", speakers=("dan", "eve"), takes=3)
    score = verify_speakers(run, others, labels=PATTERN, accelerator="cpu", keep=False)
    assert score.trials == "every pair of 18 clips"


def test_what_cannot_be_verified_is_refused(run: barlow.Run, recordings: Path) -> None:
    with pytest.raises(ValueError, match="noise: got 'babbel', wanted white, pink, babble or a folder"):
        verify_speakers(run, noise="babbel", keep=False)
    with pytest.raises(ValueError, match=r"data: .* has no labels to pair by"):
        verify_speakers(run, [str(path) for path in sorted(recordings.glob("*.wav"))[:4]], keep=False)


def test_the_folder_alone_gives_the_run_back_with_its_noise(run: barlow.Run) -> None:
    opened = open_run(run.folder)
    assert opened.views.studied_at == 1
    pipeline = opened.views.studied
    assert getattr(pipeline, "voices", None) is not None  # clips of babble are kept with the run
    with pytest.raises(ValueError, match=r"to: .*timm"):
        opened.export("timm", run.folder / "timm")
    assert opened.export("hear", run.folder / "hear")
    assert (run.folder / "hear" / "barlow_hear.py").is_file()
