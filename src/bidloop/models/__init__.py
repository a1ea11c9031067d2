"""What learns in batch: from labelled rows to rates of click and conversion, and from bids to the chance of winning.

Labelled rows (`core.examples.Examples`) go in; trained models (`core.trained_model.TrainedModel`) come out, each an
ONNX graph with the encoding of its input, so that serving needs none of what training needs.

| question | file |
|---|---|
| Train every candidate, earlier days to fit, later days to choose | `fit` |
| Every kind of model in one table: how it is tried, and how it is fitted again | `kinds` |
| What can be set about each kind, and where to look for better | `hyperparameters` |
| Look for better settings as long as there is time | `tuning` |
| What a tuning found | `tuned` |
| The later days that settings are compared on | `folds` |
| Feature table → floats and slots | `encoding` |
| What a model fits: rows with down-sampling made even, and undone in the intercept | `rows` |
| Rates and volumes relative to the account's own | `relative` |
| Slots of a category as 0 … seen | `levels` |
| One rate for all | `constant` |
| The cell's own smoothed rate | `smoothed` |
| Logistic regression whose penalties are learned, one per field | `logistic` |
| Logistic regression learned row by row (FTRL-Proximal), with crosses | `ftrl` |
| Which pairs of categories are worth a category of their own | `crosses` |
| Gradient-boosted trees, and boosting itself | `trees`, `boosting` |
| The performance network: two heads, entire-space loss; DCN-V2 and DeepFM on the same inputs | `network` |
| Average of the log odds of a few | `ensemble` |
| The constant that makes predictions sum to what happened | `level` |
| Chance of winning as a function of the bid | `landscape` |
| What every kind of model can do, and its export | `candidate` |
| ONNX graphs, node by node | `graph` |

A new kind of model is one file with a class that has what `candidate.Candidate` asks for, and one line in `kinds`.
"""
