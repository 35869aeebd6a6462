"""The lowest versions that pyproject.toml promises, as constraints for pip: python .ci/lowest.py > lowest.txt."""

import re
from pathlib import Path

TEXT = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
DEPENDENCIES = re.search(r"^dependencies = \[\n(.*?)^\]", TEXT, re.MULTILINE | re.DOTALL)


def lowest() -> dict[str, str]:
    """Return the version behind each ">=" of the dependencies, by name."""
    return dict(re.findall(r'"([\w-]+)>=([\w.]+)"', DEPENDENCIES[1] if DEPENDENCIES else ""))


if __name__ == "__main__":
    print("\n".join(f"{name}=={version}" for name, version in lowest().items()))
