"""The commands, by the program's own entry: what they print, what they leave, how they end."""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from bidloop.app.cli import main
from bidloop.app.settings import Settings
from bidloop.app.wiring import open_house
from tests.app.command_line import Ended, Run

REPORT = [
    "timestamp",
    "spend",
    "clicks",
    "impressions",
    "conversions",
    "campaignId",
    "adGroupId",
    "keyword",
    "device",
    "location",
]
SENSELESS = (
    ["2026-05-01T12:00:00Z", "-3", "1", "10", "0", "shoes", "g0", "kw0", "mobile", "FR"],
    ["the first of May", "3", "1", "10", "0", "shoes", "g0", "kw0", "mobile", "FR"],
    ["2026-05-02T12:00:00Z", "3", "11", "10", "0", "shoes", "g0", "kw0", "mobile", "FR"],
)
CELLS = [
    "campaignId",
    "adGroupId",
    "keyword",
    "device",
    "location",
    "timeOfDay",
    "budget",
    "currentBid",
    "ctr",
    "conversionRate",
    "spend",
    "impressions",
    "clicks",
]
GOOD = ["shoes", "g1", "kw1", "mobile", "DE", "9", "500", "1.25", "0.042", "0.06", "100", "2500", "105"]
CONFIG = """
[renewal]
minimum_rows = 50
kinds = ["constant", "logistic"]
[bidding]
objective = "target_cpa"
target_cpa = {cpa}
max_bid = 5.0
"""
COMMANDS = (
    [], ["demo"], ["ingest"], ["train"], ["predict"], ["replay"], ["replay", "rtb"], ["serve"], ["explain"], ["check"],
    ["absorb"], ["events"], ["events", "schema"], ["events", "counts"], ["events", "prune"], ["keys"], ["keys", "create"],
    ["keys", "list"], ["keys", "revoke"], ["quarantine"], ["quarantine", "list"], ["quarantine", "show"],
    ["features"], ["features", "list"], ["features", "show"], ["features", "diff"], ["features", "lineage"],
    ["features", "backfill"], ["features", "health"], ["features", "docs"],
    ["quarantine", "replay"], ["quarantine", "dismiss"], ["privacy"], ["privacy", "export"], ["privacy", "erase"],
    ["models"], ["models", "list"], ["models", "show"], ["models", "compare"], ["models", "promote"], ["models", "rollback"],
    ["models", "record"], ["models", "ui"], ["allocate"],
)  # fmt: skip


def write(path: Path, header: Sequence[str], *rows: Sequence[str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def a_report(path: Path, days: int = 8) -> Path:
    """A campaign report in which some keywords do better on mobile, and three rows that make no sense."""
    rng, rows = np.random.default_rng(0), list[list[str]]()
    for day in range(days):
        for campaign, keyword, device in [(c, k, d) for c in ("shoes", "hats") for k in range(4) for d in ("mobile", "desktop")]:  # fmt: skip
            shown = int(rng.integers(80, 200))
            clicks = int(rng.binomial(shown, 0.02 + 0.06 * keyword * (device == "mobile")))
            at = f"{date(2026, 5, 1) + timedelta(days=day)}T12:00:00Z"
            counts = [f"{clicks * 0.5}", str(clicks), str(shown), str(int(rng.binomial(clicks, 0.2)))]
            rows.append([at, *counts, campaign, f"g{keyword % 2}", f"kw{keyword}", device, "DE"])
    return write(path, REPORT, *rows, *SENSELESS)


@dataclass(frozen=True)
class Trained:
    """A home that a report was taken into and trained on, by the commands."""

    home: Path
    config: Path
    version: str

    def at(self) -> tuple[object, ...]:
        return ("--home", self.home, "--config", self.config)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """What `ingest` and `train` leave, to be copied."""
    folder = tmp_path_factory.mktemp("learned")
    config = folder / "bidloop.toml"
    config.write_text(CONFIG.format(cpa=20.0))
    with pytest.MonkeyPatch.context() as patch:
        for command in (["ingest", str(a_report(folder / "report.csv"))], ["train"]):
            patch.setattr("sys.argv", ["bidloop", *command, "--home", str(folder / "home"), "--config", str(config)])
            with pytest.raises(SystemExit) as end:
                main()
            assert not end.value.code
    return Trained(folder / "home", config, (folder / "home" / "models" / "champion").read_text().strip())


@pytest.fixture
def trained(learned: Trained, tmp_path: Path) -> Trained:
    shutil.copytree(learned.home, tmp_path / "home")
    shutil.copy(learned.config, tmp_path / "settings.toml")
    return Trained(tmp_path / "home", tmp_path / "settings.toml", learned.version)


def refused(ended: Ended, *words: str) -> None:
    """It ended with 2 and one line that says what is wrong; nothing was printed as a result."""
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("bidloop: ")
    assert ended.err.count("\n") == 1
    assert "Traceback" not in ended.err
    for word in words:
        assert word in ended.err


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command) or "bidloop")
def test_every_command_says_what_it_is_for(bidloop: Run, command: list[str]) -> None:
    ended = bidloop(*command, "--help")
    assert ended.code == 0
    assert f"bidloop {' '.join(command)}".strip() in ended.out
    assert "--help" in ended.out


