"""The figures of an audit become one page, and those of two audits another; no torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from barlow.report import audit_effects, audit_record, audit_sections, audit_side_by_side
from barlow.report.audit_words import Figures, lead, strings, subject_name
from barlow.report.formats import count, text
from barlow.report.page import contents, write_page

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


def write_audit_page(figures: Figures, out: Path) -> Path:
    """Write the page of one audit.

    Args:
        figures: the content of audit.json; parts that are missing are left out of the page.
        out: the HTML file to write; its folder is made.

    Returns:
        `out`.
    """
    body = [
        audit_sections.verdict_cards(figures),
        audit_sections.loss(figures),
        audit_sections.spectrum(figures),
        audit_effects.augmentations(figures),
        audit_effects.strengths(figures),
        audit_effects.layers(figures),
        audit_sections.floors(figures),
        audit_record.worth(figures),
        audit_record.warnings(figures),
        audit_record.settings(figures),
    ]
    title = f"Audit of {subject_name(figures)}"
    warned = len(strings(figures.get("warnings")))
    status = (
        f'<p class="status"><a href="#warnings">{count(warned, "warning")}</a> about these numbers.</p>'
        if warned
        else ""
    )
    header = f'<h1>{text(title)}</h1><p class="lead">{text(lead(figures))}</p>{status}{contents(body)}'
    return _write(Path(out), title, header, body)


def write_comparison_page(
    figures_a: Figures, figures_b: Figures, sentences: Sequence[str], rows: Sequence[Mapping[str, Any]], out: Path
) -> Path:
    """Write the page of two audits side by side.

    Args:
        figures_a: the content of audit.json of the first.
        figures_b: that of the second.
        sentences: what changed, in words.
        rows: changes with "name", "a", "b", "difference", "error" and "significant"; values may be None.
        out: the HTML file to write; its folder is made.

    Returns:
        `out`.
    """
    both = (figures_a, figures_b)
    body = audit_side_by_side.parts(figures_a, figures_b, rows)
    leads = "".join(
        f'<p class="lead"><b class="side {color}">{side}</b> {text(subject_name(figures))}. {text(lead(figures))}</p>'
        for (side, color), figures in zip(audit_side_by_side.SIDES, both, strict=True)
    )
    items = "".join(f"<li>{text(sentence)}</li>" for sentence in sentences)
    said = f'<ul class="said">{items}</ul>' if items else ""
    header = f"<h1>Two audits compared</h1>{leads}{said}{contents(body)}"
    return _write(Path(out), " and ".join(map(subject_name, both)), header, body)


def _write(out: Path, title: str, header: str, body: Sequence[str]) -> Path:
    out.parent.mkdir(parents=True, exist_ok=True)
    return write_page(out, title, f"<style>{STYLE}</style><header>{header}</header>{''.join(body)}")
