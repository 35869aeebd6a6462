import numpy as np
import pytest
import torch

from barlow.data.labels import UNLABELLED, Labels, as_labels, choose_labels


def test_numbers_stay_what_they_are_even_where_a_class_is_missing() -> None:
    labels = as_labels([0, 3, 3], 3)
    assert labels.values is not None
    assert labels.values.tolist() == [0, 3, 3]
    assert labels.values.dtype == torch.int64
    assert labels.class_names == ("0", "1", "2", "3")


def test_numbers_of_which_most_are_missing_are_numbered_anew_and_stay_the_names() -> None:
    labels = as_labels([90, 3, -1, 17, 3], 5)
    assert labels.values is not None
    assert labels.values.tolist() == [2, 0, -1, 1, 0]
    assert labels.class_names == ("3", "17", "90")
    identifiers = as_labels([2084071, 2084071, 2085936, 2085936], 4)
    assert identifiers.class_names == ("2084071", "2085936")
    with pytest.raises(ValueError, match="labels: got 20230107, wanted numbers of classes, from 0 to 999999"):
        as_labels(range(20230101, 20230108), 7)


def test_minus_one_is_a_sample_without_a_label() -> None:
    labels = as_labels([-1, 1, 0, -1], 4, ["cat", "dog"])
    assert labels.values is not None
    assert labels.values.tolist() == [-1, 1, 0, -1]
    assert labels.class_names == ("cat", "dog")
    assert as_labels([-1, -1], 2) == UNLABELLED


def test_text_is_numbered_in_sorted_order() -> None:
    labels = as_labels(np.array([b"dog", b"cat", b"dog"]), 3)
    assert labels.values is not None
    assert labels.values.tolist() == [1, 0, 1]
    assert labels.class_names == ("cat", "dog")


def test_a_column_and_whole_fractions_are_labels_too() -> None:
    labels = as_labels(np.array([[1.0], [0.0]]), 2, ["no", "yes"])
    assert labels.values is not None
    assert labels.values.tolist() == [1, 0]
    assert labels.class_names == ("no", "yes")


@pytest.mark.parametrize("wrong", [[-2, 0], [0.5, 1.0], [float("nan"), 1.0]])
def test_what_is_no_whole_number_from_zero_is_refused(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match="labels: wanted whole numbers from 0"):
        as_labels(wrong, 2)


def test_wrong_numbers_of_labels_and_unknown_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"labels: got shape \(2,\), wanted one per sample: \(3,\)"):
        as_labels([0, 1], 3)
    with pytest.raises(ValueError, match="'cow' is not one of the classes"):
        as_labels(["cow"], 1, ["cat"])
    with pytest.raises(ValueError, match="label 2 has no name"):
        as_labels([2], 1, ["cat", "dog"])


def test_choices_give_what_is_found_or_nothing_or_the_users_own() -> None:
    found = Labels(torch.tensor([0, 1]), ("a", "b"))
    assert choose_labels("auto", found, "", 2) is found
    assert choose_labels("required", found, "", 2) is found
    assert choose_labels("none", found, "", 2) == choose_labels(None, found, "", 2) == UNLABELLED
    own = choose_labels(torch.tensor([1, 1]), found, "", 2).values
    assert own is not None
    assert own.tolist() == [1, 1]


def test_required_labels_that_are_missing_say_why_and_a_typo_gets_a_hint() -> None:
    with pytest.raises(ValueError, match="required, but there are none: no folders"):
        choose_labels("required", UNLABELLED, "no folders", 2)
    with pytest.raises(ValueError, match="did you mean 'required'"):
        choose_labels("require", UNLABELLED, "", 2)
