"""A trained model as models hand it to prediction: an ONNX graph, how to encode its input, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from bidloop.core.encoding import Encoding
from bidloop.core.opportunity import Charge


@dataclass(frozen=True)
class TrainedModel:
    """One trained performance model.

    Parameters
    ----------
    name
        Kind of the model: ``constant``, ``smoothed``, ``logistic``, ``trees``, ``network``, ``ensemble``.
    onnx
        The graph. Inputs ``numeric`` float32 (n, d) and ``categories`` int64 (n, k), output ``logits`` float32 (n, 2): the
        log odds of a click given an impression, and of a conversion given a click.
    encoding
        How a feature table becomes the graph's inputs.
    parameters
        The hyper-parameters it was trained with, for the record.
    """

    name: str
    onnx: bytes
    encoding: Encoding
    parameters: dict[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainedLandscape:
    """One trained bid landscape.

    Parameters
    ----------
    onnx
        The graph. Inputs ``log_bid`` float32 (n, 1), ``numeric`` float32 (n, d) and ``categories`` int64 (n, k); output
        ``win_probability`` float32 (n, 1), non-decreasing in ``log_bid`` (natural log of the bid in account currency).
    encoding
        How a feature table becomes ``numeric`` and ``categories``.
    lowest, highest
        Range of bids in account currency that training saw; beyond it the landscape is extrapolation.
    charge
        What those bids were the price of; it says nothing about bids of the other kind.
    """

    onnx: bytes
    encoding: Encoding
    lowest: float
    highest: float
    charge: Charge = Charge.PER_CLICK
    parameters: dict[str, float | int | str] = field(default_factory=dict)
