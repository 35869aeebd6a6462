"""Bars: Otsu's threshold is the best one, features are local, and the forest learns what colours mean."""

from pathlib import Path

import numpy as np
import pytest
import torch

from barlow.applications.segmentation.bars import (
    foreground_is_brighter,
    local_features,
    otsu_masks,
    otsu_threshold,
    pixel_classifier,
    usual_class,
)
from barlow.applications.segmentation.cells import split_images
from barlow.applications.segmentation.fit import tell_seen
from barlow.applications.segmentation.pictures import MaskedSource, open_masked, open_pairs, table_of
from barlow.applications.segmentation.settings import SegmentSettings
from tests.applications.segmentation.discs import write_discs


def test_the_threshold_of_otsu_leaves_the_least_variance_on_its_sides() -> None:
    generator = torch.Generator().manual_seed(0)
    dark, bright = (torch.randn(number, generator=generator) for number in (300, 80))
    values = torch.cat([dark * 8 + 60, bright * 12 + 140])
    array = values.double().numpy()

    def within(threshold: float) -> float:
        sides = array[array > threshold], array[array <= threshold]
        return sum(len(one) * float(one.var()) for one in sides if len(one))

    best = min(within(threshold) for threshold in np.linspace(array.min(), array.max(), 1000))
    assert within(otsu_threshold(values.reshape(19, 20))) <= best * 1.001


def test_otsu_says_which_side_by_the_masks() -> None:
    image = torch.zeros(1, 6, 6, dtype=torch.uint8)
    image[:, :3] = 200
    assert otsu_masks(brighter=True)(image).float().mean(1).tolist() == [1, 1, 1, 0, 0, 0]
    assert otsu_masks(brighter=False)(image).float().mean(1).tolist() == [0, 0, 0, 1, 1, 1]


def opened(folder: Path, **numbers: int) -> tuple[MaskedSource, MaskedSource, SegmentSettings]:
    settings = SegmentSettings(test_share=0.25)
    pairs = open_pairs(folder, settings)
    table = table_of(pairs, settings, None)
    facts = {"image_shape": [1, 32, 32], "white_level": {}}
    train, test = (open_masked(pairs, some, table, facts) for some in split_images(pairs, settings.test_share))
    return train, test, settings


def test_the_forest_learns_discs_and_predicts_at_the_size_of_the_image(tmp_path: Path) -> None:
    train, test, settings = opened(write_discs(tmp_path, 12))
    predict = pixel_classifier(train, tell_seen(train, settings), seed=0)
    (batch,) = test.batches([0], 1)
    mask, (truth,) = predict(batch.samples[0]), test.targets([0])
    assert mask.shape == truth.shape
    assert float((mask == truth).float().mean()) > 0.9
    assert foreground_is_brighter(train)
    assert usual_class(train, 2) == 0


def test_features_are_local_and_of_every_channel() -> None:
    image = torch.zeros(3, 80, 80)
    before = local_features(image)
    assert before.shape == (80, 80, 3 + 3 * 4 + 2 * 3)
    image[:, 5, 5] = 1
    changed = np.abs(local_features(image) - before).max(-1)
    assert changed[5, 5] == pytest.approx(1.0, abs=0.5)
    assert changed[70, 70] == 0
