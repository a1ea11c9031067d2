"""Which tower stands between the inputs and the two heads.

A tower is an `nn.Module` with three things: ``forward(numbers, embedded, drop)`` takes standardised numbers (n, numbers) and
embeddings (n, fields, width) to the log odds of a click and of a conversion given a click (n, 2), with `drop` as dropout;
``add(graph, numbers, embedded)`` adds the same to a graph, from one tensor (n, width) per field; and ``heads`` is its last
linear layer, whose bias is where the log odds start. In training with the doubly robust loss there is a third column: the
log odds of the imputed conversion.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bidloop.models.graph import Graph
from bidloop.models.network.dcn import DeepCross
from bidloop.models.network.deep import Drop, join
from bidloop.models.network.deepfm import DeepFM
from bidloop.models.network.mlp import Mlp
from bidloop.models.network.settings import NetworkSettings


class Imputing(nn.Module):
    """A tower with an imputation for the doubly robust loss beside it, which only training sees.

    The imputation is a line on the tower's inputs, and learns nothing into them: it must not know what the tower knows, or
    the correction would correct nothing.

    Parameters
    ----------
    tower
        What predicts.
    used
        Number of inputs.
    """

    def __init__(self, tower: Mlp | DeepCross | DeepFM, used: int) -> None:
        super().__init__()
        self.tower = tower
        self.imputed = nn.Linear(used, 1)
        for parameter in self.imputed.parameters():
            nn.init.zeros_(parameter)

    @property
    def heads(self) -> nn.Linear:
        """The tower's."""
        return self.tower.heads

    def forward(self, numbers: Tensor, embedded: Tensor, drop: Drop) -> Tensor:
        """The tower's log odds, shape (n, 2); in training (n, 3)."""
        out: Tensor = self.tower(numbers, embedded, drop)
        if not self.training:
            return out
        # From the conversion head's bias on, which starts at the average rate.
        imputed = self.imputed(join(numbers, embedded).detach()) + self.heads.bias[1].detach()
        return torch.cat((out, imputed), dim=1)

    def add(self, graph: Graph, numbers: str | None, embedded: Sequence[str]) -> str:
        """The tower's."""
        return self.tower.add(graph, numbers, embedded)


Tower = Mlp | DeepCross | DeepFM | Imputing

_KINDS: dict[str, type[Mlp] | type[DeepCross] | type[DeepFM]] = {"mlp": Mlp, "dcn": DeepCross, "deepfm": DeepFM}


def make_tower(settings: NetworkSettings, numbers: int, fields: int, width: int) -> Tower:
    """The tower that the settings name, with weights drawn from torch's generator.

    Parameters
    ----------
    numbers, fields, width
        Numeric columns, categories, and numbers per embedding; together at most 128 inputs.

    Examples
    --------
    >>> type(make_tower(NetworkSettings(tower="dcn"), numbers=12, fields=10, width=8)).__name__
    'DeepCross'
    """
    tower = _KINDS[settings.tower](numbers, fields, width, settings.hidden)
    return Imputing(tower, numbers + fields * width) if settings.counterfactual == "dr" else tower
