"""Names of files tell labels and groups; those that do not fit have none and are counted."""

import pytest

from barlow.data.name_pattern import is_pattern, labels_by_name, pattern_of, told_by_names


def test_label_and_group_are_read_from_the_name_without_its_ending() -> None:
    told = told_by_names(["x/7_george_12.wav", "x/0_lucas_3.flac", "7_lucas_1.wav#t=10.00,20.00"], "{label}_{group}_*")
    assert told.labels.class_names == ("0", "7")
    assert told.labels.values is not None
    assert told.labels.values.tolist() == [1, 0, 1]
    assert told.groups is not None
    assert told.groups.names == ("george", "lucas")
    assert told.groups.values.tolist() == [0, 1, 1]
    assert told.note == ""


def test_slashes_reach_into_the_folders() -> None:
    told = told_by_names(["a/ann/yes/1.wav", "a/bob/no/2.wav"], "{group}/{label}/*")
    assert told.labels.class_names == ("no", "yes")
    assert told.groups is not None
    assert told.groups.names == ("ann", "bob")


def test_names_that_do_not_fit_have_no_label_and_are_counted() -> None:
    told = told_by_names(["7_george_1.wav", "noise.wav"], "{label}_{group}_*")
    assert told.labels.values is not None
    assert told.labels.values.tolist() == [0, -1]
    assert "1 of 2 names do not fit" in told.note
    with pytest.raises(ValueError, match="labels: no name fits"):
        told_by_names(["noise.wav"], "{label}_{group}_*")


@pytest.mark.parametrize("pattern", ["*_*", "{speaker}_*", "{label}_{label}"])
def test_patterns_that_cannot_be_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"labels: got .* wanted a pattern with \{label\}"):
        pattern_of(pattern)


def test_what_is_special_in_expressions_stands_for_itself() -> None:
    assert pattern_of("{label}.(1)+*").fullmatch("dog.(1)+x")
    assert not pattern_of("{label}.x").fullmatch("dogyx")
    assert is_pattern("{label}")
    assert not is_pattern("auto")
    assert labels_by_name(["", ""]).values is None
