"""Logged auctions, column by column: what was predicted, what the market asked, and what winning would have brought."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from bidloop.core.errors import InvalidInput
from bidloop.core.opportunity import Auction, Charge

RATES = frozenset({"ctr", "conversion_rate", "click"})


class Objective(StrEnum):
    """What a budget is spent for."""

    CLICKS = "clicks"
    CONVERSIONS = "conversions"
    VALUE = "value"


@dataclass(frozen=True)
class Auctions:
    """Auctions whose market price and outcome are known, in the order in which they took place.

    Parameters
    ----------
    at
        When, datetime64[us] in UTC, shape (n,), non-decreasing. A log without times may count up from any instant.
    campaign
        Whose budget pays, object array of `str`, shape (n,).
    ctr, conversion_rate
        Predicted P(click | impression) and P(conversion | click), float64 in [0, 1], shape (n,).
    order_value
        Predicted value of a conversion, account currency, float64, at least 0, shape (n,).
    market_price
        The lowest bid that wins, in the unit of `charge`, float64, at least 0, shape (n,).
    click
        Whether winning brings a click, float64 in [0, 1], shape (n,).
    conversion, value
        What else winning brings: conversions and their value in account currency, float64, at least 0, shape (n,).
    weight
        How many such auctions of the population one row stands for, float64, above 0, shape (n,). Only counted things
        that were sampled carry a weight: a row of weight w costs w times its price and brings w times its outcome.
    charge
        What a price is the price of: a click, a thousand impressions, or with `None` one impression.
    auction
        Whether the winner pays the market price or his own bid.

    Raises
    ------
    InvalidInput
        When columns differ in length, are not finite or leave their range, or the rows are not in order of time.

    Examples
    --------
    >>> two = Auctions.of(ctr=[0.1, 0.2], market_price=[2.0, 3.0], click=[0.0, 1.0], charge=None)
    >>> len(two), two.worth(Objective.CLICKS).tolist(), two.cost.tolist()
    (2, [0.1, 0.2], [2.0, 3.0])

    Paid by the click, the second is worth a whole click to whoever pays for one, and the first costs nothing:

    >>> two = Auctions.of(ctr=[0.1, 0.2], market_price=[2.0, 3.0], click=[0.0, 1.0], charge=Charge.PER_CLICK)
    >>> two.worth(Objective.CLICKS).tolist(), two.cost.tolist()
    ([1.0, 1.0], [0.0, 3.0])
    """

    at: NDArray[np.datetime64]
    campaign: NDArray[np.object_]
    ctr: NDArray[np.float64]
    conversion_rate: NDArray[np.float64]
    order_value: NDArray[np.float64]
    market_price: NDArray[np.float64]
    click: NDArray[np.float64]
    conversion: NDArray[np.float64]
    value: NDArray[np.float64]
    weight: NDArray[np.float64]
    charge: Charge | None = Charge.PER_MILLE
    auction: Auction = Auction.SECOND_PRICE

    def __post_init__(self) -> None:
        n = len(self.at)
        for name in (field.name for field in fields(self)[:10]):
            if len(getattr(self, name)) != n:
                raise InvalidInput(f"{len(getattr(self, name))} values of {name} for {n} auctions", path=name)
        for name in ("ctr", "conversion_rate", "order_value", "market_price", "click", "conversion", "value", "weight"):
            self._check_range(name, 1.0 if name in RATES else np.inf)
        if np.any(self.at[1:] < self.at[:-1]):
            raise InvalidInput("auctions out of order", path="at", expected="times that never go back")

    def _check_range(self, name: str, highest: float) -> None:
        column = getattr(self, name)
        wrong = ~(np.isfinite(column) & (column >= 0) & (column <= highest))
        if name == "weight":
            wrong |= column == 0
        if wrong.any():
            row = int(np.argmax(wrong))
            bound = "in [0, 1]" if highest == 1.0 else "above 0" if name == "weight" else "of at least 0"
            raise InvalidInput(f"{name} {column[row]} in row {row}", path=name, expected=f"a finite number {bound}")

    def __len__(self) -> int:
        return len(self.at)

    @classmethod
    def of(
        cls,
        *,
        ctr: object,
        market_price: object,
        click: object,
        conversion_rate: object = 0.0,
        order_value: object = 0.0,
        conversion: object = 0.0,
        value: object = 0.0,
        weight: object = 1.0,
        campaign: object = "",
        at: NDArray[np.datetime64] | None = None,
        charge: Charge | None = Charge.PER_MILLE,
        auction: Auction = Auction.SECOND_PRICE,
    ) -> Auctions:
        """Auctions from any sequences; a single number stands for a whole column, and without times a second passes."""
        n = len(np.atleast_1d(np.asarray(ctr)))

        def column(values: object) -> NDArray[np.float64]:
            given = np.asarray(values, dtype=np.float64)
            return np.full(n, float(given)) if given.ndim == 0 else given

        names = np.asarray(campaign, dtype=object)
        return cls(
            at=np.datetime64(0, "us") + np.arange(n) * np.timedelta64(1_000_000, "us") if at is None else at,
            campaign=np.full(n, campaign, dtype=object) if names.ndim == 0 else names,
            ctr=column(ctr),
            conversion_rate=column(conversion_rate),
            order_value=column(order_value),
            market_price=column(market_price),
            click=column(click),
            conversion=column(conversion),
            value=column(value),
            weight=column(weight),
            charge=charge,
            auction=auction,
        )

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Auctions:
        """The given rows; they must keep the order of time."""
        columns = {field.name: getattr(self, field.name)[rows] for field in fields(self)[:10]}
        return Auctions(**columns, charge=self.charge, auction=self.auction)

    def worth(self, objective: Objective) -> NDArray[np.float64]:
        """What is expected of one unit of what the price pays for: of a click, or of an impression; shape (n,)."""
        per_click = {
            Objective.CLICKS: np.ones(len(self)),
            Objective.CONVERSIONS: self.conversion_rate,
            Objective.VALUE: self.conversion_rate * self.order_value,
        }[objective]
        return per_click if self.charge is Charge.PER_CLICK else self.ctr * per_click

    def outcome(self, objective: Objective) -> NDArray[np.float64]:
        """What winning each row does bring, weights included; shape (n,)."""
        column = {Objective.CLICKS: self.click, Objective.CONVERSIONS: self.conversion, Objective.VALUE: self.value}
        return column[objective] * self.weight

    @property
    def charges(self) -> NDArray[np.float64]:
        """How many prices winning each row is expected to cost: ``ctr``, 1/1000 or 1, times the weight; shape (n,)."""
        per_row = {Charge.PER_CLICK: self.ctr, Charge.PER_MILLE: np.full(len(self), 0.001), None: np.ones(len(self))}
        return per_row[self.charge] * self.weight

    @property
    def liability(self) -> NDArray[np.float64]:
        """How many prices winning each row can cost at most, which is what the budget must still hold; shape (n,)."""
        return self.weight * (0.001 if self.charge is Charge.PER_MILLE else 1.0)

    @property
    def realised_charges(self) -> NDArray[np.float64]:
        """How many prices winning each row does cost: a click-priced row without a click costs nothing; shape (n,)."""
        if self.charge is Charge.PER_CLICK:
            return self.click * self.weight
        return self.liability

    @property
    def cost(self) -> NDArray[np.float64]:
        """What each row costs at its market price, shape (n,)."""
        return self.market_price * self.realised_charges
