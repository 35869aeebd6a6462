"""Which axis holds the channels: told by shapes that are clear, settled by the run or the user for others."""

from typing import Any

import numpy as np
import pytest

from barlow.images.data.axes import axis_named, channels_axis, channels_first


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((24, 200, 9, 9), "first"),
        ((24, 9, 9, 200), "last"),
        ((24, 12, 8, 8), "first"),
        ((24, 8, 8, 12), "last"),
        ((24, 3, 20, 30), "first"),
        ((24, 20, 30, 3), "last"),
        ((24, 1, 28, 28), "first"),
        ((24, 28, 28, 1), "last"),
        ((24, 4, 5, 3), "last"),
        ((24, 3, 4, 5), "first"),
        ((24, 4, 4, 3), "last"),
        ((24, 2, 32, 32), "first"),
        ((24, 32, 48, 2), "last"),
        ((24, 64, 48, 4), "last"),
    ],
)
def test_shapes_that_can_be_read_in_one_way_only_are_read_so(shape: tuple[int, ...], axis: str) -> None:
    assert channels_axis(shape) == axis
    found, seen, _ = channels_first(np.zeros(shape, np.uint8))
    assert seen == axis
    assert found.shape == (shape if axis == "first" else (shape[0], shape[3], shape[1], shape[2]))


AMBIGUOUS = [(24, 9, 9, 9), (24, 13, 64, 48), (24, 3, 3, 200), (24, 3, 20, 3), (24, 4, 4, 12), (24, 1, 1, 8)]


@pytest.mark.parametrize("shape", AMBIGUOUS)
def test_shapes_that_can_be_read_in_two_ways_are_refused_until_somebody_says_which(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"data: got an array of shape .*, which could be .*channels") as error:
        channels_axis(shape)
    assert "--channels-axis first or last (channels_axis=) says which" in str(error.value)
    for axis in ("first", "last"):
        assert channels_axis(shape, asked=axis) == axis
        assert channels_axis(shape, before=axis) == axis


def test_the_channels_of_a_network_settle_the_axis_where_one_end_alone_has_them() -> None:
    assert channels_axis((24, 13, 64, 48), channels=13) == "first"
    assert channels_axis((24, 13, 64, 48), channels=48) == "last"
    assert channels_axis((24, 3, 3, 200), channels=200) == "last"
    assert channels_axis((24, 20, 20, 3), channels=3, before="first") == "last"
    assert channels_axis((24, 3, 20, 3), channels=3, before="last") == "last"


def test_one_picture_is_one_picture_where_its_shape_or_the_network_says_so() -> None:
    def shape_of(*shape: int, **known: Any) -> tuple[int, ...]:
        return channels_first(np.zeros(shape, np.uint8), **known)[0].shape

    assert shape_of(3, 20, 20, channels=3) == (1, 3, 20, 20)
    assert shape_of(20, 20, 3, channels=3) == (1, 3, 20, 20)
    assert shape_of(200, 9, 9, channels=200) == (1, 200, 9, 9)
    assert shape_of(20, 20, 3) == shape_of(20, 20, 3, channels=1) == (1, 3, 20, 20)
    assert shape_of(3, 20, 20) == shape_of(3, 20, 20, channels=1) == (3, 1, 20, 20)
    assert shape_of(5, 20, 20, channels=3) == (5, 1, 20, 20)
    assert shape_of(3, 20, 20, asked="first") == (1, 3, 20, 20)


def test_what_was_not_plain_is_said() -> None:
    assert channels_first(np.zeros((5, 3, 8, 8), np.uint8))[2] == ()
    assert channels_first(np.zeros((5, 8, 8), np.uint8))[2] == ()
    (note,) = channels_first(np.zeros((5, 12, 8, 8), np.uint8))[2]
    assert note == "(5, 12, 8, 8) is read as images of 8 x 8 with 12 channels, the channel axis first"
    (note,) = channels_first(np.zeros((3, 8, 8), np.uint8))[2]
    assert note.startswith("(3, 8, 8) is read as 3 grey images")
    (note,) = channels_first(np.zeros((8, 8, 3), np.uint8))[2]
    assert note == "(8, 8, 3) is read as one picture, its channels last"


def test_an_axis_is_named_by_word_or_place() -> None:
    named = [axis_named(given) for given in ("first", 1, "1", "last", -1, "-1", "", None)]
    assert named == ["first", "first", "first", "last", "last", "last", None, None]
    for wrong in ("lst", 2, True):
        with pytest.raises(ValueError, match=r"channels_axis: got '.*', wanted one of first, 1, last, -1"):
            axis_named(wrong)
