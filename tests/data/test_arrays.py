import pytest
import torch

from barlow.data.arrays import ArraySource
from barlow.data.bad_samples import BadDataError
from barlow.seams import Source


def test_batches_are_the_rows_asked_for_in_that_order() -> None:
    rows = torch.arange(20, dtype=torch.uint8).view(10, 1, 1, 2)
    source = ArraySource(rows, labels=range(10))
    batches = list(source.batches([9, 0, 0, 4], 3))
    assert [batch.indices.tolist() for batch in batches] == [[9, 0, 0], [4]]
    assert torch.equal(batches[0].samples, rows[[9, 0, 0]])
    assert isinstance(source, Source)
    assert source.describe(3) == "sample 3"
    assert source.labels is not None
    assert source.labels.tolist() == list(range(10))


def test_a_channels_last_store_gives_contiguous_batches() -> None:
    source = ArraySource(torch.zeros(4, 5, 6, 3, dtype=torch.uint8).permute(0, 3, 1, 2))
    (batch,) = source.batches(range(4), 4)
    assert batch.samples.shape == (4, 3, 5, 6)
    assert batch.samples.is_contiguous()


def test_samples_that_are_no_pictures_keep_their_number_format() -> None:
    series = torch.randn(6, 3, 50, generator=torch.Generator().manual_seed(0))
    (batch,) = ArraySource(series).batches([5, 1], 2)
    assert torch.equal(batch.samples, series[[5, 1]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_samples_with_nan_are_left_out_and_too_many_of_them_stop(dtype: torch.dtype) -> None:
    series = torch.zeros(100, 4, dtype=dtype)
    series[2, 1] = float("nan")
    source = ArraySource(series)
    assert source.bad == {2: "NaN or infinite values"}
    (batch,) = source.batches([1, 2, 3], 3)
    assert batch.indices.tolist() == [1, 3]
    assert list(source.batches([2], 1)) == []
    series[3:6] = float("inf")
    with pytest.raises(BadDataError, match="4 of 100"):
        ArraySource(series)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_listed_samples_with_nan_are_left_out_and_too_many_of_them_stop(dtype: torch.dtype) -> None:
    series = [torch.zeros(2, 3 + number % 2, dtype=dtype) for number in range(100)]
    series[2][1, 0] = float("nan")
    series[4] = torch.zeros(0, dtype=dtype)
    series[5] = torch.zeros(2, 3, dtype=torch.int64)
    source = ArraySource(series)
    assert source.bad == {2: "NaN or infinite values"}
    (batch,) = source.batches([1, 2, 3], 3)
    assert batch.indices.tolist() == [1, 3]
    assert list(source.batches([2], 1)) == []
    for number in (3, 6, 7):
        series[number][0, 1] = float("inf")
    with pytest.raises(BadDataError, match=r"4 of 100 .*series 2 \(NaN.*series 3 \(NaN"):
        ArraySource(series, describe="series {}".format)


def test_a_listed_sample_that_is_known_to_be_bad_keeps_its_reason_and_counts_once() -> None:
    series = [torch.zeros(3 + number % 2) for number in range(100)]
    series[7] = torch.full((3,), float("nan"))
    assert ArraySource(series, bad={7: "the sensor was off"}).bad == {7: "the sensor was off"}


def test_wrong_labels_and_orders_are_refused() -> None:
    with pytest.raises(ValueError, match="labels: got shape"):
        ArraySource(torch.zeros(3, 2), labels=[0, 1])
    with pytest.raises(ValueError, match="position -1"):
        ArraySource(torch.zeros(3, 2)).batches([-1], 1)
