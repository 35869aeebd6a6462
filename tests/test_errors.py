"""A wrong name is answered with the right one where one is near."""

from barlow.errors import did_you_mean, unknown


def test_the_error_names_argument_what_came_what_was_wanted_and_the_nearest() -> None:
    said = str(unknown("optimizer", "adamv", ["adamw", "lars"]))
    assert said == "optimizer: got 'adamv', wanted one of adamw, lars; did you mean 'adamw'?"


def test_a_name_like_none_of_the_choices_gets_no_advice() -> None:
    assert did_you_mean("zzz", ["adamw"]) == ""
    assert did_you_mean(3, ["adamw"]) == ""
