"""The sources of the site: the pages of this folder, and what they link to outside of it, as one tree of Markdown.

python docs/site.py build/docs      then: mkdocs build --strict, which `make site` does

Links that leave docs/ lead to pages that are made of the files: README, CONTRIBUTING, CHANGELOG, the pages and scripts
of benchmarks/ and examples/. Made as well: the API by area with an example of each name (api.py), the glossary
(report/glossary.py) and the gallery (what `make gallery` left in build/gallery). Formulas between dollars become
MathML, which browsers set by themselves. What comes out is plain Markdown, which any builder of sites can take.
"""

import importlib.util
import posixpath
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from latex2mathml.converter import convert

ROOT = Path(__file__).parents[1]
GALLERY = ROOT / "build" / "gallery"
CODE = {".py": "python", ".json": "json", ".ipynb": "json"}
LINK = re.compile(r"(\]\(|<img src=\")(?!https?:|#|mailto:)([^)#\"\s]+)(#[^)\"\s]*)?")
FENCE = re.compile(r"^(```|~~~~~).*?^\1$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
MATH = re.compile(r"\$\$(.+?)\$\$|(?<![\\$\w])\$(?!\s)([^$\n]+?)(?<!\s)\$(?!\w)", re.DOTALL)
"""$$ on lines of its own $$, or $within a line$, as GitHub has it."""
PAGES_OF_GALLERY = {
    "run.html": ("A run", "what `make demo` leaves: what the features are worth, the loss, the views, the spectrum"),
    "audit.html": ("Its audit", "why it is as it is: verdicts, the loss taken apart, what is still augmentation"),
    "compare.html": ("A comparison", "two methods for the same number of images, with their errors"),
    "map.html": ("A map", "one page to look around in: click, search, draw a lasso"),
    "views.html": ("Views", "what every augmentation pipeline makes of the same pictures"),
    "study.html": ("A study", "a claim of the paper put to the test"),
    "atlas.html": ("An atlas", "ten methods and checkpoints of two other projects on the same images"),
}
"""File in build/gallery -> title and what it shows; `benchmarks/gallery.py` makes them."""


def write_site(out: Path) -> None:
    """Write the whole tree anew; nothing outside of `out` is changed."""
    shutil.rmtree(out, ignore_errors=True)
    pages = {path.relative_to(ROOT / "docs").as_posix(): _read(path) for path in (ROOT / "docs").rglob("*.md")}
    for uri, text in (pages | _made()).items():
        to = out / uri
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(prepared(text, uri), encoding="utf-8")
    for path in (ROOT / "docs").rglob("*"):
        if path.suffix in FILES:
            to = out / path.relative_to(ROOT / "docs")
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)
    if GALLERY.is_dir():
        shutil.copytree(GALLERY, out / "gallery")


FILES = {".png", ".svg", ".css", ".gif"}
"""What pages show."""


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _made() -> dict[str, str]:
    """Page of the site -> its text, for those that are no page of docs/."""
    made = {page: _read(ROOT / file) for page, file in HOMES.items()}
    made |= {"glossary.md": _glossary(), "gallery.md": _gallery(), "decisions/index.md": _decisions()}
    made |= {f"api/{_slug(area)}.md": text for area, text in _api().items()}
    made["api/index.md"] = _api_index()
    made |= {page: f"# {file}\n\n~~~~~\n{_read(ROOT / file)}\n~~~~~\n" for page, file in TEXTS.items()}
    for folder in ("benchmarks", "examples"):
        for path in sorted((ROOT / folder).glob("*")):
            if path.suffix == ".md":
                made[f"{folder}/{path.name}"] = _read(path)
            elif path.suffix in CODE:
                made[f"{folder}/{path.name}.md"] = _code(path)
    return made


def prepared(text: str, uri: str) -> str:
    """Lead links to where the file is on the site, and set formulas; code is left alone."""
    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        kept.append(match[0])
        return f"\0{len(kept) - 1}\0"

    text = FENCE.sub(keep, text)
    text = LINK.sub(lambda match: f"{match[1]}{_led(match[2], uri)}{match[3] or ''}", text)
    text = MATH.sub(_mathml, text)
    return re.sub("\0(\\d+)\0", lambda match: kept[int(match[1])], text)


