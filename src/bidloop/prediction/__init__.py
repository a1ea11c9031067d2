"""What will happen if we show this? Predicted rates, how sure they are, and what a bid would win.

In come opportunities and their feature values; out go predicted rates with intervals, the bid landscape, and what moved
the prediction. A model arrives as a bundle: ONNX graphs and what was learned beside them, checked by their hashes.

| notion | file |
|---|---|
| the model on disk: graphs, calibration, intervals, order values, version | `bundle` |
| an ONNX graph that scores rows, each row alone or in a batch to the same bits | `scoring` |
| probabilities that mean what they say | `calibration` |
| the interval of the true rate and that of the coming one, and how often they held | `intervals` |
| the intervals of an answer, with and without a model | `rate_intervals` |
| how much a rate can be leaned on, from 0 to 1 | `confidence` |
| what a conversion is worth, and how far groups of orders lie apart | `order_value`, `order_levels` |
| all of these in one call, with a declared answer when the model is missing | `predictor` |
| how good predictions were | `quality` |
| do they come true, by bins, tiers and fields | `reliability` |
| the knobs | `settings` |

Training frameworks are never imported here, so a server that predicts needs none of them.
"""
