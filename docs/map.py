"""The generated parts of docs/map.md: the folders with a line each, and every file by the first line of its docstring.

python docs/map.py                  print them
python docs/map.py --write          put them into docs/map.md
python docs/map.py --count [SRC]    size of a source tree: files, lines, rooms, and the imports between rooms
"""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "barlow"
PAGE = ROOT / "docs" / "map.md"

FOLDERS = {
    "cli": "The command `barlow`: flags and calls",
    "runs": "Where a recipe becomes a run: folder, pretraining, evidence, evaluation, export, comparison",
    "audits": "Theory applied to one backbone: figures with error bars",
    "audits/verdicts": "The sentences of an audit: what each figure means, and when it warns",
    "studies": "The paper's claims put to the test, one file a study",
    "applications": "What is built on pretraining: a method, a target or a schedule over a modality",
    "applications/continual": "Data sets learned one after another by one network, and what keeps it from forgetting",
    "applications/segmentation": "What every pixel is: fine-tuning on few masks, beside honest bars",
    "applications/speakers": "Speakers recognised in noise: verification by a run",
    "report": "From a run folder to one HTML page; no torch",
    "images": "What is different about images, and nothing else",
    "images/data": "From names, paths and objects to batches of images",
    "images/views": "From one batch of images to two or more views of it",
    "images/networks": "Backbones by name, and weights from elsewhere",
    "graphs": "What is different about graphs, and nothing else",
    "graphs/data": "From names, paths and objects to nodes of a graph, or to many graphs",
    "graphs/views": "From one graph to two or more views of it",
    "graphs/networks": "Graph networks on torch's sparse products",
    "audio": "What is different about sound, and nothing else",
    "audio/data": "From names and folders to batches of clips",
    "audio/views": "From one batch of clips to two or more views of it",
    "audio/networks": "Backbones for log-mel spectrograms by name",
    "features": "What people do with features: similar, duplicates, outliers, groups, what to label, a classifier",
    "evaluation": "What features are worth: neighbours, linear probe, few labels, fine-tuning, published protocols",
    "training": "The loop and what it stands on: optimizers, checkpoints, journal, processes",
    "data": "What samples of any kind need: arrays, workers, labels, bad samples, subsets",
    "data/stored": "Samples as bytes, wherever they are: shards, tables, lists, data sets of Hugging Face, addresses",
    "methods": "One file a method: its loss on top, its module below",
    "recipes": "Complete runs as numbers, one file a method; no torch",
    "theory": "Closed forms and estimators: numbers in, numbers out; nothing here trains",
    "statistics": "The only mathematics over processes: means, correlation, covariance",
}
"""Folders in the order of reading, from what users type down to the mathematics. One that is not here is an error."""

REST = {
    "examples/": "Your own data, views, network or method, each in one short file",
    "benchmarks/": "The scripts behind every figure in the docs, and how our recipes were chosen",
    "docs/": "Pages by subject; decisions/ says why things are as they are",
    "tests/": "Mirrors src/barlow; test_architecture.py holds the rules of the house",
}
SENTENCE_END = r"(?<! al)\. "
"""A full stop and a space, but for that of "et al."."""


def folders() -> str:
    """Return the tree of folders, one line each, then the modules that stand in none."""
    _check_folders()
    rows = [("src/barlow/", "")]
    rows += [("  " * (name.count("/") + 1) + name.split("/")[-1] + "/", what) for name, what in FOLDERS.items()]
    rows += [("  " + path.name, _first_line(path)) for path in _modules(SOURCE)]
    return _block([*rows, *REST.items()])


def files() -> str:
    """Return every file of every folder, one line each."""
    parts = []
    for name in FOLDERS:
        rows = [(path.name, _first_line(path)) for path in _modules(SOURCE / name)]
        if rows:
            parts.append(f"**{name}/**\n\n{_block(rows)}")
    return "\n".join(parts)


def page(text: str) -> str:
    """Return the text of docs/map.md with its generated parts up to date."""
    for name, made in (("folders", folders()), ("files", files())):
        start, end = f"<!-- {name}: python docs/map.py --write -->\n", f"<!-- end of {name} -->"
        before, rest = text.split(start)
        text = f"{before}{start}\n{made}\n{end}{rest.split(end)[1]}"
    return text


def count(source: Path) -> dict[str, int]:
    """Return the size of a package: its rooms are its folders and the modules that stand in none."""
    paths = sorted(source.rglob("*.py"))
    loose = {path.stem for path in source.glob("*.py")} - {"__init__", "__main__"}
    below: dict[str, set[str]] = {room: set() for room in loose | {p.parent.name for p in source.glob("*/__init__.py")}}
    for path in paths:
        here = path.relative_to(source).parts[0].removesuffix(".py")
        if here in below:
            below[here] |= {name.split(".")[0] for name in _imports(path)} - {here}
    return {
        "files": len(paths),
        "lines": sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths),
        "rooms": len(below),
        "of them modules in no folder": len(loose),
        "imports from room to room": sum(len(others & below.keys()) for others in below.values()),
        "floors": max(_floor(room, below) for room in below),
    }


def _floor(room: str, below: dict[str, set[str]]) -> int:
    """The longest chain of imports down from a room; without end where there is a circle, which no test lets in."""
    return 1 + max((_floor(other, below) for other in below[room] & below.keys()), default=0)


def _imports(path: Path) -> set[str]:
    """Modules of barlow that a file imports, without the package's own name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "barlow":
            module = (node.module or "").removeprefix("barlow").lstrip(".")
            found |= {module} if module else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.removeprefix("barlow.") for alias in node.names if alias.name.startswith("barlow.")}
    return found


def _check_folders() -> None:
    there = {path.parent.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("__init__.py")} - {"."}
    if there != set(FOLDERS):
        wrong = ", ".join(sorted(there ^ set(FOLDERS)))
        raise ValueError(f"FOLDERS in docs/map.py and the folders of src/barlow differ in {wrong}")


def _modules(folder: Path) -> list[Path]:
    """Files with something in them; the `__init__.py` of a folder says no more than the folder's own line."""
    return [path for path in sorted(folder.glob("*.py")) if path.name not in ("__init__.py", "__main__.py")]


def _first_line(path: Path) -> str:
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    if not said:
        raise ValueError(f"{path} has no docstring")
    paragraph = " ".join(said.split("\n\n")[0].split())
    return re.split(SENTENCE_END, paragraph)[0].rstrip(".:")


def _block(rows: list[tuple[str, str]]) -> str:
    column = max(len(name) for name, _ in rows) + 2
    return "```\n" + "\n".join(f"{name:<{column}}{what}".rstrip() for name, what in rows) + "\n```\n"


def main() -> None:
    """Print the generated parts, write them, or count."""
    if "--count" in sys.argv:
        source = Path(sys.argv[-1]) if sys.argv[-1] != "--count" else SOURCE
        for what, number in count(source).items():
            sys.stdout.write(f"{number:>7,}  {what}\n")
    elif "--write" in sys.argv:
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        sys.stdout.write(f"{folders()}\n{files()}")


if __name__ == "__main__":
    main()
