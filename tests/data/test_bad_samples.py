import pytest
import torch

from barlow.data.arrays import ArraySource
from barlow.data.bad_samples import ANY, FEW, NUM_NAMED, BadDataError, BadSamples, left_out


def watch(num_samples: int) -> BadSamples:
    return BadSamples(num_samples, "photo {}".format)


def broken(*numbers: int) -> list[tuple[int, str]]:
    return [(number, "truncated") for number in numbers]


def test_one_percent_of_all_samples_is_allowed_and_one_more_is_not() -> None:
    seen = watch(1000)
    seen.record(broken(*range(10)))
    with pytest.raises(BadDataError, match="11 of 1000 samples cannot be read, at most 10 may be bad"):
        seen.record(broken(999))


def test_bad_samples_that_come_first_do_not_stop_a_source_of_which_they_are_less_than_one_percent() -> None:
    seen = watch(4240)
    for number in range(22):
        seen.record(broken(number))
    assert len(seen.reasons) == 22
    with pytest.raises(BadDataError, match="43 of 4240"):
        seen.record(broken(*range(22, 43)))


@pytest.mark.parametrize(("num_samples", "allowed"), [(1, 0), (2, 1), (5, 2), (41, 3), (300, 3), (400, 4)])
def test_a_few_never_stop_a_small_source_but_half_of_it_is_the_limit(num_samples: int, allowed: int) -> None:
    assert FEW == 3
    seen = watch(num_samples)
    seen.record(broken(*range(allowed)))
    with pytest.raises(BadDataError, match=f"{allowed + 1} of {num_samples} samples"):
        seen.record(broken(allowed))


def test_a_bad_sample_counts_once_however_often_it_is_asked_for() -> None:
    seen = watch(100)
    for _ in range(50):
        seen.record(broken(3))
    assert seen.reasons == {3: "truncated"}


def test_the_error_names_the_first_few_with_their_reasons_and_counts_the_others() -> None:
    with pytest.raises(BadDataError) as raised:
        watch(100).record([(number, f"reason {number}") for number in reversed(range(8))])
    message = str(raised.value)
    assert all(f"photo {number} (reason {number})" in message for number in range(NUM_NAMED))
    assert f"photo {NUM_NAMED} " not in message
    assert message.endswith("and 3 more")
    assert isinstance(raised.value, ValueError)


def test_where_nothing_is_learnt_any_number_may_be_bad_and_a_sentence_counts_and_names_them() -> None:
    samples = torch.zeros(10, 2)
    assert left_out(ArraySource(samples)) == ""
    samples[2:8] = float("nan")
    source = ArraySource(samples, name="sensors", most_bad=ANY)
    said = left_out(source)
    assert said.startswith("6 of 10 samples in sensors cannot be read and are left out: sample 2 (NaN or infinite")
    assert said.endswith("and 1 more")
