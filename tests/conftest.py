"""What every test may use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

# Shared two-core machines stall now and then: a slow example is no failure, and CI must see the same examples each time.
settings.register_profile("bidloop", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("bidloop")


@pytest.fixture(scope="session")
def data() -> Callable[[str], Path]:
    """The folder of a real log by name; skips the test with a sentence where the log is not on this machine."""
    root = Path(os.environ.get("BIDLOOP_DATA") or ROOT.parent / "shared" / "data")

    def folder(name: str) -> Path:
        path = root / name
        if not path.exists():
            pytest.skip(
                f"needs the real log {name!r}, which is not at {path}; set BIDLOOP_DATA to the folder that has it"
            )
        return path

    return folder
