"""The figures of an audit become one page, and those of two audits another; no torch."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from barlow.figures import SETTINGS, Changes, Effect, Figures, Layer, described
from barlow.formats import count, number, text
from barlow.report import audit_sections
from barlow.report.audit_sections import (
    directions_named,
    directions_shown,
    effect_bars,
    layer_bars,
    named_bars,
    part_steps,
    spectrum_lines,
    told,
)
from barlow.report.audit_words import (
    CHANGES_HEAD,
    capital,
    change_cells,
    lead,
    setting_value,
    settings_differ,
    subject_name,
)
from barlow.report.charts import Bar, Mark, spectrum_chart, waterfall, waterfall_scale
from barlow.report.glossary import glossary
from barlow.report.page import contents, write_page
from barlow.report.sections import grid, section, table

SIDES = (("A", "c1"), ("B", "c2"))
"""Names and colour classes of two audits."""
Both = tuple[Figures, Figures]
Groups = Mapping[str, Sequence[Bar]]
"""Bars below the names that they belong to."""
STYLE = """
.verdicts {
  list-style: none; display: grid; gap: 1rem; margin: 0; padding: 0;
  grid-template-columns: repeat(auto-fill, minmax(min(23rem, 100%), 1fr));
}
.verdicts li {
  background: var(--card); border: 1px solid var(--rule); border-left: 5px solid var(--c); border-radius: 8px;
  padding: 0.8rem 1rem;
}
.verdicts p { margin: 0.35rem 0; }
.verdicts .level {
  display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1rem; margin-top: 0;
  font-size: 0.85rem; color: var(--soft); font-variant-numeric: tabular-nums;
}
.level b { color: var(--c); letter-spacing: 0.04em; text-transform: uppercase; margin-right: 0.5rem; }
.verdicts .advice { color: var(--soft); font-size: 0.92rem; margin-bottom: 0; }
.side { color: var(--c); font-size: 1.2em; margin-right: 0.3rem; }
.told { min-width: 0; margin-top: 1.6rem; }
.reading + .told, .grid > .told { margin-top: 0; }
.told + .finding { margin: 1rem 0 0; }
.chart + .grid { margin-top: 1.8rem; }
.band { fill: var(--c); opacity: 0.18; stroke: none; }
.spot { fill: transparent; }
svg .step { paint-order: stroke; stroke: var(--paper); stroke-width: 4; stroke-linejoin: round; }
.grid:has(> .told) { align-items: end; }
.meanings .plain th, .worth .plain th { width: auto; }
.meanings tbody th { white-space: nowrap; }
.worth table { min-width: 50rem; }
.worth tbody th { min-width: 9rem; color: var(--ink); }
.meanings td:nth-child(2), .worth td:nth-child(2) { white-space: nowrap; }
"""
"""What the page of an audit adds to the style sheet of all pages."""


def write_audit_page(figures: Mapping[str, Any], out: Path) -> Path:
    """Write the page of one audit from the content of audit.json; parts that are missing are left out."""
    known = Figures.from_json(figures)
    body = [
        audit_sections.verdict_cards(known),
        audit_sections.loss(known),
        audit_sections.spectrum(known),
        audit_sections.augmentations(known),
        audit_sections.strengths(known),
        audit_sections.layers(known),
        audit_sections.floors(known),
        audit_sections.quantities(known),
        audit_sections.warnings(known),
        audit_sections.settings(known),
    ]
    body.append(glossary("".join(body)))
    title = f"Audit of {subject_name(known)}"
    warned = len(known.warnings)
    status = (
        f'<p class="status"><a href="#warnings">{count(warned, "warning")}</a> about these numbers.</p>'
        if warned
        else ""
    )
    header = f'<h1>{text(title)}</h1><p class="lead">{text(lead(known))}</p>{status}{contents(body)}'
    return _write(Path(out), title, header, body)


def write_changes_page(a: Mapping[str, Any], b: Mapping[str, Any], changes: Changes, out: Path) -> Path:
    """Write the page of two audits side by side: the same charts with both in them, and the table of what changed."""
    both = (Figures.from_json(a), Figures.from_json(b))
    body = [_spectra(both), _augmentations(both), _layers(both), _loss(both), _changes(changes), _settings(both)]
    leads = "".join(
        f'<p class="lead"><b class="side {color}">{side}</b> {text(subject_name(figures))}. {text(lead(figures))}</p>'
        for (side, color), figures in zip(SIDES, both, strict=True)
    )
    items = "".join(f"<li>{text(sentence)}</li>" for sentence in changes.sentences)
    said = f'<ul class="said">{items}</ul>' if items else ""
    header = f"<h1>Two audits compared</h1>{leads}{said}{contents(body)}"
    return _write(Path(out), " and ".join(map(subject_name, both)), header, body)


def _write(out: Path, title: str, header: str, body: Sequence[str]) -> Path:
    out.parent.mkdir(parents=True, exist_ok=True)
    return write_page(out, title, f"<style>{STYLE}</style><header>{header}</header>{''.join(body)}")


def _spectra(both: Both) -> str:
    known = [figures.spectrum for figures in both]
    shown = max(directions_shown(one) for one in known)
    total = max(len(one.plug_in) for one in known)
    lines, bands, levels = [], [], []
    for one, (side, color) in zip(known, SIDES, strict=True):
        drawn, around = spectrum_lines(one, shown, side, color)
        lines += drawn
        bands += around
        levels += [Mark(f"edge {side} {number(one.edge)}", one.edge, "quiet")] if one.edge is not None and drawn else []
    if len({mark.at for mark in levels}) == 1:
        levels = [Mark(f"null edge {number(levels[0].at)}", levels[0].at, "quiet")]
    explanation = (
        "The higher curve is the more invariant one, direction by direction; where the shaded bands (about 95%) are "
        "apart, the difference is more than chance. Dashed: cross-fit, where other samples choose the directions."
    )
    x_name = directions_named(shown, total)
    chart = spectrum_chart("Share of the sample in each direction", lines, x_name=x_name, bands=bands, levels=levels)
    return section("spectrum", "Invariance spectra", explanation, chart)


def _together(both: Both, bars: Callable[[Figures, str, str], Groups]) -> Groups:
    """Put the bars of both audits below the same names."""
    groups: dict[str, list[Bar]] = {}
    for figures, (side, color) in zip(both, SIDES, strict=True):
        for name, found in bars(figures, color, side).items():
            groups.setdefault(name, []).extend(found)
    return groups


def _augmentations(both: Both) -> str:
    charts = []
    for effect, about in described(Effect).items():

        def bars(figures: Figures, color: str, side: str, effect: str = effect) -> Groups:
            return effect_bars(figures, effect, color, side)

        charts.append(told(about.what, named_bars(about.label, _together(both, bars))))
    explanation = "What the features still follow although it should be ignored; ± is one standard error."
    return section("augmentations", "Each augmentation", explanation, grid(*charts))


def _layers(both: Both) -> str:
    explanation = "Shorter bars are more invariant; a layer that only one of the two has stands with a single bar."
    title = described(Layer)["augmentation_share"].label
    return section("layers", "Layer by layer", explanation, named_bars(title, _together(both, layer_bars)))


def _loss(both: Both) -> str:
    steps = [part_steps(figures) for figures in both]
    scale = waterfall_scale([one for one in steps if one]) if any(steps) else None
    titles = [f"{side}: {subject_name(figures)}" for (side, _), figures in zip(SIDES, both, strict=True)]
    drawn = [waterfall(title, one, scale=scale) for title, one in zip(titles, steps, strict=True)]
    explanation = (
        "Both on one scale: only the best linear projector says something about the features, and losses compare only "
        "at equal width, redundancy weight and batch size."
    )
    return section("loss", "The losses taken apart", explanation, grid(*drawn))


def _changes(changes: Changes) -> str:
    lines = []
    for row in changes.rows:
        title, a, b, change, beyond = map(text, change_cells(row))
        lines.append([title, a, b, f"<b>{change}</b>" if row.significant and row.fair else change, beyond])
    explanation = "Bold: larger than chance explains."
    return section("changes", "What changed", explanation, table(list(CHANGES_HEAD), lines) if lines else "")


def _settings(both: Both) -> str:
    lines = []
    for name in settings_differ(*both):
        values = (setting_value(name, getattr(figures.settings, name)) for figures in both)
        lines.append([text(capital(SETTINGS[name].title)), *map(text, values)])
    explanation = "The figures above depend on these as well: part of the difference may come from here."
    return section("settings", "Where the settings differ", explanation, table(["", "A", "B"], lines) if lines else "")
