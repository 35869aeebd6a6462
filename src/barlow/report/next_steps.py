"""What to do next: commands for a run, with its own folder filled in, so that they can be copied."""

import shlex

from barlow.formats import text
from barlow.report.run_folder import RunFiles, mapping
from barlow.report.sections import section, table
from barlow.report.words import sample_noun


def next_steps(run: RunFiles) -> str:
    """Return the section with the commands; "" for a run that has not finished."""
    if not run.finished:
        return ""
    folder, data = shlex.quote(str(run.folder)), mapping(run.start.get("data"))
    here = "" if data.get("path") else " DATA"  # the data came as an object, which no command finds again
    asked = shlex.quote(str(run.folder / "features" / "to_label.csv"))
    model = shlex.quote(str(run.folder / "model"))
    one = sample_noun(run)
    steps = [
        (f"barlow map {folder}{here}", "one page to look around in; opens offline"),
        (f"barlow similar {folder} NAME{here}", f"the {one}s most like one of them, by a file or the end of a name"),
        (f"barlow duplicates {folder}{here} --remove-to out.txt", "what is there twice"),
        (f"barlow label {folder}{here} --number 50", f"which {one}s to label, as a csv to fill in"),
        (f"barlow classify {folder}{here} --labels {asked} --out {model}", "a classifier from those labels"),
        (f"barlow predict {model} NEW", f"its classes of new {one}s"),
        (f"barlow embed {folder} NEW", "features for other programs, .npz or .parquet"),
        (f"barlow audit {folder}{here}", "why the features are as they are, without labels"),
    ]
    lines = [[f"<code>{text(command)}</code>", text(what)] for command, what in steps]
    return section("next", "What to do next", "Commands to copy.", table([], lines, numeric=False))
