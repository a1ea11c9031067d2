"""The page on adding a feature, followed to the letter."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "adding-a-feature.md"


def ran(folder: Path, *command: str, fine: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *command], cwd=folder, env=os.environ | {"COLUMNS": "160"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode in fine, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def test_the_five_steps_work_as_they_are_written(tmp_path: Path) -> None:
    told: dict[str, str] = {}
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(), flags=re.S | re.M):
        if language == "toml":
            name = block.splitlines()[0].removeprefix("# ")
            (tmp_path / name).write_text(block)
        elif language == "python":
            told["python"] = told.get("python", "") + ran(tmp_path, "-c", block)
        else:
            for line in block.splitlines():
                command = line.removeprefix("$ bidloop ").split()
                program = ("-c", "from bidloop.app.cli import main; main()")
                told[" ".join(command[:2])] = ran(
                    tmp_path, *program, *command, fine=(0, 1) if "health" in command else (0,)
                )
    assert "carts_1d" in told["features show"]
    assert "shop team" in told["features show"]
    filled, empty = (float(share) for share in re.findall(r"0\.\d+", told["python"]))
    assert filled > 3 * empty  # "several times as often"
    wrong = re.findall(r"^ +(\w+) .*missing everywhere", told["features health"], flags=re.M)
    assert wrong == ["ad_group_id", "device", "location"]
    assert "3 of 30 features are not fine." in told["features health"]
    assert re.search(r"carts_1d\s+user\s+100\.0 %.*fine", told["features health"])
    assert "form_submitted" in told["features lineage"]
    best = re.search(r"← serves\s+([0-9.]+)", told["train"])
    assert best is not None
    assert float(best[1]) > 0.65  # and the model heard it
