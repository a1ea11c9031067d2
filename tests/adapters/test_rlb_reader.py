from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from bidloop.adapters.rlb.reader import read_log
from bidloop.core.errors import InvalidInput, NotFound

TOTALS = {"imp_train": 1000, "clk_train": 4, "cost_train": 50_000, "price_counter_train": [0, 5, 995]}


def folder(tmp_path: Path, auctions: str = "0 70 0.002\n1 6 0.003\n", totals: object = TOTALS) -> Path:
    (tmp_path / "test.theta.txt").write_text(auctions)
    (tmp_path / "info.json").write_text(json.dumps(totals))
    return tmp_path


def test_plain_and_gzipped_logs_read_alike(tmp_path: Path) -> None:
    plain = read_log(folder(tmp_path))
    text = (tmp_path / "test.theta.txt").read_bytes()
    (tmp_path / "test.theta.txt").unlink()
    (tmp_path / "test.theta.txt.gz").write_bytes(gzip.compress(text))
    zipped = read_log(tmp_path)
    assert plain.auctions.ctr.tolist() == zipped.auctions.ctr.tolist() == [0.002, 0.003]
    assert zipped.auctions.cost.tolist() == [70.0, 6.0]
    assert zipped.auctions.click.tolist() == [0.0, 1.0]
    assert set(zipped.auctions.campaign) == {tmp_path.name}


def test_a_missing_folder_or_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no folder"):
        read_log(tmp_path / "9999")
    with pytest.raises(NotFound, match="no auctions"):
        read_log(tmp_path)
    (folder(tmp_path) / "info.json").unlink()
    with pytest.raises(NotFound, match=r"info\.json"):
        read_log(tmp_path)


@pytest.mark.parametrize(
    "auctions", ["", "0 70\n", "0 70 a\n", "0 70 0.1\n0 70\n", "0 70 1.5\n", "0 -1 0.5\n", "0 nan 0.5\n"]
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_a_log_that_makes_no_sense_is_refused(tmp_path: Path, auctions: str) -> None:
    with pytest.raises(InvalidInput):
        read_log(folder(tmp_path, auctions))


@pytest.mark.parametrize("totals", [[], {}, TOTALS | {"imp_train": 0}, TOTALS | {"cost_train": "much"}])
def test_totals_that_make_no_sense_are_refused(tmp_path: Path, totals: object) -> None:
    with pytest.raises(InvalidInput, match=r"info\.json"):
        read_log(folder(tmp_path, totals=totals))


def test_a_damaged_gzip_is_refused(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "test.theta.txt").unlink()
    (tmp_path / "test.theta.txt.gz").write_bytes(gzip.compress(b"0 70 0.002\n" * 1000)[:40])
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_log(tmp_path)
