"""How many impressions of the whole log one sampled impression stands for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec

from bidloop.adapters.ipinyou.files import ADVERTISER, BIDID, NEEDED, bids, day_of, files, rows
from bidloop.core.errors import CorruptArtifact

OVERALL_WEIGHT = 1 / 0.00343
"""Impressions per sampled one over all advertisers: 41,999 of 12,237,087 were sampled, 0.343 %."""

DAYS = tuple(f"201306{day:02d}" for day in range(6, 13))
"""The days that the advertisers' totals are counted over."""


class _Totals(msgspec.Struct):
    imp_train: int
    clk_train: int


def sampling_weights(folder: Path, totals: Path | None = None) -> dict[str, float]:
    """Weight of an unclicked sampled impression, by advertiser, such that weighted counts equal those of the full log.

    The weight is ``(imp_train - clk_train) / sampled``, with the totals of the full log from the RLB benchmark's
    ``<advertiser>/info.json`` and the unclicked sampled impressions counted here. Clicks are complete and weigh 1.

    Parameters
    ----------
    folder
        The season-2 folder, with ``imp.*`` and ``clk.*`` files.
    totals
        The RLB folder; by default ``ipinyou_rlb_dp`` beside `folder`.

    Returns
    -------
    dict
        Advertiser to weight (about 290). Empty when the totals are not there or the sample does not cover all of
        their seven days: then `OVERALL_WEIGHT` is the best that is known.

    Raises
    ------
    CorruptArtifact
        When an ``info.json`` cannot be read.
    """
    totals = totals if totals is not None else folder.parent / "ipinyou_rlb_dp"
    days = {day_of(path) for path in files(folder, "imp")}
    if not totals.is_dir() or not set(DAYS) <= days:
        return {}
    clicked = bids(folder, "clk")
    sampled = Counter(advertiser for advertiser, bid in _sampled(folder) if bid not in clicked)
    weights = {}
    for advertiser, count in sorted(sampled.items()):
        info = totals / advertiser / "info.json"
        if not info.is_file():
            continue
        try:
            total = msgspec.json.decode(info.read_bytes(), type=_Totals)
        except msgspec.MsgspecError as error:
            raise CorruptArtifact(f"{info}: {error}", expected="imp_train and clk_train as whole numbers") from error
        weights[advertiser] = (total.imp_train - total.clk_train) / count
    return weights


def _sampled(folder: Path) -> set[tuple[str, str]]:
    """Advertiser and bid id of every sampled impression, each once."""
    return {
        (row[ADVERTISER], row[BIDID]) for path in files(folder, "imp") for _, row in rows(path) if len(row) >= NEEDED
    }