def test_an_unknown_command_or_option_ends_with_2(bidloop: Run) -> None:
    assert bidloop("trian").code == bidloop("train", "--fast").code == 2


def test_a_report_is_taken_in_once_and_what_makes_no_sense_is_counted_by_reason(bidloop: Run, tmp_path: Path) -> None:
    report = a_report(tmp_path / "report.csv", days=2)
    senseless = {"negative_spend": 1, "unknown_date": 1, "clicks_exceed_impressions": 1}
    first = bidloop("ingest", report, "--json").json
    assert (first["accepted"], first["duplicates"], first["rejected"]) == (32, 0, senseless)
    second = bidloop("ingest", report, "--json").json
    assert (second["accepted"], second["duplicates"], second["rejected"]) == (0, 0, {})
    third = bidloop("ingest", report, "--again", "--json").json
    assert (third["accepted"], third["duplicates"], third["rejected"]) == (0, 32, senseless)
    table = bidloop("ingest", report, "--again")
    assert table.code == 0
    assert "already known" in table.out
    assert "kept aside: negative_spend" in table.out


def test_a_report_of_unknown_columns_is_refused_with_the_nearest_name(bidloop: Run, tmp_path: Path) -> None:
    report = a_report(tmp_path / "report.csv", days=1)
    report.write_text(report.read_text().replace("impressions", "imprs", 1))
    refused(bidloop("ingest", report), "no column for impressions", "nearest is 'imprs'")
    refused(bidloop("ingest", report, "--mapping", "spec"), "no column 'impressions'", "perhaps 'imprs'")
    refused(bidloop("ingest", report, "--mapping", "mine.toml"), "no mapping 'mine.toml'")
    refused(bidloop("ingest", tmp_path / "nowhere.csv"), "nothing at")


@pytest.mark.data
def test_the_real_campaign_report_is_taken_in(bidloop: Run, data: Callable[[str], Path]) -> None:
    report = data("display_campaign_report") / "online_advertising_performance_data.csv.gz"
    receipt = bidloop("ingest", report, "--year", 2020, "--json").json
    assert receipt["accepted"] > 15_000
    assert sum(receipt["rejected"].values()) < 0.05 * receipt["accepted"]
    refused(bidloop("ingest", report), "without a date", "which year")


