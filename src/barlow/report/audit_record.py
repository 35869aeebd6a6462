"""The parts of the page of an audit that are read up: what each quantity is worth, warnings, settings, versions."""

from collections.abc import Sequence

from barlow.report.audit_quantities import QUANTITIES, is_share, quantities, quantity_title
from barlow.report.audit_words import Figures, measured, setting_title, strings
from barlow.report.formats import duration, number, text
from barlow.report.run_folder import finite, mapping
from barlow.report.sections import grid, section, table


def worth(figures: Figures) -> str:
    """The label-free quantities, each with what it is and what it does not tell."""
    lines = [
        [
            text(quantity_title(name)),
            text(measured(value, error, share=is_share(name))),
            text(QUANTITIES[name].what if name in QUANTITIES else ""),
            text(QUANTITIES[name].caution if name in QUANTITIES else ""),
        ]
        for name, value, error in quantities(figures)
    ]
    reading = (
        "± is one standard error over images. None of these numbers is reliable across methods: compare like with like."
    )
    head = ["quantity", "value", "what it is", "what it does not tell"]
    rows = f'<div class="worth">{table(head, lines, numeric=False)}</div>' if lines else ""
    return section("quantities", "Quantities without labels", reading, rows)


def warnings(figures: Figures) -> str:
    """What the audit could not do as it should."""
    items = "".join(f"<li>{text(message)}</li>" for message in strings(figures.get("warnings")))
    reading = "What limits these numbers; each may have moved some of them."
    return section("warnings", "Warnings", reading, f"<ul>{items}</ul>" if items else "")


def settings(figures: Figures) -> str:
    """Settings of the audit, versions, and the recipe of what was audited."""
    subject, known = mapping(figures.get("subject")), mapping(figures.get("settings"))
    facts = [(setting_title(name), setting(name, value)) for name, value in known.items()]
    facts = [(name, value) for name, value in facts if value]
    facts += [(f"{name} version", str(version)) for name, version in mapping(subject.get("versions")).items()]
    recipe = [
        (f"<code>{text(name)}</code>", text(value))
        for name, value in mapping(subject.get("recipe")).items()
        if not isinstance(value, (dict, list)) and value not in (None, "")
    ]
    reading = "The same settings on the same data and versions give the same numbers again."
    fields = f"<details><summary>Recipe of what was audited</summary>{two_columns(recipe)}</details>" if recipe else ""
    return section(
        "settings",
        "Settings and versions",
        reading,
        two_columns([(text(name), text(value)) for name, value in facts]),
        fields,
    )


def two_columns(lines: Sequence[Sequence[str]]) -> str:
    """Return two tables of facts beside each other; cells are markup."""
    half = (len(lines) + 1) // 2
    return grid(*(table([], part, numeric=False) for part in (lines[:half], lines[half:]) if part), kind="grid pair")


def setting(name: str, value: object) -> str:
    """Return the value of a setting as people read it; nothing for none and for what is no number."""
    known = finite(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if known is None:
        return "" if value is None or isinstance(value, float) else str(value)
    return duration(known) if name == "seconds" else number(known, 9)
