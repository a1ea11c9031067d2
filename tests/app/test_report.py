"""The report: one file that needs nothing beside itself, whatever its content is called."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from bidloop.app.report.content import (
    CalibrationPoint,
    CoverageRow,
    Curve,
    Lean,
    ModelRow,
    PolicyRow,
    ReliabilityRow,
    Report,
    SampleDecision,
)
from bidloop.app.report.page import render, write
from bidloop.app.report.tables import print_report

HOSTILE = """</script><img src="https://evil.example/x.png" onerror="alert('1')"><!-- & {{ 7*7 }} ${7*7}"""


def a_report(name: str = "spring") -> Report:
    curve = (Curve(name=name, x=(0.0, 60.0), y=(0.0, 1.5)),)
    policy = PolicyRow(
        policy="ours", impressions=14752.0, clicks=48.0, conversions=3.0, value=120.5, spend=30.25, cpa=10.08, roas=3.98,
        budget_used=0.998,
    )  # fmt: skip
    model = ModelRow(
        model="trees", auc=0.7654, auc_interval=(0.75, 0.78), log_loss=0.006031, log_loss_interval=(0.0058, 0.0062),
        calibration_ratio=1.02, ece=0.0001, serves=True,
    )  # fmt: skip
    return Report(
        title=f"A run of {name}",
        subtitle=name,
        made_at=datetime(2026, 6, 1, tzinfo=UTC),
        currency="EUR",
        bid_unit="EUR per mille",
        model_version="v0123456789ab",
        confidence_level=0.95,
        measured_coverage=0.947,
        policies=(policy, msgspec.structs.replace(policy, policy=name, value=None, cpa=None, roas=None)),
        models=(model,),
        conversion_models=(
            msgspec.structs.replace(
                model, model="constant", auc=None, auc_interval=None, serves=False, behind=(0.0001, 0.0004)
            ),
        ),
        calibration=(CalibrationPoint(predicted=0.01, observed=0.012, lower=0.008, upper=0.016),),
        reliability=(
            ReliabilityRow(field="device", value=name, impressions=900.0, clicks=9.0, ratio=1.1, interval=(0.6, 2.1)),
            ReliabilityRow(
                field="traffic tier", value="tail", impressions=5.0, clicks=0, ratio=None, interval=(2.0, None)
            ),
        ),
        coverage=(CoverageRow(tier=name, cells=120, covered=0.942, mean_width=0.031),),
        conversion_coverage=(CoverageRow(tier=name, cells=60, covered=0.951, mean_width=0.2),),
        maturity=(Curve(name=name, x=(0.0, 1.0, 30.0), y=(0.1, 0.5, 1.0)),),
        landscape=curve,
        spend=curve,
        clicks=curve,
        value=curve,
        leans_on=(Lean(feature=name, mean_absolute_log_odds=0.4),),
        decisions=(
            SampleDecision(decision_id="d1", title=name, stages=(("value", 1.25, name),), reasons=(name, "Because.")),
        ),
        intake={"accepted": 17, f"kept aside: {name}": 2},
        notes=(name, "Believe with care."),
    )


def nothing_optional() -> Report:
    return msgspec.structs.replace(
        a_report(),
        measured_coverage=None,
        policies=(),
        models=(),
        conversion_models=(),
        calibration=(),
        reliability=(),
        coverage=(),
        conversion_coverage=(),
        maturity=(),
        landscape=(),
        spend=(),
        clicks=(),
        value=(),
        leans_on=(),
        decisions=(),
        intake={},
        notes=(),
    )


class Page(HTMLParser):
    """What a browser would make of a page: its elements, its data and its visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.scripts, self._inside = "", list[str](), [""]
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "img", "input", "br"}:
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._inside.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if self._inside[-1] == "script":
            self.scripts.append(data)
        elif self._inside[-1] != "style":
            self.text += data


def data_of(page: Page) -> dict:
    """The report's data, as the page's scripts find it."""
    found = [json.loads(script) for script in page.scripts if script.lstrip().startswith("{")]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("report", [a_report(), nothing_optional(), a_report(HOSTILE)], ids=["full", "bare", "hostile"])
def test_the_page_loads_nothing_from_anywhere(report: Report) -> None:
    html = render(report)
    page = Page(html)
    for tag, attributes in page.elements:
        assert tag not in {"link", "iframe", "object", "embed", "base", "form", "img"}
        assert not {"src", "srcset", "action", "background", "poster"} & set(attributes)
        assert (attributes.get("href") or "#").startswith("#")
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in (policy or "")
    code = "".join(page.scripts)
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|EventSource|importScripts|sendBeacon)\b", code)
    styles = "".join(re.findall(r"<style>(.*?)</style>", html, re.S))
    assert not re.search(r"@import|url\(\s*['\"]?(?!data:|#)", styles)


def test_a_hostile_name_is_text_and_nothing_else() -> None:
    plain, hostile = Page(render(a_report())), Page(render(a_report(HOSTILE)))
    assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in plain.elements]
    assert HOSTILE in hostile.text
    assert "49" not in hostile.text, "nothing is evaluated"
    assert not any(name.startswith("on") for _, attributes in hostile.elements for name in attributes)


@pytest.mark.parametrize("name", ["spring", HOSTILE])
def test_the_data_inside_the_page_is_the_report_itself(name: str) -> None:
    report = a_report(name)
    assert msgspec.convert(data_of(Page(render(report))), Report) == report


def test_a_report_without_its_optional_parts_still_renders() -> None:
    page = Page(render(nothing_optional()))
    assert "Too few held-out cells to measure coverage." in page.text
    assert not [a for _, a in page.elements if a.get("id") == "value"]


def test_what_does_not_apply_is_a_dash() -> None:
    cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", render(a_report()))
    row = cells.index("spring")
    assert cells[row + 4] == cells[row + 6] == cells[row + 7] == "–"
    assert cells[row + 1 : row + 4] == ["14,752", "48", "3"]


def test_writing_replaces_the_whole_file_and_makes_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    write(a_report("first"), path)
    assert write(a_report("second"), path) == path
    assert path.read_text(encoding="utf-8") == render(a_report("second"))
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_the_tables_say_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(a_report())
    told = capsys.readouterr().out
    for expected in ("A run of spring", "14,752", "99.8%", "0.7654 [0.7500, 0.7800]", "trees ← serves", "94.2%", "17"):
        assert expected in told
    assert "Believe with care." in told


def test_the_tables_print_also_what_is_empty_or_looks_like_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(nothing_optional())
    print_report(a_report("[/bold] spring [red]"))
    assert "[/bold] spring [red]" in capsys.readouterr().out