def test_training_prints_every_candidate_and_puts_the_best_on_the_shelf(bidloop: Run, trained: Trained) -> None:
    told = bidloop("train", *trained.at(), "--json").json
    renewal = told["renewal"]
    assert {candidate["kind"] for candidate in renewal["candidates"]} == {"constant", "logistic"}
    assert renewal["data"]["rows"] == {"fit": 80, "validation": 16, "held_out": 32}
    assert (told["promoted"], told["settings_from"], told["unrecorded"]) == (True, "defaults", "")
    assert (trained.home / "models" / "champion").read_text().strip() == renewal["version"]
    table = bidloop("train", *trained.at())
    assert table.code == 0
    assert f"{renewal['winner']} ← serves" in table.out
    assert "is on the shelf and serves" in table.out


def test_a_model_that_is_not_promoted_is_the_challenger(bidloop: Run, trained: Trained) -> None:
    trained.config.write_text(trained.config.read_text().replace("[renewal]", "[renewal]\nheld_out_days = 3"))
    told = bidloop("train", *trained.at(), "--no-promote")
    assert told.code == 0
    assert "is the challenger" in told.out
    assert (trained.home / "models" / "champion").read_text().strip() == trained.version
    assert (trained.home / "models" / "challenger").read_text().strip() != trained.version


def test_tuning_takes_its_time_and_its_findings_serve_later_trainings(bidloop: Run, trained: Trained) -> None:
    trained.config.write_text(trained.config.read_text().replace('"logistic"', '"trees"'))
    told = bidloop("train", *trained.at(), "--tune", "2s", "--json").json
    assert told["settings_from"] == "tuned now"
    tuned = told["renewal"]["tuned"]
    assert list(tuned) == ["trees"]
    assert tuned["trees"]["trials"][0]["state"] == "complete"
    kept = trained.home / "hyperparameters.json"
    assert f"those of an earlier tuning, {kept}" in bidloop("train", *trained.at()).out
    assert bidloop("train", *trained.at(), "--defaults", "--json").json["settings_from"] == "defaults"
    kept.write_text("{")
    refused(bidloop("train", *trained.at()), "hyper-parameters in", "train with --defaults")


def test_a_time_that_is_none_is_refused_before_anything_is_read(bidloop: Run) -> None:
    refused(bidloop("train", "--tune", "soon"), "'soon' as a length of time", "90s")


def test_training_on_too_little_says_what_to_do(bidloop: Run, tmp_path: Path) -> None:
    refused(bidloop("train"), "0 rows of history", "Ingest more")
    bidloop("ingest", a_report(tmp_path / "report.csv", days=2))
    refused(bidloop("train"), "32 rows of history", "at least 1,000")


def test_a_file_of_cells_becomes_a_file_of_bids_and_bad_rows_keep_their_reason(
    bidloop: Run, trained: Trained, tmp_path: Path
) -> None:
    late = [*GOOD[:5], "29", *GOOD[6:]]
    twice = [*GOOD[:5], "x", *GOOD[6:8], "nan", *GOOD[9:]]
    cells = write(tmp_path / "cells.csv", CELLS, GOOD, late, ["hats", "g0", 'kw "2", new', *GOOD[3:]], twice)
    bids = tmp_path / "out" / "bids.csv"
    sheet = bidloop("predict", cells, "--output", bids, *trained.at(), "--json").json
    assert (sheet["written"], sheet["rejected"]) == (2, 2)
    written = read(bids)
    assert [row["keyword"] for row in written] == ["kw1", 'kw "2", new']
    for row in written:
        assert 0 < float(row["lower"]) < float(row["predictedCTR"]) < float(row["upper"]) < 1
        assert 0 < float(row["recommendedBid"]) <= 5
        assert row["modelVersion"] == trained.version
        assert "target CPA 20.00 USD" in row["reasoning"]
    rejected = read(bids.with_name("bids.rejected.csv"))
    assert [row["line"] for row in rejected] == ["3", "5"]
    assert rejected[0]["reason"] == "timeOfDay: found 29, expected a whole number from 0 to 23"
    assert "historicalMetrics.ctr" in rejected[1]["reason"]
    assert rejected[1]["keyword"] == "kw1"
    table = bidloop("predict", write(cells, CELLS, GOOD), "-o", bids, *trained.at())
    assert table.code == 0
    assert "First of 1 bids" in table.out
    assert not bids.with_name("bids.rejected.csv").exists(), "an old one would tell of rows that are mended"


