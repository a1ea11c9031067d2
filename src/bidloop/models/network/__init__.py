"""The performance network: numbers and embeddings make a 128-wide input, on which two heads share a tower.

The heads give the chance of a click given an impression and of a conversion given a click. Both are learned on all
impressions (ESMM: Ma et al., "Entire Space Multi-Task Model", 2018, arXiv 1804.07931). We fit counts as well as single
impressions (binomial), and hide each category at random, so that the embedding of the unseen is trained and no single
field is leaned on.

| question | file |
|---|---|
| From rows to a trained network: epochs, when to stop, going on after a kill | `fit` |
| What can be set | `settings` |
| A trained network: predictions and export | `network` |
| What stands on the inputs, by name | `towers` |
| The hidden layers that all of them have | `deep` |
| The spec's network | `mlp` |
| With cross layers (DCN-V2) | `dcn` |
| With a factorisation machine (DeepFM) | `deepfm` |
| What is minimised: clicks and conversions over all impressions | `loss` |
| Steps of training | `training` |
| The running average of the weights | `averaging` |
| All embeddings in one table, updated where they are named | `embedding` |
| Order of rows, hidden categories and dropout, from the seed | `randomness` |
| What a killed training goes on from | `checkpoint` |
| Several processes that train one network | `distributed` |
"""

from bidloop.models.network.fit import fit_network
from bidloop.models.network.network import Network
from bidloop.models.network.settings import NetworkSettings

__all__ = ["Network", "NetworkSettings", "fit_network"]
