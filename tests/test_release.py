"""What is released: what importing it costs, how large it is, and that pyproject.toml says what the code needs."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import barlow
from barlow.training.trackers import TRACKERS

ROOT = Path(__file__).parents[1]
SOURCE = Path(barlow.__file__).parent
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
MOST_SECONDS, MOST_MODULES = 0.5, 80
"""Of `import barlow`: 0.02 s of processor time and 29 modules when this was written."""
MOST_BYTES, MOST_FILES = 4_000_000, 450
"""Of the package as it is installed: 2.5 MB in 329 files when this was written."""
IMPORTED_AS = {"pillow": "PIL", "scikit-learn": "sklearn", "lightning-fabric": "lightning_fabric"}


def test_importing_it_is_quick_and_loads_nothing_large() -> None:
    code = (
        "import sys, time; before = set(sys.modules); start = time.process_time(); import barlow; "
        "took = time.process_time() - start; new = set(sys.modules) - before; "
        "print(took, len(new), *sorted(new & {'torch', 'numpy', 'timm', 'sklearn', 'tyro', 'rich'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, modules, *large = done.stdout.split()
    assert large == []
    assert float(seconds) < MOST_SECONDS
    assert int(modules) < MOST_MODULES


def test_the_package_is_small() -> None:
    files = [path for path in SOURCE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert len(files) < MOST_FILES
    assert sum(path.stat().st_size for path in files) < MOST_BYTES


def test_every_dependency_has_a_lowest_version_that_is_tested() -> None:
    listed = re.search(r"^dependencies = \[\n(.*?)^\]", PROJECT, re.MULTILINE | re.DOTALL)
    assert listed is not None
    names = re.findall(r'^    "([\w-]+)', listed[1], re.MULTILINE)
    done = subprocess.run([sys.executable, str(ROOT / ".ci" / "lowest.py")], capture_output=True, text=True, check=True)
    assert [line.split("==")[0] for line in done.stdout.split()] == names
    imported = {IMPORTED_AS.get(name, name) for name in names}
    code = "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    assert {name for name in imported if not re.search(rf"^\s*(import|from) {name}\b", code, re.MULTILINE)} == set()


def test_the_sources_are_python_3_10() -> None:
    """Syntax only; names of the library are those of 3.10 for mypy (`python_version`), which CI runs over all of it."""
    folders = [SOURCE, *(ROOT / name for name in ("tests", "examples", "benchmarks", "docs", ".ci"))]
    files = [path for folder in folders for path in folder.rglob("*.py")]
    assert len(files) > 300
    for path in files:
        ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 10))
    assert 'python_version = "3.10"' in PROJECT
    assert 'target-version = "py310"' in PROJECT


def test_every_program_that_follows_runs_is_an_extra_of_its_own() -> None:
    assert [name for name in TRACKERS if not re.search(rf'^{name} = \["{name}>=', PROJECT, re.MULTILINE)] == []


def test_the_version_is_said_once_more_and_the_same() -> None:
    assert f'version = "{barlow.__version__}"' in PROJECT
    assert 'requires-python = ">=3.10"' in PROJECT
