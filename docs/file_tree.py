"""The file tree of the README, made from the first line of every module's docstring.

python docs/file_tree.py            print it
python docs/file_tree.py --write    put it into README.md
"""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "methods": "One file, one method: its loss on top, its module below",
    "views": "From one batch to two or more views of it",
    "networks": "Backbones by name, the one MLP, weights from elsewhere",
    "data": "From names, paths and objects to batches of samples",
    "training": "The loop and what it stands on",
    "evaluation": "What features are worth",
    "theory": "Closed forms and estimators: numbers in, numbers out; nothing here trains",
    "auditing": "Theory applied to one backbone: figures with error bars, and verdicts",
    "studies": "The paper's claims put to the test, one file a study",
    "recipes": "Complete runs as numbers, one file a method; no torch",
    "report": "From a run folder to one HTML page; no torch",
}
"""Folders in the order of reading. A folder that is not here is an error."""
REST = {
    "examples/own_modality.py": "Time series with their own source, views and network",
    "benchmarks/": "The scripts behind every figure on this page, and how our recipes were chosen",
    "docs/": "Claims of the paper, audit, studies, evaluation, several processes, published results, decisions",
    "tests/": "Mirrors src/barlow",
}
START, END = "```\nsrc/barlow/\n", "```\n"
COLUMN = 26
SENTENCE_END = r"(?<! al)\. "
"""A full stop and a space, but for that of "et al."."""


def tree(root: Path = ROOT) -> str:
    """Return the tree, one line a file."""
    source = root / "src" / "barlow"
    unknown = {path.name for path in source.iterdir() if (path / "__init__.py").exists()} - set(FOLDERS)
    if unknown:
        raise ValueError(f"folders without a line: {', '.join(sorted(unknown))}; add them to FOLDERS")
    lines = ["src/barlow/"]
    lines += [_line(f"  {path.name}", _first_line(path)) for path in _modules(source)]
    for folder, what in FOLDERS.items():
        if (source / folder).exists():
            lines.append(_line(f"  {folder}/", what))
            lines += [_line(f"    {path.name}", _first_line(path)) for path in _modules(source / folder)]
    lines += [_line(name, what) for name, what in REST.items()]
    return "\n".join(lines) + "\n"


def _modules(folder: Path) -> list[Path]:
    """Files with something in them; the `__init__.py` of a folder says no more than the folder's own line."""
    return [path for path in sorted(folder.glob("*.py")) if path.name != "__main__.py" and not _is_marker(path)]


def _is_marker(path: Path) -> bool:
    return path.name == "__init__.py" and len(ast.parse(path.read_text(encoding="utf-8")).body) <= 1


def _first_line(path: Path) -> str:
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    if not said:
        raise ValueError(f"{path} has no docstring")
    paragraph = " ".join(said.split("\n\n")[0].split())
    return re.split(SENTENCE_END, paragraph)[0].rstrip(".:")


def _line(name: str, what: str) -> str:
    return f"{name:<{COLUMN}}{what}" if len(name) < COLUMN else f"{name} {what}"


def main() -> None:
    """Print the tree or write it into the README."""
    if "--write" not in sys.argv:
        sys.stdout.write(tree())
        return
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    start = text.index(START) + len("```\n")
    end = text.index(END, start)
    readme.write_text(text[:start] + tree() + text[end:], encoding="utf-8")


if __name__ == "__main__":
    main()
