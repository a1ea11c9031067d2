"""The documentation's examples run, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bidloop.events import absorber, batches, misreading, privacy, validation

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.S | re.M)


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=lambda p: p.name)
def test_the_python_examples_of_a_page_run_in_order(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    script = "\n".join(blocks(page, "python"))
    exec(compile(script, str(page), "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_relative_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


def test_every_code_that_a_row_can_be_rejected_with_is_explained() -> None:
    told = (ROOT / "docs" / "quarantine.md").read_text() + (ROOT / "docs" / "events.md").read_text()
    codes = [*absorber.CODES, *batches.CODES, *privacy.CODES, *misreading.CODES, *validation.CODES]
    assert [code for code in codes if f"`{code}`" not in told] == []


def test_every_room_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    rooms = [p.name for p in (ROOT / "src" / "bidloop").iterdir() if p.is_dir() and p.name != "__pycache__"]
    assert [room for room in rooms if f"`{room}/`" not in readme] == []
