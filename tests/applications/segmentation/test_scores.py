"""Dice, IoU and Hausdorff distances, against sets of pixels counted by hand."""

import math

import numpy as np
import numpy.typing as npt
import pytest

from barlow.applications.segmentation.scores import DEFINITIONS, hausdorff, score_image, summarise

IGNORED = 255


def discs(*centres: tuple[int, int], radius: int = 3, side: int = 24) -> npt.NDArray[np.uint8]:
    y, x = np.mgrid[:side, :side]
    found = np.zeros((side, side), dtype=np.uint8)
    for row, column in centres:
        found[(y - row) ** 2 + (x - column) ** 2 <= radius**2] = 1
    return found


def test_two_classes_are_scored_by_the_second_alone() -> None:
    predicted, truth = discs((8, 8)), discs((8, 10))
    both, union = int((predicted & truth).sum()), int((predicted | truth).sum())
    found = score_image(predicted, truth, 2)
    assert found.dice == pytest.approx(2 * both / (predicted.sum() + truth.sum()))
    assert found.iou == pytest.approx(both / union)
    assert found.dice == pytest.approx(2 * found.iou / (1 + found.iou))


def test_many_classes_are_averaged_over_those_that_either_has() -> None:
    truth = np.array([[0, 0, 1, 1]])
    predicted = np.array([[0, 1, 1, 1]])
    found = score_image(predicted, truth, 4)
    assert found.dice == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert found.iou == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_pixels_without_a_label_count_for_neither() -> None:
    truth, predicted = np.array([[0, 1, IGNORED, IGNORED]]), np.array([[0, 1, 1, 0]])
    assert score_image(predicted, truth, 2).dice == 1
    assert math.isnan(score_image(predicted, np.full((1, 4), IGNORED), 2).dice)


def test_nothing_there_and_nothing_found_is_right_and_something_found_is_wrong() -> None:
    nothing = np.zeros((4, 4), dtype=np.uint8)
    assert score_image(nothing, nothing, 2).dice == 1
    assert score_image(discs((2, 2), side=4), nothing, 2).dice == 0


def test_the_set_is_scored_by_all_of_its_pixels() -> None:
    images = [(discs((8, 8)), discs((8, 9))), (discs((5, 5), (15, 15)), discs((5, 5)))]
    both = sum(int((p & t).sum()) for p, t in images)
    union = sum(int((p | t).sum()) for p, t in images)
    found = summarise([score_image(p, t, 2) for p, t in images])
    assert found["set_iou"] == pytest.approx(both / union)
    assert found["dice"] == pytest.approx(np.mean([score_image(p, t, 2).dice for p, t in images]))
    assert found["accuracy"] == pytest.approx(np.mean([(p == t).mean() for p, t in images]))
    assert set(DEFINITIONS) <= set(found)


def test_the_hausdorff_distance_is_that_of_all_pairs_of_border_pixels() -> None:
    a, b = discs((8, 8)).astype(bool), discs((9, 14), (20, 3), radius=2).astype(bool)

    def border(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        padded = np.pad(mask, 1)
        inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        return np.argwhere(mask & ~inner)

    distances = np.linalg.norm(border(a)[:, None] - border(b)[None], axis=-1)
    found = hausdorff(a, b)
    assert found is not None
    assert found[0] == pytest.approx(max(distances.min(1).max(), distances.min(0).max()))
    assert found[1] == pytest.approx(np.percentile(np.concatenate([distances.min(1), distances.min(0)]), 95))
    assert hausdorff(a, a) == (0.0, 0.0)
    assert hausdorff(a, np.zeros_like(a)) is None


def test_images_without_a_distance_are_counted_not_averaged() -> None:
    empty = np.zeros((24, 24), dtype=np.uint8)
    found = summarise([score_image(empty, discs((8, 8)), 2), score_image(discs((8, 8)), discs((8, 10)), 2)])
    assert found["without_distance"] == 1
    assert found["hausdorff"] == pytest.approx(2.0)
    assert found["images"]["hausdorff"][0] is None


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"predicted: got \(2, 2\), wanted the size of the mask, \(2, 3\)"):
        score_image(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), 2)
