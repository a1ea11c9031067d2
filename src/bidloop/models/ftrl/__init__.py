"""Logistic regression learned row by row, with crosses of categories: FTRL-Proximal.

McMahan et al., "Ad Click Prediction: a View from the Trenches", 2013, algorithm 1. Each weight has its own learning rate,
which falls with what it has learned; a weight whose gradients do not add up to more than the L1 penalty is exactly 0, so
that values met once or twice say nothing. One pass is a few array operations per batch of rows.

Changed: rows may be counts (a weight's learning rate falls as if each impression came alone, section 4.6), several passes
over the rows, stopping where later days no longer gain; the intercept has no penalty; numbers and rates of the past are
read beside the categories; and pairs of categories that the data ask for become categories of their own (`crosses`).

| question | file |
|---|---|
| What can be set | `settings` |
| The algorithm: state and step of one outcome's weights | `proximal` |
| What predicts, and its export | `model` |
| Choice of crosses, passes over the rows, early stopping | `fit` |
"""

from bidloop.models.ftrl.fit import fit_ftrl
from bidloop.models.ftrl.model import Ftrl
from bidloop.models.ftrl.settings import FtrlSettings

__all__ = ["Ftrl", "FtrlSettings", "fit_ftrl"]