def _mathml(match: re.Match[str]) -> str:
    display = "block" if match[1] else "inline"
    made = convert((match[1] or match[2]).strip(), display=display)
    return f'<span class="formula {display}">{made}</span>'


HOMES = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
"""Page of the site -> the file of the repository that it is."""
TEXTS = {"license.md": "LICENSE", "citation.md": "CITATION.cff"}
"""Page -> the file that it shows as it stands."""


def _led(link: str, uri: str) -> str:
    """A link of a page as it has to be on the site."""
    if uri == "gallery.md" or uri.startswith("api/"):
        return link
    home = HOMES.get(uri) or (uri if uri.startswith(("benchmarks/", "examples/")) else f"docs/{uri}")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(home), link))
    return posixpath.relpath(_on_site(target), posixpath.dirname(uri) or ".")


def _on_site(path: str) -> str:
    """Where a file of the repository is on the site."""
    for page, file in (HOMES | TEXTS).items():
        if path == file:
            return page
    inside = path.removeprefix("docs/")
    if (ROOT / path).is_dir():
        return f"{inside}/index.md" if path == "docs/decisions" else f"{path}/README.md"
    if path.startswith(("benchmarks/", "examples/")):
        return f"{path}.md" if Path(path).suffix in CODE else path
    return inside


def _code(path: Path) -> str:
    name = f"{path.parent.name}/{path.name}"
    return f"# {name}\n\n~~~~~{CODE[path.suffix]}\n{_read(path)}\n~~~~~\n"


def _loaded(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _slug(area: str) -> str:
    return area.lower().replace(" ", "-")


def _homes() -> dict[str, str]:
    sys.path.insert(0, str(ROOT / "src"))
    import barlow

    return dict(barlow._HOME)


def _api() -> dict[str, str]:
    """Area -> a page: of every name its example and its docstring."""
    homes, pages = _homes(), {}
    for area, names in _loaded("docs_api", ROOT / "docs" / "api.py").AREAS.items():
        parts = [f"# {area}\n"]
        for name, example in names.items():
            told = f"::: barlow.{homes[name]}.{name}\n    options:\n      heading_level: 3\n"
            parts.append(f"## barlow.{name}\n\n```python\n{example}\n```\n\n{told}")
        pages[area] = "\n".join(parts)
    return pages


def _api_index() -> str:
    areas: Any = _loaded("docs_api", ROOT / "docs" / "api.py").AREAS
    lines = [
        f"| [{area}]({_slug(area)}.md) | {', '.join(f'[`{n}`]({_slug(area)}.md#barlow{n.lower()})' for n in names)} |"
        for area, names in areas.items()
    ]
    return (
        "# The public names\n\nAll that `import barlow` gives; what is not here may change.\n\n"
        "| area | names |\n|---|---|\n" + "\n".join(lines)
    )


def _glossary() -> str:
    """The words of the pages, from where the pages have them."""
    words = _loaded("glossary", ROOT / "src" / "barlow" / "report" / "glossary.py").WORDS
    return "# Glossary\n\nThe words of the pages that barlow writes.\n\n" + "\n".join(
        f"**{word}**\n:   {meaning}\n" for word, meaning in words.items()
    )


def _gallery() -> str:
    lines = ["# Gallery\n", "Pages as barlow writes them, each one file that opens offline."]
    there = [name for name in PAGES_OF_GALLERY if (GALLERY / name).is_file()]
    if not there:
        return "\n".join(
            [*lines, "", "`make gallery` makes them, in about ten minutes on two cores, and this page then shows them."]
        )
    lines += ["", "| page | shows |", "|---|---|"]
    lines += [f"| [{PAGES_OF_GALLERY[name][0]}](gallery/{name}) | {PAGES_OF_GALLERY[name][1]} |" for name in there]
    return "\n".join(lines)


def _decisions() -> str:
    lines = [
        "# Decisions\n",
        "Why things are as they are; each says what was found, what was decided and what else there was.\n",
    ]
    for path in sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md")):
        title = _read(path).splitlines()[0].removeprefix("# ")
        lines.append(f"- [{title}]({path.name})")
    return "\n".join(lines)


if __name__ == "__main__":
    write_site(Path(sys.argv[1]))
