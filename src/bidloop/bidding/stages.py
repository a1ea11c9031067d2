"""One opportunity's way through the stages, each a function from the bid before it to the bid after it."""

from __future__ import annotations

from bidloop.bidding.consent import Consent
from bidloop.bidding.exploration import Exploration
from bidloop.bidding.guardrails import limits
from bidloop.bidding.reasons import amount
from bidloop.bidding.scaling import scale
from bidloop.bidding.sentences import SENTENCES
from bidloop.bidding.settings import BiddingSettings
from bidloop.bidding.shading import best_first_price_bid
from bidloop.bidding.value import LARGEST, worth
from bidloop.core.decision import BidStage, BidState
from bidloop.core.landscape import Landscape
from bidloop.core.money import MICROS
from bidloop.core.opportunity import Auction, Opportunity
from bidloop.core.prediction import Prediction

STAGES = ("value", "shading", "pacing", "exploration", "step_limit", "cap_and_floor", "control", "ledger")
"""The stages, in the order in which they are passed."""

_EXPLORATION = STAGES.index("exploration")


class Walk:
    """The stages as one opportunity meets them. What a stage does depends on the bid that comes to it and on nothing before.

    So the way can be gone again from any bid, and with a stage left out: that gives the probability of each bid that may be
    sent, and what would have been bid without a limit.

    Parameters
    ----------
    exploration
        `None` where nothing is tried out.
    landscape
        Usable, or `None`.
    """

    __slots__ = (
        "_exploration",
        "_floor",
        "_free",
        "_landscape",
        "_opportunity",
        "_rails",
        "_settings",
        "_state",
        "bounds",
        "consent",
        "scale",
        "shades",
        "value",
    )

    def __init__(
        self,
        settings: BiddingSettings,
        exploration: Exploration | None,
        opportunity: Opportunity,
        prediction: Prediction,
        landscape: Landscape | None,
        state: BidState,
    ) -> None:
        self._settings, self._exploration = settings, exploration
        self._opportunity, self._landscape, self._state = opportunity, landscape, state
        self.value = worth(settings, opportunity, prediction, state)
        self.scale = scale(settings, state)
        self.bounds = bounds = limits(settings, opportunity, prediction.ctr, state)
        self.consent = Consent(settings, opportunity, landscape, state, bounds)
        self.shades = settings.shading and opportunity.auction is Auction.FIRST_PRICE and not self.value.held
        self._floor = max(0.0, bounds.floor / MICROS)
        self._free = bounds.free if self.consent.given else (1, 0)
        self._rails = (bounds.step, bounds.bound, self.consent.decide, bounds.afford)

    def stages(self) -> list[BidStage]:
        """The whole way, stage by stage, with what each says."""
        value = self.value
        said = [BidStage(name="value", before=0, after=value.micros, code=value.code, sentence=value.sentence)]
        bid = value.micros
        for name, stage in zip(STAGES[1:], (self.shade, self.pace, self.explore, *self._rails), strict=True):
            before = bid
            bid, code = stage(before)
            sentence = SENTENCES[name][code]
            if "{" in sentence:
                sentence = sentence.format_map(self.facts(before, bid, code))
            said.append(BidStage(name=name, before=before, after=bid, code=code, sentence=sentence))
        return said

    def without(self, stage: int, before: int) -> int:
        """The bid that would have been sent if one stage had let the bid pass that came to it.

        Parameters
        ----------
        stage
            Its place in `STAGES`.
        before
            The bid that came to it.
        """
        if stage > _EXPLORATION:
            bid = before
            for rail in self._rails[stage - _EXPLORATION :]:
                bid = rail(bid)[0]
            return bid
        bid = before
        if STAGES[stage] == "shading":
            bid = self.pace(bid, shaded=False)[0]
        return self.land(bid if stage == _EXPLORATION else self.explore(bid)[0])

    def land(self, bid: int) -> int:
        """Where an explored bid ends after all that follows."""
        lowest, highest = self._free
        if lowest <= bid <= highest:
            return bid
        step, bound, control, afford = self._rails
        return afford(control(bound(step(bid)[0])[0])[0])[0]

    def shade(self, bid: int) -> tuple[int, str]:
        """Under first price the bid that is best for the value."""
        if bid <= 0:
            return 0, "no_bid"
        if self.value.held:
            return bid, "held"
        if self._opportunity.auction is Auction.SECOND_PRICE:
            return bid, "second_price"
        if not self._settings.shading:
            return bid, "off"
        if self._landscape is None:
            return bid, "no_landscape"
        return self._best(bid), "shaded"

    def pace(self, bid: int, *, shaded: bool = True) -> tuple[int, str]:
        """The multiplier of budget and target on the value; shaded anew where the bid is shaded.

        The duals price money, so they scale the value before the optimum is sought: the best bid for the scaled value, which is
        above the scaled best bid. The value itself is bounded by the most that the objective lets it be.
        """
        if bid <= 0:
            return 0, "no_bid"
        if self.scale <= 0:
            return 0, "invalid_multiplier"
        if self.value.held:
            return bid, "held"
        if self.scale == 1.0:
            return bid, "unpaced"
        value = min(self.value.micros * self.scale, LARGEST)
        bounded = value > self.value.most
        value = min(value, self.value.most)
        after = self._best(value) if shaded and self.shades else round(value)
        if self.scale < 1:
            return min(bid, after), "paced"
        return max(bid, after), "at_most" if bounded else "raised"

    def explore(self, bid: int) -> tuple[int, str]:
        """The bid of the grid that the draw falls on."""
        if bid <= 0:
            return 0, "no_bid"
        if self.value.held:
            return bid, "held"
        if self._exploration is None:
            return bid, "off"
        chosen = self._exploration.chosen(self._state.draw)
        return self._exploration.arms(bid)[chosen], "explored" if chosen else "plain"

    def landings(self, paced: int) -> dict[int, float]:
        """The bids that may be sent instead of a paced one, itself among them, with the probability of each.

        Probabilities of arms that end at the same bid are added up.
        """
        if self._exploration is None or paced <= 0 or self.value.held:
            return {self.land(paced): 1.0}
        ending: dict[int, float] = {}
        for arm, probability in zip(self._exploration.arms(paced), self._exploration.probabilities, strict=True):
            end = self.land(arm)
            ending[end] = ending.get(end, 0.0) + probability
        return {bid: min(1.0, probability) for bid, probability in ending.items()}

    def facts(self, before: int, after: int, code: str) -> dict[str, object]:
        """What the sentences name."""
        currency, state = self._opportunity.currency, self._state
        if code in ("paced", "raised"):
            return {"scale": self.scale}
        if code in ("plain", "explored") and self._exploration is not None:
            return {"probability": self._exploration.probabilities[code == "explored"]}
        told: dict[str, object] = {"bid": amount(after, currency), "floor": amount(self.bounds.floor, currency)}
        told |= {"scale": self.scale, "budget": state.multiplier, "target": state.target_multiplier}
        if code in ("stopped", "off", "preview", "awaiting_approval", "approved"):
            told["stopped"] = state.stopped
            told["standing"] = f"{told['bid']} stays" if after > 0 else "no bid is in force, and none is made"
            told["would"] = amount(self.bounds.afford(before)[0], currency)
            told["approved"] = "" if state.approved is None else amount(state.approved.micros, currency)
        if code == "awaiting_approval":
            change = self.consent.change(before)
            told["change"] = "what it changes in the cell's daily spend is not known"
            if change is not None:
                by = f"{'-' if change < 0 else '+'}{amount(abs(change) * MICROS, currency)}"
                told["change"] = f"it would change the cell's daily spend by {by}"
        return told

    def _best(self, value: float) -> int:
        """The best first-price bid for a value in micros; the value itself where no landscape is known."""
        if self._landscape is None:
            return round(value)
        return min(int(value), round(best_first_price_bid(self._landscape, value / MICROS, self._floor) * MICROS))
