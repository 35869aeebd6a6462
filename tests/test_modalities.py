"""Which modality some data are of, and what is loaded for the network of a run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from barlow.data.arrays import ArraySource
from barlow.images.modality import IMAGES
from barlow.modalities import SAMPLES, load_samples, modality_for, modality_named, modality_of, place_of
from barlow.seams import Modality
from tests.images.data.making import noise


def for_network(data: Any, channels: int) -> Any:
    return load_samples(IMAGES, data, facts={"image_shape": [channels, 8, 8]})


def test_a_network_gets_images_with_its_channels_and_sources_of_ones_own_are_only_checked() -> None:
    assert next(for_network("digits", 3).batches([0], 1)).samples.shape == (1, 3, 8, 8)
    assert next(for_network(noise(4, 8, 8, 5), 5).batches([0], 1)).samples.shape == (1, 5, 8, 8)
    own = ArraySource(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), name="own")
    assert for_network(own, 1) is own
    with pytest.raises(ValueError, match="data: own has images with 1 channel, wanted 3 as the network was trained"):
        for_network(own, 3)
    series = ArraySource(torch.zeros(4, 3, 64))
    assert load_samples(SAMPLES, series, facts={"name": "series"}) is series
    with pytest.raises(ValueError, match=r"samples of shape \(3, 64\), wanted \(C, H, W\)"):
        for_network(series, 3)


def test_the_data_tell_their_modality_and_a_source_with_own_views_may_be_anything(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((4, 8, 8), np.uint8))
    for data in ("digits", tmp_path, tmp_path / "x.npy", torch.zeros(4, 1, 8, 8), ArraySource(torch.zeros(4, 3, 64))):
        assert modality_for(data) is IMAGES
    assert modality_for(ArraySource(torch.zeros(4, 3, 64)), own_views=True) is SAMPLES
    assert modality_for(torch.zeros(4, 1, 8, 8), own_views=True) is IMAGES
    assert modality_for("digits", modality="samples") is SAMPLES
    with pytest.raises(ValueError, match=r"modality: got 'image', wanted one of .*did you mean 'images'"):
        modality_for("digits", modality="image")
    with pytest.raises(ValueError, match="data: there is no 'nothing'"):
        load_samples(modality_for("nothing"), "nothing")


def test_a_run_names_its_modality_and_one_made_before_tells_it_by_its_facts() -> None:
    assert modality_of({"modality": "images"}) is modality_of({"image_shape": [1, 8, 8]}) is IMAGES
    assert modality_of({"name": "series"}) is modality_named("samples") is SAMPLES
    own = Modality(name="series", noun="recording", load=SAMPLES.load)
    assert modality_of({"modality": "series"}, own) is own
    with pytest.raises(ValueError, match=r"modality: the run is of modality 'series'.*pass it again"):
        modality_of({"modality": "series"})


def test_samples_of_no_known_modality_are_a_source() -> None:
    with pytest.raises(ValueError, match="data: got 'digits', wanted a Source"):
        load_samples(SAMPLES, "digits")


def test_data_are_told_apart_by_name_or_by_their_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert place_of(IMAGES, "digits") == "digits"
    assert place_of(IMAGES, Path("digits")) == place_of(IMAGES, "./digits") == str(tmp_path / "digits")
    assert place_of(IMAGES, torch.zeros(1)) == ""


def test_a_modality_of_ones_own_has_a_name_of_its_own() -> None:
    with pytest.raises(ValueError, match="modality: the name 'images' is taken"):
        modality_for("digits", modality=Modality(name="images", noun="scan", load=SAMPLES.load))
    assert modality_named(IMAGES) is IMAGES
