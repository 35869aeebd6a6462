import pytest

from barlow.data.bad_samples import ENOUGH_ASKED, NUM_NAMED, BadDataError, BadSamples


def watch(num_samples: int) -> BadSamples:
    return BadSamples(num_samples, "photo {}".format)


def test_one_percent_of_the_source_is_allowed_and_one_sample_more_is_not() -> None:
    seen = watch(200)
    seen.record(range(100), [(7, "truncated"), (8, "truncated")])
    with pytest.raises(BadDataError, match="3 of 200 samples"):
        seen.record(range(100, 200), [(199, "empty")])


def test_a_large_source_stops_early_when_the_share_is_clearly_too_high() -> None:
    seen = watch(10**6)
    allowed = ENOUGH_ASKED // 100
    seen.record(range(256), [(number, "broken") for number in range(allowed)])
    with pytest.raises(BadDataError, match=f"{allowed + 1} of 512 samples"):
        seen.record(range(256, 512), [(256, "broken")])


def test_the_share_counts_what_was_asked_for_not_the_whole_source() -> None:
    seen = watch(10**6)
    seen.record(range(10_000), [(number, "broken") for number in range(100)])
    with pytest.raises(BadDataError):
        seen.record([10_000], [(10_000, "broken")])


def test_a_bad_sample_counts_once_however_often_it_is_asked_for() -> None:
    seen = watch(100)
    for _ in range(50):
        seen.record(range(100), [(3, "truncated")])
    assert seen.reasons == {3: "truncated"}


def test_the_error_names_the_first_few_with_their_reasons_and_counts_the_others() -> None:
    with pytest.raises(BadDataError) as raised:
        watch(100).record(range(100), [(number, f"reason {number}") for number in reversed(range(8))])
    message = str(raised.value)
    assert all(f"photo {number} (reason {number})" in message for number in range(NUM_NAMED))
    assert f"photo {NUM_NAMED} " not in message
    assert message.endswith("and 3 more")
    assert isinstance(raised.value, ValueError)
