from __future__ import annotations

import numpy as np
import pytest

from bidloop.core.errors import InvalidInput
from bidloop.core.opportunity import Charge
from bidloop.experiments.auctions import Auctions, Objective


def test_worth_follows_the_objective_and_what_the_price_is_for() -> None:
    columns = {"ctr": [0.1], "conversion_rate": 0.5, "order_value": 8.0, "market_price": 1.0, "click": 1.0}
    per_mille, per_click = Auctions.of(**columns), Auctions.of(**columns, charge=Charge.PER_CLICK)
    assert per_mille.worth(Objective.CLICKS)[0] == pytest.approx(0.1)
    assert per_mille.worth(Objective.CONVERSIONS)[0] == pytest.approx(0.05)
    assert per_mille.worth(Objective.VALUE)[0] == pytest.approx(0.4)
    assert per_click.worth(Objective.CLICKS)[0] == 1.0
    assert per_click.worth(Objective.VALUE)[0] == pytest.approx(4.0)


def test_a_row_costs_its_weight_in_the_unit_of_its_price() -> None:
    columns = {"ctr": [0.1, 0.1], "market_price": 20.0, "click": [0.0, 1.0], "weight": 3.0}
    assert Auctions.of(**columns, charge=None).cost.tolist() == [60.0, 60.0]
    assert Auctions.of(**columns, charge=Charge.PER_MILLE).cost == pytest.approx([0.06, 0.06])
    assert Auctions.of(**columns, charge=Charge.PER_CLICK).cost.tolist() == [0.0, 60.0]
    assert Auctions.of(**columns, charge=Charge.PER_CLICK).charges == pytest.approx([0.3, 0.3])


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("ctr", np.nan),
        ("ctr", 1.5),
        ("market_price", -1.0),
        ("market_price", np.inf),
        ("click", 2.0),
        ("weight", 0.0),
        ("value", np.nan),
    ],
)
def test_a_number_that_makes_no_sense_is_refused_with_its_column(column: str, value: float) -> None:
    columns = {"ctr": [0.1, 0.1], "market_price": 1.0, "click": 0.0} | {column: [0.5, value]}
    with pytest.raises(InvalidInput, match="row 1") as error:
        Auctions.of(**columns)
    assert error.value.path == column


def test_columns_of_different_lengths_and_times_that_go_back_are_refused() -> None:
    with pytest.raises(InvalidInput, match="3 values of click for 2"):
        Auctions.of(ctr=[0.1, 0.2], market_price=1.0, click=[0.0, 1.0, 0.0])
    back = np.array(["2026-01-02", "2026-01-01"], dtype="datetime64[us]")
    with pytest.raises(InvalidInput, match="out of order"):
        Auctions.of(ctr=[0.1, 0.2], market_price=1.0, click=0.0, at=back)


def test_taking_rows_keeps_every_column_and_the_charge() -> None:
    auctions = Auctions.of(ctr=[0.1, 0.2, 0.3], market_price=[1.0, 2.0, 3.0], click=0.0, charge=None)
    taken = auctions.take(np.array([0, 2]))
    assert taken.ctr.tolist() == [0.1, 0.3]
    assert taken.market_price.tolist() == [1.0, 3.0]
    assert taken.charge is None
