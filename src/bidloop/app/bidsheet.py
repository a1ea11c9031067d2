"""A file of cells in, a file of recommended bids with reasons out."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from bidloop.app.http.body import BodyReader, contradicts
from bidloop.app.http.border import opportunity_of, too_early
from bidloop.app.http.problems import WRONG_FIELDS, ApiError
from bidloop.app.http.schema import CampaignData
from bidloop.app.output import check_output
from bidloop.app.settings import Settings
from bidloop.app.terminal import progress
from bidloop.core.decision import Decision
from bidloop.core.errors import InvalidInput, NotFound
from bidloop.events.privacy import Privacy
from bidloop.loop import Loop

CELL = ("campaignId", "adGroupId", "keyword", "device", "location", "timeOfDay", "budget", "currentBid")
METRICS = ("ctr", "conversionRate", "spend", "impressions", "clicks")
OPTIONAL = ("auction", "charge", "floor", "userId", "consent")
NUMBERS = frozenset({"timeOfDay", "budget", "currentBid", "floor", *METRICS})
MAPPINGS = ("attributes.", "measures.")
PREVIEW = 8
CHUNK = 500
"""Rows decided at once: the budget that an earlier row reserves is missing for a later one of the same chunk."""


class BidSheet(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a file of cells.

    Parameters
    ----------
    written, rejected
        How many rows got a bid, and how many make no sense.
    output, rejected_file
        Where they are; no rejected file is written when there is nothing in it.
    preview
        The first bids.
    """

    written: int
    rejected: int
    output: str
    rejected_file: str | None
    preview: list[dict[str, Any]]


def write_bids(loop: Loop, settings: Settings, privacy: Privacy, cells: Path, output: Path) -> BidSheet:
    """Read a CSV with the API's field names as columns, and write it again with rates, interval, bid and reasons.

    The columns are those of ``CampaignData``, with the fields of ``historicalMetrics`` beside them; ``attributes.NAME`` and
    ``measures.NAME`` are further facts. Rows that make no sense go to a file beside `output`, with the reason.

    Raises
    ------
    NotFound
        When there is no such file.
    InvalidInput
        When it has no header, lacks a column or has one that nobody knows.
    ConfigurationError
        When `output` cannot be written; found out before anything is decided.
    """
    header, rows = _read(cells)
    check_output(output)
    reader, zone = BodyReader(CampaignData, contradiction=contradicts), ZoneInfo(settings.timezone)
    now, earliest = loop.clock.now(), loop.features.earliest
    good: list[tuple[dict[str, str], CampaignData]] = []
    bad: list[dict[str, str]] = []
    for number, row in enumerate(rows, start=2):
        try:
            data = reader.read(msgspec.json.encode(_body(row)))
            if (early := too_early(data, now=now, timezone=zone, earliest=earliest)) is not None:
                raise ApiError(WRONG_FIELDS, [early])
            good.append((row, data))
        except ApiError as error:
            wrong = "; ".join(f"{e.path}: found {e.found}, expected {e.expected}" for e in error.errors)
            bad.append({"line": str(number), "reason": wrong or str(error), **row})
    decided = list[dict[str, Any]]()
    with progress("Bidding", len(good)) as bar:
        for start in range(0, len(good), CHUNK):
            chunk = good[start : start + CHUNK]
            now = loop.clock.now()
            decisions = loop.decide_many(
                [
                    opportunity_of(data, now=now, timezone=zone, currency=settings.currency, privacy=privacy)
                    for _, data in chunk
                ]
            )
            decided += [{**row, **_answer(decision)} for (row, _), decision in zip(chunk, decisions, strict=True)]
            bar(start + len(chunk), "")
    _write(output, [*header, *ANSWER], decided)
    rejected_file = output.with_suffix(".rejected.csv")
    rejected_file.unlink(missing_ok=True)
    if bad:
        _write(rejected_file, ["line", "reason", *header], bad)
    shown = ("campaignId", "keyword", "predictedCTR", "lower", "upper", "recommendedBid", "expectedROAS")
    return BidSheet(
        written=len(decided),
        rejected=len(bad),
        output=str(output),
        rejected_file=str(rejected_file) if bad else None,
        preview=[{name: row[name] for name in shown} for row in decided[:PREVIEW]],
    )


