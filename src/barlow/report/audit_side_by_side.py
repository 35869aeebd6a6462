"""Two audits on one page: the same charts with both in them, and the table of what changed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from barlow.report.audit_charts import spectrum_chart, waterfall, waterfall_scale
from barlow.report.audit_effects import EFFECTS, SHARES, effect_bars, layer_bars, named_bars
from barlow.report.audit_quantities import change_cells
from barlow.report.audit_record import setting
from barlow.report.audit_sections import directions_named, directions_shown, part_steps, spectrum_lines, told
from barlow.report.audit_words import Figures, numbers, setting_title, settings_differ, subject_name
from barlow.report.charts import Bar, Mark
from barlow.report.formats import number, text
from barlow.report.run_folder import finite, mapping
from barlow.report.sections import grid, section, table

SIDES = (("A", "c1"), ("B", "c2"))
"""Names and colour classes of the two audits."""
Groups = Mapping[str, Sequence[Bar]]
"""Bars below the names that they belong to."""


def parts(figures_a: Figures, figures_b: Figures, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the sections: spectra over each other, bars beside each other, the loss, changes, settings."""
    both = (figures_a, figures_b)
    return [_spectra(both), _augmentations(both), _layers(both), _loss(both), _changes(rows), _settings(both)]


def _spectra(both: tuple[Figures, Figures]) -> str:
    known = [mapping(figures.get("spectrum")) for figures in both]
    shown = max(directions_shown(one) for one in known)
    total = max(len(numbers(one.get("plug_in"))) for one in known)
    lines, bands, levels = [], [], []
    for one, (side, color) in zip(known, SIDES, strict=True):
        drawn, around = spectrum_lines(one, shown, side, color)
        lines += drawn
        bands += around
        edge = finite(one.get("edge"))
        levels += [Mark(f"edge {side} {number(edge)}", edge, "quiet")] if edge is not None and drawn else []
    if len({mark.at for mark in levels}) == 1:
        levels = [Mark(f"null edge {number(levels[0].at)}", levels[0].at, "quiet")]
    reading = (
        "The higher curve is the more invariant one, direction by direction; where the shaded bands (about 95%) are "
        "apart, the difference is more than chance. Dashed: cross-fit, which errs on the low side."
    )
    x_name = directions_named(shown, total)
    chart = spectrum_chart("Share of the image in each direction", lines, x_name=x_name, bands=bands, levels=levels)
    return section("spectrum", "Invariance spectra", reading, chart)


def _together(both: tuple[Figures, Figures], bars: Callable[[Figures, str, str], Groups]) -> Groups:
    """Put the bars of both audits below the same names."""
    groups: dict[str, list[Bar]] = {}
    for figures, (side, color) in zip(both, SIDES, strict=True):
        for name, found in bars(figures, color, side).items():
            groups.setdefault(name, []).extend(found)
    return groups


def _augmentations(both: tuple[Figures, Figures]) -> str:
    charts = []
    for effect, title, said, _ in EFFECTS:

        def bars(figures: Figures, color: str, side: str, effect: str = effect) -> Groups:
            return effect_bars(figures, effect, color, side)

        charts.append(told(said, named_bars(title, _together(both, bars))))
    reading = "What the features still follow although it should be ignored; ± is one standard error."
    return section("augmentations", "Each augmentation", reading, grid(*charts))


def _layers(both: tuple[Figures, Figures]) -> str:
    reading = "Shorter bars are more invariant; a layer that only one of the two has stands with a single bar."
    return section("layers", "Layer by layer", reading, named_bars(SHARES, _together(both, layer_bars)))


def _loss(both: tuple[Figures, Figures]) -> str:
    steps = [part_steps(figures) for figures in both]
    scale = waterfall_scale([one for one in steps if one]) if any(steps) else None
    titles = [f"{side}: {subject_name(figures)}" for (side, _), figures in zip(SIDES, both, strict=True)]
    drawn = [waterfall(title, one, scale=scale) for title, one in zip(titles, steps, strict=True)]
    reading = (
        "Both on one scale: only the backbone limit says something about the features, and losses compare only "
        "at equal width, redundancy weight and batch size."
    )
    return section("loss", "The losses taken apart", reading, grid(*drawn))


def _changes(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for row in rows:
        title, a, b, change, beyond = map(text, change_cells(row))
        clear = row.get("significant") and row.get("fair") is not False
        lines.append([title, a, b, f"<b>{change}</b>" if clear else change, beyond])
    head = ["", "A", "B", "B − A", "beyond chance"]
    reading = "± is one standard error of the difference; bold: larger than chance explains."
    return section("changes", "What changed", reading, table(head, lines) if lines else "")


def _settings(both: tuple[Figures, Figures]) -> str:
    names = settings_differ(*both)
    values = [mapping(figures.get("settings")) for figures in both]
    lines = [[text(setting_title(name)), *(text(setting(name, one.get(name))) for one in values)] for name in names]
    reading = "The figures above depend on these as well: part of the difference may come from here."
    return section("settings", "Where the settings differ", reading, table(["", "A", "B"], lines) if lines else "")
