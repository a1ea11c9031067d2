"""Which program trained a model: versions of Bidloop and of what it trains with, and the commit where there is a checkout."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

TRAINED_WITH = ("bidloop", "torch", "xgboost-cpu", "scikit-learn", "onnxruntime", "numpy")


def code_version() -> dict[str, str]:
    """Versions by package name, of ``python``, and the ``commit``, with a ``+`` where files were changed since."""
    told = {"python": platform.python_version()}
    for name in TRAINED_WITH:
        try:
            told[name] = version(name)
        except PackageNotFoundError:
            continue
    if commit := _commit():
        told["commit"] = commit
    return told


def _commit() -> str:
    """The commit of the checkout that this file is of; empty where it is of none, or lies in another project's checkout."""
    here = Path(__file__)
    if _git(here, "ls-files", "--error-unmatch", here.name) is None:
        return ""
    commit, changed = _git(here, "rev-parse", "HEAD"), _git(here, "status", "--porcelain", "--", "../..")
    return "" if commit is None else commit + ("+" if changed else "")


def _git(here: Path, *arguments: str) -> str | None:
    try:
        asked = subprocess.run(["git", *arguments], cwd=here.parent, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() if asked.returncode == 0 else None
