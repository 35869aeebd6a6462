"""What an audit says on the terminal: the figures as text, whatever they hold."""

from dataclasses import replace

import pytest

from barlow.figures import Changes
from barlow.report.terminal import print_audit, print_audit_changes
from tests.report.synthetic_figures import changes, feature_figures, figures, poor_figures, verdict


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def row_of(said: str, name: str) -> list[str]:
    """Return the cells of the row of a table that begins with a name."""
    rows = [[cell.strip() for cell in line.strip()[1:-1].split("│")] for line in said.splitlines() if "│" in line]
    return next(row for row in rows if row[0] == name)


def test_an_audit_is_printed_with_verdicts_first_and_every_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_audit(figures())
    said = capsys.readouterr().out
    assert said.startswith("Audit of runs/digits-pearson\nA training run on digits: 1,438 samples")
    assert said.index("Warning: 91% [90, 92] of the fall") < said.index("Note: At λ") < said.index("Good: Solved")
    assert "  Try: Raise λ above 0.0123 or cut D to 24." in said
    assert row_of(said, "Projector gap") == ["Projector gap", "−0.81 ± 0.04"]
    assert row_of(said, "Loss of a batch") == ["Loss of a batch", "1.82"]
    assert row_of(said, "RankMe") == ["RankMe", "42 ± 0.5"]
    assert row_of(said, "Random resized crop") == ["Random resized crop", "27.2% ± 1.1", "61.0% ± 3.0"]
    assert row_of(said, "layer1") == ["layer1", "91.0% ± 0.4", "", "47.3"]
    assert "uses 23 to 25 directions for its 32 outputs" in said
    assert "The complete loss is estimated from 1,438 pairs of views, one of each sample." in said
    assert "a projector with a hidden layer reaches 90.9% ± 0.5" in said


def test_what_the_most_invariant_directions_follow_is_printed_where_it_was_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    known = {"correlation": 0.97, "transform": "random_crop", "share": 0.021, "error": 0.004}
    print_audit(figures() | {"directions": [known, known | {"share": None}]})
    said = capsys.readouterr().out
    assert "┃ follows most ┃" in said
    assert row_of(said, "1") == ["1", "0.97", "Random crop", "2.1% ± 0.4"]
    assert "Random crop" not in said.replace("Random crop ", "", 1)
    print_audit(figures() | {"directions": []})
    assert "most invariant directions" not in capsys.readouterr().out


def test_warnings_stand_above_the_verdicts(capsys: pytest.CaptureFixture[str]) -> None:
    print_audit(poor_figures())
    said = capsys.readouterr().out
    assert said.index("Warning: 300 samples for 64 features") < said.index("Warning: 91%")


@pytest.mark.parametrize("part", list(figures()))
def test_a_part_that_was_not_measured_is_left_out(part: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = figures()
    del given[part]
    print_audit(given)
    whole = capsys.readouterr().out
    print_audit(given | {part: None})
    assert capsys.readouterr().out == whole
    assert whole.startswith("Audit of ")


def test_precomputed_features_print_no_empty_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_audit(feature_figures())
    said = capsys.readouterr().out
    assert "RankMe" in said
    for name in ("the loss taken apart", "augmentation ", "layer "):
        assert f"┃ {name}" not in said


def test_brackets_in_figures_are_text_and_not_markup(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "[red]a[/red] [/nothing] [link=file:x]b[/link]"
    given = figures() | {"warnings": [evil], "verdicts": [verdict("note", sentence=evil, advice=evil)]}
    given["subject"]["name"] = given["layers"][0]["name"] = evil
    print_audit(given)
    said = capsys.readouterr().out
    for start in ("Audit of ", "Warning: ", "Note: ", "Try: ", "│ "):
        assert f"{start}{evil}" in said
    print_audit_changes(given, given, Changes((replace(changes()[0], title=evil),), (evil,)))
    assert capsys.readouterr().out.count(evil) == 4


def test_a_comparison_prints_sentences_then_changes(capsys: pytest.CaptureFixture[str]) -> None:
    print_audit_changes(poor_figures(), figures(), Changes(changes(), ("The share of augmentation fell.",)))
    said = capsys.readouterr().out
    assert said.index("A runs/digits-untrained. ") < said.index("B runs/digits-pearson. ")
    assert "Settings differ, which the figures depend on: Samples; Views of each sample." in said
    assert said.index("The share of augmentation fell.") < said.index("Augmentation share of the features")
    name = "Augmentation share of the features"
    assert row_of(said, name) == [name, "85.3%", "47.6%", "−37.7 ± 0.6 points", "yes"]
    assert row_of(said, "Effective rank") == ["Effective rank", "46.1", "38.2", "−7.9 ± 5.1", "no"]


def test_equal_settings_are_not_said_to_differ(capsys: pytest.CaptureFixture[str]) -> None:
    print_audit_changes(figures(), figures(), Changes((), ()))
    assert "Settings differ" not in capsys.readouterr().out
