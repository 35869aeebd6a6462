import torch

from barlow.features.outliers import find_outliers

GENERATOR = torch.Generator().manual_seed(0)
CENTRES = 6 * torch.eye(8)[:3]
LABELS = torch.arange(300) % 3
H = CENTRES[LABELS] + torch.randn(300, 8, generator=GENERATOR)


def test_a_sample_far_from_all_others_comes_first_and_its_rank_is_sure() -> None:
    h = H.clone()
    h[42] = 12 * torch.eye(8)[5] - 9 * torch.eye(8)[6]
    first, *rest = find_outliers(h).ranked
    assert (first.position, first.rank, first.low, first.high) == (42, 1, 1, 1)
    assert first.reasons == ("far from all others",)
    assert all(one.low <= one.high for one in rest)
    assert any(one.high > one.low for one in rest)


def test_ordinary_samples_have_no_reason() -> None:
    reasons = [one.reasons for one in find_outliers(H).ranked]
    assert sum(bool(one) for one in reasons) <= 3


def test_a_sample_among_another_class_is_told_with_both_names() -> None:
    labels = LABELS.clone()
    labels[10] = 2  # it lies among class 1
    found = find_outliers(H, labels=labels, class_names=("cat", "dog", "cow"))
    (one,) = [one for one in found.ranked if one.position == 10]
    assert one.reasons == ("labelled cow, and 100% of its neighbours are dog",)
    assert not any("labelled" in " ".join(one.reasons) for one in found.ranked if one.position != 10)


def test_nearly_constant_samples_come_first() -> None:
    contrasts = torch.full((300,), 50.0)
    contrasts[7] = 1.0
    first = find_outliers(H, contrasts=contrasts).ranked[0]
    assert first.position == 7
    assert first.reasons[0] == "nearly constant: 2% of the usual contrast"
    assert find_outliers(H, contrasts=torch.zeros(300)).ranked[0].reasons != first.reasons


def test_so_many_are_ranked_as_are_asked_for() -> None:
    assert [one.rank for one in find_outliers(H, most=5).ranked] == [1, 2, 3, 4, 5]
