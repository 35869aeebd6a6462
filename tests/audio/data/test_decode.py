"""Every format, depth and rate is read as what was written; what is broken is named, what is odd is counted apart."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from barlow.audio.data.decode import (
    CLIPPED,
    is_silent,
    num_clipped,
    read_header,
    read_part,
)
from barlow.data.lost import counting
from tests.audio.recordings import FORMATS, RATE, tone, write


def whole(path: Path, rate: int = RATE) -> np.ndarray:
    header = read_header(str(path))
    return read_part(str(path), header, 0, header.frames, rate)


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_is_the_tone_that_was_written(ending: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"a.{ending}", tone())
    found = whole(path)[: RATE - 200]
    allowed = 0.02 if ending in ("mp3", "ogg", "opus") else 1e-4
    if allowed > 1e-3:  # lossy formats shift by some samples and ring: the pitch and the level are what is held
        assert np.abs(np.fft.rfft(found)).argmax() == pytest.approx(440 * len(found) / RATE, abs=2)
        assert found.std() == pytest.approx(tone().std(), rel=0.05)
    else:
        assert np.abs(found - tone()[: len(found)]).max() < allowed


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_eight_to_thirty_two_bits_give_one_scale(subtype: str, tmp_path: Path) -> None:
    found = whole(write(tmp_path / "a.wav", tone(), subtype=subtype))
    assert np.abs(found - tone()).max() < (0.0085 if subtype == "PCM_U8" else 1e-4)


@pytest.mark.parametrize("rate", [11025, 16000, 22050, 44100, 48000])
def test_another_rate_is_resampled_to_the_same_tone(rate: int, tmp_path: Path) -> None:
    found = whole(write(tmp_path / "a.wav", tone(rate=rate), rate))
    assert len(found) == RATE
    assert np.abs(found - tone())[200:-200].max() < 2e-3


def test_channels_are_averaged(tmp_path: Path) -> None:
    both = np.stack([tone(440), tone(880)], axis=1)
    assert np.abs(whole(write(tmp_path / "a.wav", both)) - both.mean(axis=1)).max() < 1e-4


@pytest.mark.parametrize(("ending", "rate"), [("wav", RATE), ("flac", RATE), ("wav", 44100), ("flac", 22050)])
def test_a_part_is_the_same_part_of_the_whole(ending: str, rate: int, tmp_path: Path) -> None:
    sound = np.concatenate([tone(hertz, 1.0, rate) for hertz in (300, 500, 700, 900)])
    path = write(tmp_path / f"a.{ending}", sound, rate)
    all_of_it = whole(path)
    part = read_part(str(path), read_header(str(path)), rate * 3 // 2, rate, RATE)
    assert len(part) == RATE
    assert np.abs(part - all_of_it[RATE * 3 // 2 :][:RATE]).max() < (1e-7 if rate == RATE else 1e-3)


def test_a_second_of_a_long_file_is_read_without_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "long.wav", np.tile(tone(), 120))
    asked: list[int] = []
    read = soundfile.SoundFile.read

    def noted(file: soundfile.SoundFile, frames: int = -1, *rest: object, **more: object) -> object:
        asked.append(frames)
        return read(file, frames, *rest, **more)

    monkeypatch.setattr(soundfile.SoundFile, "read", noted)
    read_part(str(path), read_header(str(path)), 60 * RATE, RATE, RATE)
    assert asked == [RATE]


def cut_short(path: Path, share: float) -> Path:
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    return path


def test_a_wav_shorter_than_its_header_says_is_bad(tmp_path: Path) -> None:
    path = cut_short(write(tmp_path / "a.wav", tone()), 0.5)
    with pytest.raises(ValueError, match="of the 8,000 samples that its header says"):
        read_header(str(path))


def test_a_flac_that_ends_early_is_bad(tmp_path: Path) -> None:
    path = cut_short(write(tmp_path / "a.flac", tone(seconds=4)), 0.6)
    with pytest.raises(ValueError, match="breaks off: "):
        whole(path)


def test_a_header_that_leaves_the_length_open_is_read_to_the_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone())
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = b"\xff\xff\xff\xff"
    content[4:8] = b"\xff\xff\xff\xff"
    path.write_bytes(bytes(content))
    assert len(whole(path)) == RATE


def test_an_empty_file_a_header_alone_and_a_text_are_bad(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    with pytest.raises(ValueError, match="the file is empty"):
        read_header(str(tmp_path / "empty.wav"))
    with pytest.raises(ValueError, match="a header without samples"):
        read_header(str(write(tmp_path / "header.wav", np.zeros(0, dtype=np.float32))))
    (tmp_path / "text.wav").write_text("this is a text, not a sound")
    with pytest.raises(ValueError, match="is no recording that can be read"):
        read_header(str(tmp_path / "text.wav"))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinite_samples_are_bad(value: float, tmp_path: Path) -> None:
    sound = tone()
    sound[100] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        whole(write(tmp_path / "a.wav", sound, subtype="FLOAT"))


def test_silence_is_no_sample_above_one_step_of_sixteen_bits() -> None:
    assert is_silent(np.full(10, 2.0**-15, dtype=np.float32))
    assert not is_silent(np.array([0.0, -(2.0**-14)], dtype=np.float32))


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT"])
def test_three_samples_in_a_row_at_full_scale_are_clipped_and_a_peak_is_not(subtype: str, tmp_path: Path) -> None:
    sound = tone()
    sound[[50, 90, 91]] = 1.0
    sound[100:105] = 1.0
    sound[200:203] = -1.0
    path = write(tmp_path / "a.wav", sound, subtype=subtype)
    with counting() as counts:
        whole(path)
    assert counts == {CLIPPED: 8}
    assert num_clipped(np.ones((2, 1), dtype=np.float32), 1.0) == 0