@pytest.mark.parametrize("name", ["[/red] shoes", "</script>"])
def test_a_campaign_may_be_called_anything(bidloop: Run, trained: Trained, tmp_path: Path, name: str) -> None:
    cells = write(tmp_path / "cells.csv", CELLS, [name, *GOOD[1:]])
    ended = bidloop("predict", cells, *trained.at())
    assert ended.code == 0
    assert name in ended.out
    [row] = read(tmp_path / "bids.csv")
    assert name in bidloop("explain", row["decisionId"], *trained.at()).out


def test_cells_that_cannot_be_read_are_refused_before_anything_is_decided(
    bidloop: Run, trained: Trained, tmp_path: Path
) -> None:
    cells = write(tmp_path / "cells.csv", CELLS, GOOD)
    misspelt = write(tmp_path / "misspelt.csv", ["campainId", *CELLS[1:]], GOOD)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty.csv").touch()
    at = trained.at()
    refused(bidloop("predict", misspelt, *at), "no column 'campaignId'", "did you mean 'campaignId'?")
    refused(bidloop("predict", tmp_path / "empty.csv", *at), "no column 'campaignId'")
    refused(bidloop("predict", tmp_path / "binary.csv", *at), "cannot be read")
    refused(bidloop("predict", tmp_path / "nowhere.csv", *at), "no file")
    refused(bidloop("predict", cells, "-o", cells / "bids.csv", *at), "cannot be written")
    refused(bidloop("predict", cells, "-o", tmp_path, *at), "cannot be written")
    assert open_house(Settings(home=str(trained.home))).decisions.recent(1) == []


def test_a_bid_is_explained_and_made_again_also_under_other_settings(
    bidloop: Run, trained: Trained, tmp_path: Path
) -> None:
    bidloop("predict", write(tmp_path / "cells.csv", CELLS, GOOD), *trained.at())
    [row] = read(tmp_path / "bids.csv")
    ended = bidloop("explain", row["decisionId"], *trained.at())
    assert ended.code == 0
    assert "equal to the last bit" in ended.out
    trained.config.write_text(CONFIG.format(cpa=77.0))
    told = bidloop("explain", row["decisionId"], *trained.at(), "--json").json
    assert (told["recomputed"], told["differences"]) == (True, [])
    assert told["decision"]["decision_id"] == row["decisionId"]
    assert next(stage["name"] for stage in told["decision"]["stages"]) == "value"
    assert told["attributions"]
    refused(bidloop("explain", "nobody", *trained.at()), "no decision 'nobody'")


def test_a_record_that_was_tampered_with_does_not_recompute(bidloop: Run, trained: Trained, tmp_path: Path) -> None:
    bidloop("predict", write(tmp_path / "cells.csv", CELLS, GOOD), *trained.at())
    [row] = read(tmp_path / "bids.csv")
    with sqlite3.connect(trained.home / "bidloop.db") as database:
        [[payload]] = database.execute("SELECT payload FROM decisions").fetchall()
        changed = json.loads(payload)
        changed["bid"]["micros"] += 1
        database.execute("UPDATE decisions SET payload = ?", [json.dumps(changed)])
    database.close()
    ended = bidloop("explain", row["decisionId"], *trained.at())
    assert ended.code == 1
    assert "differs in bid" in ended.out


def states(found: list[dict[str, str]]) -> dict[str, str]:
    return {finding["what"]: finding["state"] for finding in found}


