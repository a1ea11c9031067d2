"""`bidloop features`: what it tells of features, views, lineage and health, and how it ends."""

from __future__ import annotations

import csv
import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bidloop.app import terminal
from bidloop.app.cli import main
from bidloop.app.features.difference import UNUSED, difference
from bidloop.app.features.health import feature_health
from bidloop.app.features.house_features import Features
from bidloop.app.features.lineage import namespace_of, told_training
from bidloop.app.features.reference import reference
from bidloop.app.http.metrics import Metrics
from bidloop.app.settings import load_settings
from bidloop.app.wiring import House, open_house, open_loop
from bidloop.core.clock import ManualClock
from bidloop.core.event import ClickReceived, PageViewed
from bidloop.core.feature_table import UNAVAILABLE, FeatureVector
from bidloop.core.opportunity import Opportunity
from bidloop.features.amounts import Amount
from bidloop.features.health import FeatureHealth
from bidloop.features.signals import Entity, Total
from bidloop.features.verdicts import Thresholds
from bidloop.features.views import campaign_view
from tests.app.command_line import Ended, Run

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime.now(UTC).replace(microsecond=0)
HEADER = ["timestamp", "spend", "clicks", "impressions", "conversions", "campaignId", "keyword", "device"]
CONFIG = """
[renewal]
minimum_rows = 50
kinds = ["logistic"]
[bidding]
objective = "target_cpa"
target_cpa = 20.0
max_bid = 5.0
[features]
view = "campaign"
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a home that a week's report was taken into, trained on, and in which ten bids were decided."""
    folder = tmp_path_factory.mktemp("features")
    (folder / "bidloop.toml").write_text(CONFIG)
    rng = np.random.default_rng(0)
    with (folder / "report.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for day in range(8):
            at = (NOW - timedelta(days=8 - day, hours=1)).isoformat()
            for keyword in range(8):
                clicks = int(rng.binomial(150, 0.03 + 0.02 * keyword))
                writer.writerow([at, clicks * 0.5, clicks, 150, clicks // 5, "shoes", f"kw{keyword}", "mobile"])
    with pytest.MonkeyPatch.context() as patch:
        for command in (["ingest", str(folder / "report.csv")], ["train"]):
            options = ["--home", str(folder / "home"), "--config", str(folder / "bidloop.toml")]
            patch.setattr("sys.argv", ["bidloop", *command, *options])
            with pytest.raises(SystemExit) as end:
                main()
            assert not end.value.code
    settings = load_settings(folder / "bidloop.toml", {}, {"home": str(folder / "home")})
    house = open_house(settings)
    loop = open_loop(settings, house=house)
    loop.decide_many(
        [
            Opportunity(opportunity_id=str(i), at=NOW, campaign_id="shoes", keyword=f"kw{i}", device="mobile")
            for i in range(10)
        ]
    )
    Features(house).catalogue.keep(loop.view)
    house.close()
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(trained, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def bidloop(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `bidloop features` in the folder of a copy of the home."""

    def run(*arguments: object, home: object = "home") -> Ended:
        capsys.readouterr()
        options = [] if arguments[0] == "docs" else ["--home", str(home)]
        monkeypatch.setattr("sys.argv", ["bidloop", "features", *map(str, arguments), *options])
        with pytest.raises(SystemExit) as end:
            main()
        told = capsys.readouterr()
        return Ended(end.value.code if isinstance(end.value.code, int) else 0, told.out, told.err)

    return run


def house_of(folder: Path, **changes: Any) -> House:
    return open_house(load_settings(folder / "bidloop.toml", {}, {"home": str(folder / "home")} | changes))


def set_features(folder: Path, lines: str) -> None:
    """The settings with these lines under [features]."""
    (folder / "bidloop.toml").write_text(CONFIG + lines)


def refused(ended: Ended, *words: str) -> None:
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("bidloop: ")
    assert ended.err.count("\n") == 1
    for word in words:
        assert word in ended.err


@pytest.mark.parametrize("command", ["list", "show", "diff", "lineage", "backfill", "health", "docs"])
def test_every_command_says_what_it_is_for(bidloop: Run, command: str) -> None:
    ended = bidloop(command, "--help")
    assert ended.code == 0
    assert f"bidloop features {command}" in ended.out


def test_features_are_listed_with_all_that_is_said_of_them(bidloop: Run) -> None:
    listed = bidloop("list", "--json").json
    view = campaign_view()
    assert listed["view"] == view.version
    assert [one["name"] for one in listed["features"]] == [*view.categorical_names, *view.numeric_names]
    for one in listed["features"]:
        assert one["kind"]
        assert one["missing"]
        assert one["owner"]
        assert one["description"]
    table = bidloop("list").out
    assert "keyword_conversion_rate" in table
    assert "half-life 14d" in table


def test_a_list_is_narrowed_by_kind_and_entity(bidloop: Run) -> None:
    rates = bidloop("list", "--kind", "rate", "--entity", "keyword", "--json").json["features"]
    assert [one["name"] for one in rates] == ["keyword_ctr", "keyword_conversion_rate"]
    assert bidloop("list", "--kind", "ratio", "--json").json["features"] == []  # a kind, of which this view has none
    refused(bidloop("list", "--entity", "keywrod"), "no entity 'keywrod'", "Did you mean 'keyword'?")
    refused(bidloop("list", "--kind", "raito"), "no kind 'raito'", "Did you mean 'ratio'?")


def test_names_are_never_folded_and_a_narrow_list_says_less(bidloop: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = bidloop("list").out.splitlines()
    assert any("keyword_log_impressions" in line and "count" in line and "as a logarithm." in line for line in wide)
    monkeypatch.setattr(terminal.out, "width", 80)
    narrow = bidloop("list").out
    assert max(map(len, narrow.splitlines())) <= 80
    assert "half-life" not in narrow
    for name in campaign_view().numeric_names:
        assert re.search(rf"^ +{name} ", narrow, flags=re.M)


def test_views_are_listed_with_who_uses_them(bidloop: Run, folder: Path) -> None:
    [one] = bidloop("list", "--views", "--json").json
    assert (one["version"], one["present"], one["champion"]) == (campaign_view().version, True, True)
    assert one["kept_at"]
    set_features(folder, 'signals = ["campaign"]\n')
    first, second = bidloop("list", "--views", "--json").json
    assert (first["present"], first["champion"], len(first["models"])) == (False, True, 1)
    assert (second["present"], second["champion"], second["models"], second["kept_at"]) == (True, False, [], None)
    assert "champion's" in bidloop("list", "--views").out


def test_a_feature_is_shown_in_full_with_its_values(bidloop: Run, folder: Path) -> None:
    shown = bidloop("show", "keyword_ctr", "--json").json
    assert shown["card"]["formula"] == "(clicks + 2) / (impressions + 2 / ad_group_ctr)"
    assert shown["amounts"]["clicks"][:2] == ["click_received (counted)", "campaign_reported.clicks (added)"]
    assert shown["models"] == [(folder / "home" / "models" / "champion").read_text().strip()]
    recorded = [one.features.numeric["keyword_ctr"] for one in house_of(folder).decisions.recent(10)]
    values = shown["values"]
    assert (values["decisions"], values["missing"]) == (10, 0)
    assert values["quantiles"]["lowest"] == min(value for value in recorded if value is not None)
    assert values["quantiles"]["median"] == np.median([value for value in recorded if value is not None])
    assert "clicks + 2" in bidloop("show", "keyword_ctr").out
    category = bidloop("show", "device", "--json").json["values"]
    assert (category["common"], category["quantiles"]) == ({"mobile": 10}, {})
    assert bidloop("show", "location", "--json").json["values"]["missing"] == 10
    refused(bidloop("show", "keyword_crt"), "no feature 'keyword_crt'", "Did you mean 'keyword_ctr'?")


def test_a_feature_that_no_decision_knows_says_so(bidloop: Run, folder: Path) -> None:
    set_features(folder, 'signals = ["campaign"]\n')
    assert bidloop("show", "ctr_7d", "--json").json["values"] is None
    assert "No decision" in bidloop("show", "ctr_7d").out
    assert bidloop("show", "keyword_ctr", "--view", "champion", "--json").json["values"]["decisions"] == 10


def test_a_view_is_shown_by_the_beginning_of_its_version_from_catalogue_or_model(bidloop: Run, folder: Path) -> None:
    version = campaign_view().version
    assert bidloop("show", version[:4], "--json").json["version"] == version
    assert bidloop("show", "champion", "--json").json["definition"]["name"] == "campaign"
    shutil.rmtree(folder / "home" / "views")  # the model holds its own
    assert "Entities" in bidloop("show", version[:4]).out
    set_features(folder, 'signals = ["calendar"]\n')  # and the present one was never kept
    present = bidloop("show", "present", "--json").json["version"]
    assert bidloop("show", present, "--json").json["version"] == present != version
    assert bidloop("show", "serving", "--json").json["version"] == version
    refused(bidloop("lineage", "--view", "0000"), "no feature view '0000'")


def test_a_damaged_view_is_told_of_by_those_alone_who_ask_for_it(bidloop: Run, folder: Path) -> None:
    (folder / "home" / "views" / "0123456789ab.json").write_text("{")
    assert bidloop("show", "keyword_ctr").code == bidloop("show", campaign_view().version).code == 0
    refused(bidloop("show", "0123"), "0123456789ab.json")
    refused(bidloop("list", "--views"), "0123456789ab.json")


def test_a_feature_goes_before_the_beginning_of_a_version(bidloop: Run, folder: Path) -> None:
    name = campaign_view().version[:3]
    (folder / "own.toml").write_text(
        f'[[signals]]\nkind = "total"\nname = "{name}"\nentity = "campaign"\namount = "clicks"\nover_days = 1\n'
    )
    set_features(folder, 'definitions = "own.toml"\n')
    assert bidloop("show", name, "--json").json["card"]["name"] == name


def test_two_views_are_compared(bidloop: Run, folder: Path) -> None:
    same = bidloop("diff", "champion", "present")
    assert (same.code, "are the same" in same.out) == (0, True)
    set_features(folder, 'signals = ["calendar"]\nresolution_seconds = 1.0\n')
    told = bidloop("diff", "champion", "present", "--json").json
    assert set(told["added"]) == {"day_of_month", "is_weekend", "year_sin", "year_cos", "season"}
    assert told["removed"] == []
    assert [(one["feature"], one["what"], one["after"]) for one in told["changed"]] == [("", "resolution_seconds", 1.0)]
    table = bidloop("diff", "present", "champion")
    assert table.code == 0
    assert "- season" in table.out


def test_a_changed_half_life_is_seen_in_each_feature_that_it_changes() -> None:
    told = difference(campaign_view(), campaign_view(half_life_days=7.0))
    assert (told.added, told.removed) == ((), ())
    changed = {one.feature for one in told.changed if one.what == "over"}
    assert changed == {name for name in campaign_view().numeric_names if not name.startswith(("hour", "weekday"))}


def test_entities_and_amounts_that_no_feature_changes_by_are_told_of() -> None:
    carts = Amount(name="carts", event="form_submitted")
    more = msgspec.structs.replace(campaign_view(), amounts=(carts,), entities=(Entity(name="user", key=("user_id",)),))
    told = difference(campaign_view(), more)
    assert [(one.what, one.before) for one in told.changed] == [
        (f"entity 'user' {UNUSED}", None),
        (f"amount 'carts' {UNUSED}", None),
    ]
    used = msgspec.structs.replace(more, signals=(Total(name="carts_1d", entity="user", amount="carts", over_days=1),))
    assert difference(campaign_view(), used).changed == ()
    forms = msgspec.structs.replace(
        used, amounts=(Amount(name="carts", event="form_submitted", where={"form_id": "a"}),)
    )
    assert {one.feature for one in difference(used, forms).changed} == {"carts_1d"}


def test_views_of_two_versions_are_never_the_same_in_words() -> None:
    base, entities = campaign_view(), (Entity(name="user", key=("user_id",)), Entity(name="place", key=("location",)))
    ordered = [msgspec.structs.replace(base, entities=some) for some in (entities, entities[::-1])]
    assert [one.what for one in difference(*ordered).changed] == ["definition"]
    rates = [msgspec.structs.replace(one, strength=one.strength + 1e-9) for one in base.rates]
    told = difference(base, msgspec.structs.replace(base, rates=tuple(rates)))
    assert {(one.feature, one.what) for one in told.changed} >= {("keyword_ctr", "definition")}


def test_lineage_leads_from_events_to_decisions(bidloop: Run, folder: Path) -> None:
    told = bidloop("lineage", "keyword_ctr", "--json").json
    champion = (folder / "home" / "models" / "champion").read_text().strip()
    assert (told["decisions"], told["looked_at"]) == ({champion: 10}, 10)
    sources = {(edge["source"]["name"], edge["source"]["field"]) for edge in told["edges"]}
    assert {("click_received", ""), ("campaign_reported", "clicks"), ("opportunity", "keyword")} <= sources
    tree = bidloop("lineage", "keyword_ctr").out
    for word in ("amount clicks", "event click_received", champion, "10 of the last 10 decisions"):
        assert word in tree
    every = bidloop("lineage").out
    assert "event campaign_reported" in every
    assert "opportunity" in every
    refused(bidloop("lineage", "keyword_crt"), "Did you mean 'keyword_ctr'?")


def test_lineage_is_sent_where_it_is_asked_to_and_nowhere_else(bidloop: Run, folder: Path) -> None:
    before = sorted(folder.iterdir())
    assert "Sent" not in bidloop("lineage").err
    assert sorted(folder.iterdir()) == before
    assert "Sent 3" in bidloop("lineage", "--emit", "out/lineage.jsonl").err
    jobs = [json.loads(line)["job"]["name"] for line in (folder / "out" / "lineage.jsonl").read_text().splitlines()]
    assert jobs == ["bidloop.features", "bidloop.train", "bidloop.decide"]
    assert "to out/lineage.jsonl." in bidloop("lineage", "--emit", "out/lineage.jsonl").err
    sent = bidloop("lineage", "--emit", "ftp://nowhere")
    assert sent.code == 2
    assert "expected a file, or the http:// or https:// address" in sent.err


def test_a_training_is_told_with_the_features_that_its_model_reads(folder: Path) -> None:
    house = house_of(folder, features={"lineage": str(folder / "runs.jsonl")})
    version = house.shelf.champion()
    assert version is not None
    with told_training(house, campaign_view()) as run:
        run.trained(version)
    start, complete = map(json.loads, (folder / "runs.jsonl").read_text().splitlines())
    assert (start["eventType"], complete["eventType"]) == ("START", "COMPLETE")
    assert start["job"]["namespace"] == namespace_of(house) == f"file://{house.home.resolve()}"
    [model] = complete["outputs"]
    read = {one["field"] for one in model["facets"]["columnLineage"]["fields"]["ctr"]["inputFields"]}
    assert {"keyword_ctr", "cell_ctr"} <= read <= {*campaign_view().numeric_names, *campaign_view().categorical_names}


def test_a_namespace_names_the_database_but_not_who_opens_it(folder: Path) -> None:
    house = house_of(folder)
    settings = load_settings(environment={}, overrides={"database": "postgresql://me:geheim@db.shop/bids"})
    other = House(**{name: getattr(house, name) for name in House.__dataclass_fields__} | {"settings": settings})
    assert namespace_of(other) == "postgres://db.shop:5432/bids"


def test_features_are_fine_while_events_come_and_stale_when_they_stop(bidloop: Run, folder: Path) -> None:
    limits = ("--stale-hours", "24")
    set_features(folder, "")
    told = json.loads(bidloop("health", *limits, "--json").out)
    states = {one["name"]: one["verdict"] for one in told["features"]}
    assert (told["decisions"], told["other_views"]) == (10, {})
    assert states["keyword_ctr"] == states["device"] == "fine"
    assert states["location"] == "missing everywhere"  # the report does not tell it
    [one] = [one for one in told["features"] if one["name"] == "keyword_ctr"]
    assert (one["availability"], one["missing"], one["outside"]) == (1.0, 0.0, 0.0)
    assert 3600 <= one["fresh_seconds"] < 86_400 * 1.5
    table = bidloop("health", *limits)
    assert table.code == 1
    assert "are not fine" in table.out


def test_decisions_of_another_view_are_not_judged(bidloop: Run, folder: Path) -> None:
    set_features(folder, 'signals = ["calendar"]\n')
    told = json.loads(bidloop("health", "--view", "present", "--json").out)
    assert (told["decisions"], told["other_views"]) == (0, {campaign_view().version: 10})
    ended = bidloop("health", "--view", "present")
    assert (ended.code, "no decision" in ended.out) == (1, True)
    assert json.loads(bidloop("health", "--json").out)["decisions"] == 10  # what serves


def test_decisions_without_features_are_something_wrong(bidloop: Run, folder: Path) -> None:
    set_features(folder, 'signals = ["calendar"]\n')
    house = house_of(folder)
    [one] = house.decisions.recent(1)
    blind = msgspec.structs.replace(one, decision_id="blind", features=FeatureVector(UNAVAILABLE, {}, {}))
    house.decisions.record([blind])
    ended = bidloop("health", "--view", "present")
    assert (ended.code, "1 decisions were made without features" in ended.out) == (1, True)
    told = json.loads(bidloop("health", "--view", "present", "--json").out)
    assert (told["without_features"], told["other_views"]) == (1, {campaign_view().version: 10})


def test_where_nothing_was_looked_at_nothing_is_fine(bidloop: Run, tmp_path: Path) -> None:
    ended = bidloop("health", home=tmp_path / "empty")
    assert (ended.code, "Nothing to look at" in ended.out, "features are fine" in ended.out) == (1, True, False)
    told = json.loads(bidloop("health", "--json", home=tmp_path / "empty").out)
    assert {one["verdict"] for one in told["features"]} == {"not seen"}


def test_the_exit_code_is_0_where_all_is_fine(bidloop: Run, folder: Path) -> None:
    assert bidloop("health").code == 1  # no decision tells a location or an ad group
    house = house_of(folder)
    told = {"ad_group_id": "running", "keyword": "kw1", "device": "mobile", "location": "DE"}
    full = Opportunity(opportunity_id="full", at=NOW, campaign_id="shoes", **told)
    open_loop(house.settings, house=house).decide_many([full])
    ended = bidloop("health")
    assert (ended.code, "features are fine" in ended.out) == (0, True)


@pytest.mark.parametrize("limit", ["0", "-0.1", "1.1", "nan"])
def test_a_share_that_is_none_is_refused(bidloop: Run, limit: str) -> None:
    assert bidloop("health", "--missing", limit).code == 2


def test_old_events_told_last_make_nothing_stale(folder: Path) -> None:
    house = house_of(folder)
    before = feature_health(house, campaign_view(), 10, Thresholds())
    old = [PageViewed(event_id=f"p{i}", at=NOW - timedelta(days=400), user_id="u") for i in range(10_000)]
    house.log.append([*old, ClickReceived(event_id="c", at=NOW - timedelta(days=400), impression_id="i")])
    after = feature_health(house, campaign_view(), 10, Thresholds())
    assert after.newest["campaign_reported"] == before.newest["campaign_reported"] > NOW - timedelta(days=2)
    assert [one.verdict for one in after.features] == [one.verdict for one in before.features]


def test_a_backfill_writes_a_file(bidloop: Run, folder: Path) -> None:
    pytest.importorskip("ibis")
    told = bidloop("backfill", "-o", "features.parquet", "--rows", "20", "--json").json
    assert (told["rows"], told["view"]) == (20, campaign_view().version)
    assert (folder / "features.parquet").stat().st_size > 0


@pytest.mark.parametrize("command", [("docs",), ("backfill",)])
def test_a_file_that_cannot_be_written_is_found_out_before_any_work(
    bidloop: Run, folder: Path, command: tuple[str]
) -> None:
    (folder / "file").touch()
    (folder / "folder.parquet").mkdir()
    for output in ("folder.parquet", "file/rows.parquet", f"{'x' * 300}.parquet"):
        refused(bidloop(*command, "-o", folder / output), "cannot be written", "Set --output.")


@pytest.mark.parametrize(
    "command",
    [("show", "keyword_ctr", "--last"), ("lineage", "--last"), ("health", "--last"), ("backfill", "-o", "f", "--rows")],
)
def test_numbers_beyond_all_reason_are_refused(bidloop: Run, command: tuple[str, ...]) -> None:
    assert bidloop(*command, 2**63).code == 2


def test_the_published_reference_is_that_of_the_code(bidloop: Run, tmp_path: Path) -> None:
    # 'bidloop features docs -o docs/feature-reference.md' writes it anew.
    assert (ROOT / "docs" / "feature-reference.md").read_text(encoding="utf-8") == reference()
    assert bidloop("docs").out == reference()
    assert bidloop("docs", "-o", tmp_path / "page.md").code == 0
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == reference()


def test_prometheus_reads_how_the_features_are(folder: Path) -> None:
    loop = open_loop(house_of(folder).settings)
    health = FeatureHealth(loop.view)
    about = Opportunity(opportunity_id="o", at=NOW, campaign_id="shoes", keyword="kw1", device="mobile")
    health.add(loop.features.read([about, about]))
    health.failed()
    health.saw([ClickReceived(event_id="c", at=NOW - timedelta(seconds=30), impression_id="i")])
    health.saw([PageViewed(event_id="p", at=NOW, user_id="u")])  # no feature is made of it
    page = Metrics(loop.predictor, features=health, clock=ManualClock(NOW)).page().decode()
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    assert samples["bidloop_feature_reads_total",] == samples["bidloop_feature_read_failures_total",] == 1
    assert samples["bidloop_feature_rows_total",] == 2
    assert samples["bidloop_feature_missing_total", "location"] == 2
    assert samples["bidloop_feature_missing_total", "keyword_ctr"] == 0
    assert samples["bidloop_feature_out_of_range_total", "keyword_ctr"] == 0
    assert ("bidloop_feature_out_of_range_total", "device") not in samples  # it has no range
    assert samples["bidloop_feature_freshness_seconds", "click_received"] == 30
    assert ("bidloop_feature_freshness_seconds", "page_viewed") not in samples
