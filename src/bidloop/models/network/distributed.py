"""Several processes that train one network: each computes its part of every batch, and all make the same step.

Start a script that calls `fit_network` inside `processes()`, once for each core or GPU::

    python -m torch.distributed.run --nproc-per-node 2 train.py

Every process holds all rows and the whole network. It computes its slice of the batch; log odds and gradients are added
up over the processes (gloo on CPUs, NCCL on GPUs). The loss is that of the whole batch, and so are the random numbers, so that
two processes train what one would have trained, up to the order of sums.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@contextmanager
def processes() -> Iterator[None]:
    """Join the processes that ``torch.distributed.run`` started, and leave them at the end.

    Examples
    --------
    ::

        with processes():
            network = fit_network(rows, later, seed=42)
    """
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


@dataclass(frozen=True)
class Team:
    """The processes that train together; one alone where torch.distributed was not initialised.

    Examples
    --------
    >>> Team(rank=1, size=3).part(10)
    slice(3, 6, None)
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def present(cls) -> Team:
        """The processes that were started together."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def leads(self) -> bool:
        """Whether this is the process that reports and writes."""
        return self.rank == 0

    def part(self, rows: int) -> slice:
        """Which of so many rows this process computes."""
        return slice(rows * self.rank // self.size, rows * (self.rank + 1) // self.size)

    def gathered(self, part: Tensor, rows: int) -> Tensor:
        """Everybody's rows in one tensor, of which this process's own carry a gradient."""
        if self.size == 1:
            return part
        mine = self.part(rows)
        whole = torch.zeros(rows, *part.shape[1:], dtype=part.dtype, device=part.device)
        whole[mine] = part.detach()
        distributed.all_reduce(whole)
        return torch.cat((whole[: mine.start], part, whole[mine.stop :]))

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the processes."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        for tensor, total in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    def bytes_of_the_first(self, data: bytes, device: torch.device) -> bytes:
        """What the leading process read, for everybody."""
        if self.size == 1:
            return data
        length = torch.tensor([len(data)], device=device)
        distributed.broadcast(length, 0)
        content = torch.zeros(int(length), dtype=torch.uint8, device=device)
        if self.leads and data:
            content.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        distributed.broadcast(content, 0)
        return content.cpu().numpy().tobytes()

    def number_of_the_first(self, number: float, device: torch.device) -> float:
        """What the leading process found, for everybody: all decide alike, though their last bits may differ."""
        if self.size == 1:
            return number
        word = torch.tensor(number, dtype=torch.float64, device=device)
        distributed.broadcast(word, 0)
        return float(word)
