"""What becomes an input of the models, and what does not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bidloop.core.encoding import UNSEEN
from bidloop.core.examples import Examples
from bidloop.core.feature_table import FeatureTable
from bidloop.models.encoding import fit_encoding
from bidloop.models.relative import Relative


def test_counts_of_the_past_are_left_out(log: Callable[..., Examples]) -> None:
    names = [field.name for field in fit_encoding(log()).numeric]
    assert "cell_ctr" in names
    assert not [name for name in names if name.endswith("impressions")]


def test_weekdays_are_left_out_until_training_spans_two_weeks(log: Callable[..., Examples]) -> None:
    rows = log(300)
    weekday = np.array([str(i % 5) for i in range(300)], dtype=object)
    table = FeatureTable("view1", rows.features.numeric, {**rows.features.categorical, "weekday": weekday})
    short = Examples(table, rows.at, rows.impressions, rows.clicks, rows.conversions, rows.value, rows.weight)
    week = np.datetime64("2026-01-05", "us") + np.linspace(0, 20 * 86_400_000_000, 300).astype("timedelta64[us]")
    long = Examples(table, week, rows.impressions, rows.clicks, rows.conversions, rows.value, rows.weight)
    assert "weekday" not in [field.name for field in fit_encoding(short).categories]
    assert "weekday" in [field.name for field in fit_encoding(long).categories]


def test_a_value_that_training_did_not_see_is_unseen(log: Callable[..., Examples]) -> None:
    rows = log(300)
    encoding = fit_encoding(rows)
    names = [field.name for field in encoding.categories]
    strange = rows.take(slice(0, 1)).features
    strange = FeatureTable("view1", strange.numeric, {**strange.categorical, "slot": np.array(["?"], dtype=object)})
    assert encoding.apply(strange)[1][0, names.index("slot")] == UNSEEN


def test_a_rate_twice_the_account_s_is_two_whatever_the_level(log: Callable[..., Examples]) -> None:
    encoding = fit_encoding(log())
    relative = Relative(encoding)
    names = [field.name for field in encoding.numeric]
    scale = {field.name: field.scale for field in encoding.numeric}
    row = np.zeros((2, len(names)), dtype=np.float32)
    for i, level in enumerate((0.1, 0.2)):
        row[i, names.index("account_ctr")] = level / scale["account_ctr"]
        row[i, names.index("cell_ctr")] = 2 * level / scale["cell_ctr"]
    ratio = relative.ratios(row)[:, relative.names.index("cell_ctr")] * scale["cell_ctr"] / scale["account_ctr"]
    np.testing.assert_allclose(ratio, [2, 2], rtol=1e-6)


def test_missing_numbers_become_the_typical_one(log: Callable[..., Examples]) -> None:
    encoding = fit_encoding(log())
    empty = log(1)
    table = FeatureTable(
        "view1", {name: np.array([np.nan]) for name in empty.features.numeric}, empty.features.categorical
    )
    numeric, _ = encoding.apply(table)
    assert np.isfinite(numeric).all()
    assert np.isfinite(Relative(encoding).logs(numeric)).all()
