"""Imports go down only, importing has no side effects, and torch stays out of what has to be quick."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "barlow"

LEVELS: list[set[str]] = [
    {"choices"},
    {
        "recipes",
        "machine",
        "given",
        "collectives",
        "methods.terms",
        "views.views",
        "data.source",
        "training.durable_file",
    },
    {"correlation", "theory", "methods.method"},
    {"methods", "views", "networks", "data", "training", "evaluation", "report", "embed", "export"},
    {"loss_floor", "engine"},
    {"assembly", "run_folder", "scores", "evidence", "flags", "tables", "audit_tables"},
    {"run", "calibration", "recipe_tables", "parsing"},
    {"auditing", "finishing"},
    {"pretraining"},
    {"compare", "studies"},
    {"cli", "__init__"},
    {"__main__"},
]
"""Each level may import the levels above it in this list, and parts of its own level only where ACROSS says so."""

ACROSS = {
    ("evaluation", "training"),  # the linear protocol of SimSiam steps with LARS
    ("evaluation", "views"),  # the official protocol augments while it probes
    ("export", "networks"),
    ("methods", "networks"),  # a method builds its own heads
    ("report", "training"),  # the journal's reader, which has no torch
    ("scores", "evidence"),
    ("training", "data"),  # what is random in a sample follows from the seed and the step, and bad data end a run
    ("correlation", "theory"),
}
"""Imports between parts of one level that are meant."""


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


def place(module: str) -> tuple[int, str]:
    """Return (level, part) of a module: its own entry if it has one, else that of its folder."""
    for level, parts in enumerate(LEVELS):
        if module in parts:
            return level, module
    for level, parts in enumerate(LEVELS):
        if module.split(".")[0] in parts:
            return level, module.split(".")[0]
    raise AssertionError(f"{module} has no level: add it to LEVELS")


FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_go_down_only(path: Path) -> None:
    name = module_name(path) or "__init__"
    level, part = place(name)
    for imported in imports_of(path):
        other_level, other = place(imported)
        allowed = other_level < level or other == part or (part, other) in ACROSS
        assert allowed, f"{name} (level {level}) imports {imported} (level {other_level})"


def test_the_rule_can_fail() -> None:
    assert place("methods.barlow_twins")[0] < place("run")[0]
    assert place("views.views")[0] < place("methods.barlow_twins")[0]
    with pytest.raises(AssertionError):
        place("utils")


def test_methods_and_theory_never_import_each_other() -> None:
    for folder, other in (("methods", "theory"), ("theory", "methods")):
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
        "barlow.report.compare",
        "barlow.report.audit_page",
        "barlow.audit_tables",
        "barlow.report.study_page",
        "barlow.studies.table",
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
def test_files_and_functions_stay_readable(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 300, f"{path.name} has {text.count(chr(10))} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert lines <= 45, f"{node.name} in {path.name} has {lines} lines of code"
