"""What was told of the training data is kept with the run, and whatever it is given later is read in the same way."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import barlow
from barlow.cli.commands import main
from barlow.runs.folder import RecipeChangedError
from tests.runs.test_pretrain import tiny

Y, X = np.mgrid[0:10, 0:10]


def scan(number: int, top: float) -> np.ndarray[Any, Any]:
    """A picture of 16 bits whose pattern hangs on its number, and whose brightness on `top`."""
    pattern = np.sin(X * (1 + number % 4) / 3 + number)
    return np.asarray((0.5 + 0.5 * pattern) * top, dtype=np.uint16)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> tuple[barlow.Run, Path]:
    """A run on 40 bright and 8 dim pictures of 16 bits, and their folder."""
    root = tmp_path_factory.mktemp("deep")
    for name, number, top in (("bright", 40, 60000), ("dim", 8, 900)):
        (root / "scans" / name).mkdir(parents=True)
        for one in range(number):
            Image.fromarray(scan(one, top)).save(root / "scans" / name / f"{one:02d}.png")
    return tiny(str(root / "scans"), root / "run", epochs=1), root / "scans"


def recorded(run: barlow.Run) -> dict[str, Any]:
    return dict(json.loads((run.folder / "recipe.json").read_text())["data"])


def test_a_file_has_the_same_features_alone_as_among_others(scans: tuple[barlow.Run, Path]) -> None:
    run, folder = scans
    assert recorded(run)["white_level"] == {"integer": 65535}
    assert recorded(run)["decode_size"] == 2 * run.recipe.image_size or recorded(run)["decode_size"] == 448
    opened = barlow.open_run(run.folder)
    torch.testing.assert_close(opened.embed(folder)[40:], opened.embed(folder / "dim"))
    arrays = np.stack([scan(number, 900) for number in range(8)])[:, None]
    brighter = np.concatenate([arrays, np.full((1, 1, 10, 10), 5000, np.uint16)])
    torch.testing.assert_close(opened.embed(arrays), opened.embed(folder / "dim"))
    torch.testing.assert_close(opened.embed(brighter)[:8], opened.embed(arrays))
    items = [torch.from_numpy(one.astype(np.int32)) for one in arrays]
    torch.testing.assert_close(opened.embed(items), opened.embed(arrays))
    torch.testing.assert_close(opened.embed(arrays / np.float32(65535)), opened.embed(arrays))


def test_evaluation_and_audit_read_as_the_run_did(scans: tuple[barlow.Run, Path], tmp_path: Path) -> None:
    from barlow.audits.subjects import open_subject
    from barlow.evaluation.scores import labelled_parts

    run, _ = scans
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for one in range(6):
            Image.fromarray(scan(one, 900)).save(tmp_path / name / f"{one}.png")
    parts = labelled_parts(run.modality, tmp_path, facts=run.facts)
    subject = open_subject(run, tmp_path)
    assert parts is not None
    assert subject.source is not None
    for source in (parts.train, parts.test, subject.source):
        for batch in source.batches(range(len(source)), 64):
            assert 3 <= int(batch.samples.max()) <= 900 * 255 / 65535 + 1
    louder = open_subject(run, tmp_path, reading={"white_level": 900}).source
    assert louder is not None
    assert int(next(louder.batches([0], 1)).samples.max()) > 200


def test_another_white_than_that_of_the_run_is_said_or_refused(scans: tuple[barlow.Run, Path]) -> None:
    run, folder = scans
    dim = np.stack([scan(number, 900) for number in range(8)])
    with pytest.raises(ValueError, match=r"data: got pixel values from .* to .*, wanted 0 to 1 .*--white-level"):
        run.embed((dim / np.float32(900 / 255))[:, None])  # floats were never told, and these are no fractions
    found = run.embed((dim / np.float32(900 / 255))[:, None], white_level=255 * 65535 / 900)
    assert torch.nn.functional.cosine_similarity(found, run.embed(folder / "dim")).min() > 0.99
    with pytest.warns(UserWarning, match=r"pixel values above 1, which became white, in 7 of 8 samples"):
        run.embed(dim[:, None] / np.float32(800))


def test_an_old_folder_keeps_working_and_says_that_white_was_told_anew(
    scans: tuple[barlow.Run, Path], tmp_path: Path
) -> None:
    import shutil

    run, folder = scans
    shutil.copytree(run.folder, tmp_path / "old")
    path = tmp_path / "old" / "recipe.json"
    content = json.loads(path.read_text())
    for name in run.modality.reading:
        content["data"].pop(name, None)
    path.write_text(json.dumps(content))
    old = barlow.open_run(tmp_path / "old")
    with pytest.warns(UserWarning, match="recipe.json of the run does not say which value was white"):
        found = old.embed(folder / "dim")
    torch.testing.assert_close(found, run.embed(folder / "dim", white_level=1023))
    assert old.embed(folder / "dim", white_level=65535).shape == found.shape


def test_what_is_typed_holds_for_the_run_and_may_not_change(tmp_path: Path) -> None:
    data = np.stack([scan(number, 3000) for number in range(16)])
    np.save(tmp_path / "a.npy", data)
    run = tiny(str(tmp_path / "a.npy"), tmp_path / "run", epochs=1, batch_size=8, white_level=4000)
    assert recorded(run)["white_level"] == {"integer": 4000}
    again = tiny(str(tmp_path / "a.npy"), tmp_path / "run", epochs=1, batch_size=8)
    assert recorded(again)["white_level"] == {"integer": 4000}
    with pytest.raises(RecipeChangedError, match=r"white_level was \{'integer': 4000\}, now \{'integer': 5000\}"):
        tiny(str(tmp_path / "a.npy"), tmp_path / "run", epochs=1, batch_size=8, white_level=5000)
    with pytest.raises(ValueError, match="white_level: got 0, wanted the value of white"):
        tiny(str(tmp_path / "a.npy"), tmp_path / "other", epochs=1, white_level=0)
    main_embed = ["embed", str(run.folder), str(tmp_path / "a.npy"), "--out", str(tmp_path / "h.npz")]
    with pytest.raises(SystemExit) as ended:
        main([*main_embed, "--white-level", "65535", "--channels-axis", "first"])
    assert ended.value.code == 2  # (16, 10, 10) with an axis of channels is one picture, of 16 bands


def test_bands_and_pictures_that_a_network_cannot_take_are_refused(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    colour = generator.integers(0, 256, (16, 3, 10, 10), dtype=np.uint8)
    run = tiny(colour, tmp_path / "run", epochs=1, batch_size=8)
    assert recorded(run)["channels_axis"] == "first"
    torch.testing.assert_close(run.embed(colour.transpose(0, 2, 3, 1)), run.embed(colour))
    with pytest.raises(ValueError, match="data: got images with 12 channels, wanted 3: which of them are red, green"):
        run.embed(generator.integers(0, 256, (5, 12, 10, 10), dtype=np.uint8))
    for one in (colour[0], colour[0].transpose(1, 2, 0)):
        torch.testing.assert_close(run.embed(one), run.embed(colour[:1]))
    unclear = generator.integers(0, 256, (5, 3, 10, 3), dtype=np.uint8)
    torch.testing.assert_close(run.embed(unclear), run.embed(unclear, channels_axis=1))


@pytest.mark.filterwarnings("always::UserWarning")
def test_what_was_clipped_is_in_the_journal_and_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fractions = np.random.default_rng(0).uniform(0.1, 0.9, (16, 1, 10, 10)).astype(np.float32)
    fractions[3, 0, 0, 0] = 1.2
    np.save(tmp_path / "a.npy", fractions)
    run = tiny(str(tmp_path / "a.npy"), tmp_path / "run", epochs=1, batch_size=8)
    journal = (run.folder / "journal.jsonl").read_text()
    sentence = "1 pixel values above 1, which became white, in 1 of 16 samples: a.npy, sample 3"
    assert journal.count(sentence) == 1
    assert "pixels are floats: read with 1 as white" in journal
    fractions *= np.float32(1.2)
    np.save(tmp_path / "b.npy", fractions)
    with pytest.raises(SystemExit) as ended:
        main(["embed", str(run.folder), str(tmp_path / "b.npy"), "--out", str(tmp_path / "h.npz")])
    assert ended.value.code == 0
    assert "barlow: note: 133 pixel values above 1, which became white, in 16 of 16" in capsys.readouterr().err
