"""Imports go down only, importing has no side effects, and torch stays out of what has to be quick."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "barlow"

FLOORS: list[set[str]] = [
    {"errors", "files", "formats", "statistics"},
    {"arguments"},
    {"figures", "recipes", "theory", "writers"},
    {"seams"},
    {"data", "methods"},
    {"training"},
    {"audio", "graphs", "images", "report"},
    {"modalities"},
    {"evaluation"},
    {"features"},
    {"runs"},
    {"audits", "studies"},
    {"applications"},
    {"cli", "__init__"},
    {"__main__"},
]
"""From the ground up: a package may import those of the floors below it, and of its own floor nobody but itself."""


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> set[str]:
    """Modules of the package that a file imports, at the top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("barlow."):
            found.add(node.module.removeprefix("barlow."))
        elif isinstance(node, ast.Import):
            found |= {alias.name.removeprefix("barlow.") for alias in node.names if alias.name.startswith("barlow.")}
    return found


def floor(module: str) -> int:
    """Return the floor of a module's package, counted from the ground."""
    package = module.split(".")[0]
    for number, packages in enumerate(FLOORS):
        if package in packages:
            return number
    raise AssertionError(f"{package} has no floor: add it to FLOORS")


FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_go_down_only(path: Path) -> None:
    name = module_name(path) or "__init__"
    for imported in imports_of(path):
        inside = imported.split(".")[0] == name.split(".")[0]
        assert inside or floor(imported) < floor(name), f"{name} imports {imported}, which is not below it"


def test_the_rule_can_fail() -> None:
    assert floor("seams") < floor("methods.barlow_twins") < floor("runs.run")
    with pytest.raises(AssertionError, match="utils has no floor"):
        floor("utils")


MODALITIES = ("audio", "graphs", "images")
"""Packages of one modality each."""
KNOW_ONE = (
    "__init__",
    "modalities",
    "applications.segmentation.pictures",
    "applications.speakers.verify",
    "studies.images",
    "studies.speakers",
)
"""Who may know them: the public names, the table, the claims of the paper, masks and speakers."""


def test_the_core_imports_no_modality_but_through_the_table() -> None:
    for path in FILES:
        name = module_name(path)
        if (name or "__init__") in KNOW_ONE or name.split(".")[0] in MODALITIES:
            continue
        known = {imported for imported in imports_of(path) if imported.split(".")[0] in MODALITIES}
        assert not known, f"{name} imports {', '.join(sorted(known))}"


def test_methods_and_theory_never_import_each_other_nor_theory_the_statistics_of_batches() -> None:
    for folder, other in (("methods", "theory"), ("theory", "methods"), ("theory", "statistics")):
        for path in (SOURCE / folder).glob("*.py"):
            assert not any(name.startswith(other) for name in imports_of(path)), path


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize(
    "module",
    [
        "barlow",
        "barlow.cli",
        "barlow.recipes",
        "barlow.report.page",
        "barlow.report.side_by_side",
        "barlow.report.audit_page",
        "barlow.report.map_page",
        "barlow.report.terminal",
        "barlow.report.study_page",
        "barlow.studies.table",
        "barlow.report.segmentation_page",
    ],
)
def test_torch_stays_out(module: str) -> None:
    assert run_python(f"import sys, {module}; print('torch' in sys.modules)").strip() == "False"


def test_importing_everything_changes_neither_environment_nor_logging_nor_default_types() -> None:
    code = """
import os, logging, torch, lightning_fabric, torchvision, timm, sklearn
before = dict(os.environ), list(logging.getLogger().handlers), torch.get_default_dtype(), torch.initial_seed()
import barlow
for name in barlow.__all__:
    getattr(barlow, name)
after = dict(os.environ), list(logging.getLogger().handlers), torch.get_default_dtype(), torch.initial_seed()
print(before == after)
"""
    assert run_python(code).strip() == "True"


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_functions_stay_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert lines <= 45, f"{node.name} in {path.name} has {lines} lines of code"
