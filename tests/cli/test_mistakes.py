"""What is said to a mistake in what was typed: one line, the name as typed, what came, what is wanted."""

import pytest

from barlow.cli.commands import main
from barlow.cli.flags import Export
from barlow.cli.mistakes import mistake
from barlow.cli.words import flags_of

SAID = {
    "similar runs/x": "wanted barlow similar RUN QUERY [DATA]; missing is QUERY: A file, a folder, or the name of a "
    "sample (its whole path or the end of it)",
    "evaluate": "wanted barlow evaluate RUN [DATA]; missing is RUN: Run folder",
    "compare runs/a runs/b": "wanted barlow compare [DATA] --recipes WORD; missing is --recipes: Recipes",
    "similar runs/x a b c d": "got 'c', 'd' too many, wanted barlow similar RUN QUERY [DATA]",
    "map runs/x --nmber 3": "--nmber: no flag of barlow map; barlow map --help lists them",
    "groups runs/x --nmber 3": "--nmber: no flag of barlow groups; did you mean '--number'?",
    "pretrain x --hue": "--hue: no flag of barlow pretrain; barlow pretrain --help lists them",
    "pretrain x --epochs many": "--epochs: got 'many', wanted a number",
    "pretrain x --epochs": "--epochs: got nothing, wanted a number",
    "pretrain x --optimizer adamm": "--optimizer: got 'adamm', wanted one of adamw, adam, lars, sgd; did you mean",
    "similar runs/x y --number x": "--number: got 'x', wanted a whole number",
    "similar runs/x y --box 1 2": "--box: got '1', '2', wanted what it takes: A crop of the picture",
    "export runs/x --to tim": "--to: got 'tim', wanted one of timm, onnx, smp, hear; did you mean 'timm'?",
    "completion bsh": "shell: got 'bsh', wanted one of bash, zsh, fish; did you mean 'bash'?",
    "study x y": "got 'y' too many, wanted barlow study [NAME]",
    "map --quit runs/x": "run: got nothing, wanted a path",
}


@pytest.mark.parametrize("columns", ["80", "40"])
@pytest.mark.parametrize("typed", SAID)
def test_a_mistake_is_one_line_on_terminals_of_any_width(
    typed: str, columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    with pytest.raises(SystemExit, match="2"):
        main(typed.split())
    said = capsys.readouterr().err
    assert said.startswith(f"barlow: {SAID[typed]}")
    assert said.count("\n") == 1
    assert "--help" not in said or "lists them" in said
    assert not set(said) & set("│╭╰─")


def test_frames_in_ascii_and_sentences_without_a_frame_are_read_too() -> None:
    flags = flags_of(Export)
    row, rule = " invalid choice 'tim' for argument '--to'. Expected one of ('timm', 'onnx'). ", " " + "-" * 70
    framed = ["╭─ Invalid choice ─────╮", f"│{row}│", "│ ────────────────── │", "│ For full help │", "╰──────────────╯"]
    plain = [" Invalid choice ", rule, row, rule, " For full help "]
    for box in (framed, plain):
        assert str(mistake("export", flags, "\n".join(box))).startswith("--to: got 'tim', wanted one of timm, onnx")
    assert str(mistake("export", flags, "Something that\nis new")) == "Something that is new"
