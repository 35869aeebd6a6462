"""Snippets of pages whose runs take long: every call in them is one that there is, with arguments that it takes."""

import inspect
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import barlow

ROOT = Path(__file__).parents[1]
LONG = ("pretrain", "segment", "verify_speakers", "load_clips")
"""What trains, or needs recordings."""


def test_the_calls_of_the_snippets_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    def bound(name: str) -> Any:
        signature = inspect.signature(getattr(barlow, name))

        def call(*given: Any, **more: Any) -> Any:
            signature.bind(*given, **more)
            called.append(name)
            model = SimpleNamespace(predict=lambda paths: [torch.zeros(4, 4, dtype=torch.uint8) for _ in paths])
            summary: dict[str, Any] = {"differences": {}}
            embed = inspect.signature(barlow.Run.embed)
            return SimpleNamespace(
                recipe=barlow.Recipe(), model=model, summary=summary, eer=lambda *names: 0.5,
                embed=lambda *data, **how: embed.bind(None, *data, **how),
            )  # fmt: skip

        return call

    for name in LONG:
        monkeypatch.setattr(barlow, name, bound(name))
    for page in ("docs/audio.md", "docs/segmentation.md", "docs/speakers.md"):
        names: dict[str, Any] = {"barlow": barlow, "scores": torch.rand(10), "same": torch.arange(10) % 2 == 0}
        for snippet in re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL):
            exec(compile(snippet, page, "exec"), names)
    assert set(called) == set(LONG)