ANSWER = (
    "predictedCTR",
    "predictedConversionRate",
    "lower",
    "upper",
    "credibleLower",
    "credibleUpper",
    "confidence",
    "recommendedBid",
    "expectedROAS",
    "modelVersion",
    "decisionId",
    "degraded",
    "reasoning",
)  # fmt: skip


def _answer(decision: Decision) -> dict[str, Any]:
    prediction, credible = decision.prediction, decision.prediction.ctr_credible_interval
    return {
        "predictedCTR": prediction.ctr,
        "predictedConversionRate": prediction.conversion_rate,
        "lower": prediction.ctr_interval.lower,
        "upper": prediction.ctr_interval.upper,
        "credibleLower": "" if credible is None else credible.lower,
        "credibleUpper": "" if credible is None else credible.upper,
        "confidence": prediction.confidence,
        "recommendedBid": decision.bid.amount,
        "expectedROAS": decision.expectation.roas,
        "modelVersion": prediction.model_version,
        "decisionId": decision.decision_id,
        "degraded": " ".join(decision.degraded),
        "reasoning": " ".join(decision.reasons),
    }


def _read(cells: Path) -> tuple[list[str], list[dict[str, str]]]:
    if not cells.is_file():
        raise NotFound(f"no file {cells}", expected="a CSV of cells", remedy="Check the path.")
    try:
        with cells.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restkey="", restval="")
            rows = [{name: value for name, value in row.items() if name} for row in reader]
            header = [name for name in reader.fieldnames or () if name]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"{cells} cannot be read: {error}", expected="a CSV file in UTF-8") from error
    _check(header)
    return header, rows


def _check(header: Sequence[str]) -> None:
    known = (*CELL, *METRICS, *OPTIONAL)
    missing = [name for name in (*CELL, *METRICS) if name not in header]
    unknown = [name for name in header if name not in known and not name.startswith(MAPPINGS)]
    if missing or unknown:
        hints = [
            f"{name!r} (did you mean {near[0]!r}?)" for name in unknown if (near := get_close_matches(name, known, 1))
        ]
        found = [f"no column {', '.join(map(repr, missing))}"] if missing else []
        found += [f"unknown column {', '.join(hints or map(repr, unknown))}"] if unknown else []
        raise InvalidInput(
            " and ".join(found),
            path=(missing or unknown)[0],
            expected=f"the columns {', '.join((*CELL, *METRICS))}",
            remedy="Further facts go into columns named attributes.NAME or measures.NAME.",
        )


def _body(row: dict[str, str]) -> dict[str, Any]:
    """The row as the API's JSON; a number that cannot be read stays text, for the reader to complain about."""
    body: dict[str, Any] = {name: _value(name, row[name]) for name in CELL}
    body["historicalMetrics"] = {name: _value(name, row[name]) for name in METRICS}
    body |= {name: _value(name, row[name]) for name in OPTIONAL if row.get(name)}
    for prefix in MAPPINGS:
        facts = {name.removeprefix(prefix): value for name, value in row.items() if name.startswith(prefix) and value}
        if facts:
            numeric = prefix == "measures."
            body[prefix.rstrip(".")] = {n: _number(v) if numeric else v for n, v in facts.items()}
    return body


def _value(name: str, text: str) -> Any:
    if name == "consent":
        return {"true": True, "false": False}.get(text.lower(), text)
    return _number(text) if name in NUMBERS else text


def _number(text: str) -> float | int | str:
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        return number if abs(number) < float("inf") else text
    return text


def _write(path: Path, header: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    """Whole or not at all."""
    temporary = path.with_name(path.name + ".part")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=header, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    temporary.replace(path)