def test_an_empty_home_is_in_order_and_lacks_events_and_a_model(bidloop: Run) -> None:
    found = bidloop("check", "--json").json
    assert states(found) == {
        "settings": "fine",
        "events": "missing",
        "quarantine": "fine",
        "batches": "fine",
        "stream": "fine",
        "feature view": "fine",
        "kept views": "fine",
        "model": "missing",
        "feature store": "fine",
        "lineage": "fine",
    }
    assert "bidloop train" in bidloop("check").out


def test_a_trained_home_is_in_order_and_a_damaged_model_is_found(bidloop: Run, trained: Trained) -> None:
    found = bidloop("check", *trained.at(), "--json").json
    assert set(states(found).values()) == {"fine"}

    model = trained.home / "models" / trained.version / "performance.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"?")
    ended = bidloop("check", *trained.at(), "--json")
    assert ended.code == 1
    assert states(json.loads(ended.out))["model"] == "wrong"
    refused(bidloop("predict", trained.config, *trained.at()))


def test_settings_that_nobody_knows_are_refused(bidloop: Run, tmp_path: Path) -> None:
    (tmp_path / "bidloop.toml").write_text("curency = 'EUR'\n")
    refused(bidloop("check"), "curency", "Did you mean 'currency'?")
    refused(bidloop("check", "--config", "nowhere.toml"), "no settings file")


def test_a_log_of_auctions_is_replayed_under_every_budget(bidloop: Run, tmp_path: Path) -> None:
    log, rng = tmp_path / "2997", np.random.default_rng(1)
    log.mkdir()
    prices, rates = rng.integers(5, 120, 3000), rng.uniform(0.001, 0.02, 3000)
    lines = [f"{int(rng.random() < p)} {z} {p:.6f}" for z, p in zip(prices, rates, strict=True)]
    (log / "test.theta.txt").write_text("\n".join(lines) + "\n")
    counts = np.bincount(prices, minlength=301).tolist()
    totals = {"imp_train": 3000, "clk_train": 30, "cost_train": int(prices.sum()), "price_counter_train": counts}
    (log / "info.json").write_text(json.dumps(totals))
    told = bidloop("replay", "rtb", "--log", log, "--budget", "1/8", "--json").json
    policies = {row["policy"] for row in told["rows"]}
    assert policies == {"mcpc", "lin", "lin (hindsight)", "rlb", "ours", "perfect prices"}
    assert {row["budget"] for row in told["rows"]} == {"1/2", "1/4", "1/8", "1/16", "1/32", "1/64"}
    assert all(row["spend"] <= 3 * row["episode_budget"] for row in told["rows"])
    assert {difference["against"] for difference in told["differences"]} == {"rlb", "lin"}
    refused(bidloop("replay", "rtb", "--log", log, "--budget", "much"), "a fraction above 0")
    refused(bidloop("replay", "rtb", "--log", tmp_path / "nowhere"), "no folder")


def test_a_demo_does_not_empty_a_folder_that_is_somebody_s_own(bidloop: Run, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    refused(bidloop("demo", "--home", "mine", "--no-serve"), "no demo made it")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "all of it"
    refused(bidloop("demo", "--budget", "lots", "--no-serve"), "a fraction above 0")


def test_nothing_is_trained_while_a_failed_batch_waits(bidloop: Run, tmp_path: Path) -> None:
    report = a_report(tmp_path / "report.csv", days=2)
    broken = tmp_path / "broken.csv"
    header, *rows = report.read_text().splitlines()
    broken.write_text("\n".join([header, *(row.replace(row.split(",")[0], "never", 1) for row in rows)]) + "\n")
    config = tmp_path / "bidloop.toml"
    config.write_text("[events]\nexpectations = true\n")
    assert bidloop("ingest", broken, "--config", config).code == 1
    refused(bidloop("train", "--config", config), "failed their expectations", "broken.csv", "--despite-failed-batches")
    found = bidloop("check", "--config", config, "--json")
    assert (found.code, states(json.loads(found.out))["batches"]) == (1, "wrong")
    refused(bidloop("train", "--despite-failed-batches", "--config", config), "0 rows of history")
    refused(bidloop("quarantine", "dismiss"), "nothing to dismiss")
    assert "Dismissed: 1" in bidloop("quarantine", "dismiss", "--code", "failed_batch").out
    refused(bidloop("train", "--config", config), "0 rows of history")


def test_what_made_no_sense_is_listed_shown_and_replayed_after_a_fix(bidloop: Run, tmp_path: Path) -> None:
    told = tmp_path / "told.ndjson"
    sold = {
        "type": "conversion_reported",
        "eventId": "e",
        "at": "2026-03-01T12:00:00Z",
        "impressionId": "i",
        "value": 5,
    }
    told.write_text(json.dumps(sold | {"currency": "EUR"}) + "\n" + json.dumps(sold | {"eventId": "f"}) + "\n")
    assert bidloop("ingest", told, "--json").json["rejected"] == {"wrong_currency": 1}
    listed = bidloop("quarantine", "list", "--json").json
    assert listed["counts"] == {"wrong_currency": 1}
    [row] = listed["rows"]
    assert "wrong_currency" in bidloop("quarantine", "list").out
    shown = bidloop("quarantine", "show", row["id"][:8], "--json").json
    assert json.loads(shown["raw"]) == sold | {"currency": "EUR"}
    assert "value in EUR" in bidloop("quarantine", "show", row["id"]).out
    assert bidloop("quarantine", "replay", "--json").json["results"] == {"wrong_currency": 1}
    config = tmp_path / "bidloop.toml"
    config.write_text('currency = "EUR"\n')
    assert bidloop("quarantine", "replay", "--config", config, "--json").json["results"] == {"accepted": 1}
    assert bidloop("quarantine", "replay", row["id"], "--config", config, "--json").json["results"] == {"duplicate": 1}
    assert "Nothing waits" in bidloop("quarantine", "list").out
    assert bidloop("events", "counts", "--json").json["events"] == {"conversion_reported": 2}
    refused(bidloop("quarantine", "show", "nothing"), "no row 'nothing'")


def test_a_person_is_exported_and_forgotten_by_the_id_that_the_account_knows(bidloop: Run, tmp_path: Path) -> None:
    told = tmp_path / "told.ndjson"
    seen = {"type": "page_viewed", "at": "2026-03-01T12:00:00Z", "consent": True}
    people = [
        {"eventId": "1", "userId": "anna"},
        {"eventId": "2", "userId": "anna"},
        {"eventId": "3", "userId": "bert"},
    ]
    told.write_text("".join(json.dumps(seen | person) + "\n" for person in people))
    bidloop("ingest", told)
    exported = tmp_path / "anna.ndjson"
    assert bidloop("privacy", "export", "anna", "-o", exported).code == 0
    assert len(exported.read_text().splitlines()) == 2
    assert "anna" not in exported.read_text()
    assert bidloop("privacy", "erase", "anna", "--yes", "--json").json["events"] == 2
    assert bidloop("privacy", "export", "anna").out == ""
    assert bidloop("events", "counts", "--json").json["events"] == {"page_viewed": 1}
    assert bidloop("ingest", told, "--again", "--json").json["duplicates"] == 3


def test_schemas_are_printed_one_or_all_and_retention_wants_a_number(bidloop: Run, tmp_path: Path) -> None:
    assert bidloop("events", "schema", "click_received").json["title"] == "click_received"
    assert len(bidloop("events", "schema").json) == 20
    refused(bidloop("events", "schema", "clicks"), "no event type 'clicks'")
    refused(bidloop("events", "prune"), "events.retention_days")
    assert bidloop("events", "prune", "--days", 3).out.startswith("0 events")


def test_nothing_is_absorbed_where_events_go_straight_to_the_log(bidloop: Run) -> None:
    refused(bidloop("absorb"), "no stream")
