"""What a killed training goes on from.

One file per training, named by all that the training depends on, so that another training never takes it up. It is a
checksum and plain arrays; nothing in it is run when it is read. It is written aside and renamed, so that a kill leaves the old
one or the new one. It is a convenience: a training that cannot write one goes on without.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import time
import zipfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np
import torch
import xxhash
from numpy.typing import NDArray
from torch import Tensor

from bidloop.models.network.settings import NetworkSettings
from bidloop.models.rows import Rows

SECONDS_BETWEEN = 30.0
"""What a kill may cost, at most. Large tables take a second to write, so steps are no measure."""
UNLOADABLE = (KeyError, RuntimeError, ValueError, zipfile.BadZipFile)
"""What loading the arrays of another code can raise."""
_CHECKSUM = 16

logger = logging.getLogger(__name__)


class Checkpoint:
    """The file of one training.

    Parameters
    ----------
    folder
        Where it lies; made when the first is written.
    name
        Of the training, see `fingerprint`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoint = Checkpoint(Path(folder), "3f")
    ...     checkpoint.write({"weights": torch.ones(2)})
    ...     unpacked(checkpoint.read())
    {'weights': tensor([1., 1.])}
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"network-{name}.checkpoint"
        self._written = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether the last one is old enough to write the next."""
        return time.monotonic() - self._written >= SECONDS_BETWEEN

    def write(self, tensors: Mapping[str, Tensor]) -> None:
        """Put these in the place of what was written before; where that fails, as the log then tells, that stays."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **{name: tensor.cpu().numpy() for name, tensor in tensors.items()})
        content = buffer.getbuffer()
        # Of this process alone: another that trains on the same rows writes one of its own.
        aside = self.path.with_suffix(f".{os.getpid()}.writing")
        try:
            aside.parent.mkdir(parents=True, exist_ok=True)
            with aside.open("wb") as file:
                file.write(xxhash.xxh3_128_digest(content))
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self.path)
        except OSError as error:
            logger.warning("%s cannot be written (%s); training goes on", self.path, error)
            with contextlib.suppress(OSError):
                aside.unlink()
        self._written = time.monotonic()

    def read(self) -> bytes:
        """What was written last, for `unpacked`; empty where there is nothing, or where it is damaged, which the log then tells."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            logger.warning("%s cannot be read (%s); training starts anew", self.path, error)
            return b""
        if xxhash.xxh3_128_digest(content[_CHECKSUM:]) == content[:_CHECKSUM]:
            return content[_CHECKSUM:]
        logger.warning("%s is damaged; training starts anew", self.path)
        return b""

    def remove(self) -> None:
        """The training has ended; what a kill left half-written goes too."""
        for path in (self.path, *self.path.parent.glob(f"{self.path.stem}.*.writing")):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def unpacked(content: bytes) -> dict[str, Tensor]:
    """The tensors by name."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def fingerprint(
    rows: Rows, later: Rows | None, settings: NetworkSettings, plain: tuple[int, ...], state: Mapping[str, Tensor]
) -> str:
    """32 hexadecimal digits that are others as soon as anything is that the training depends on, its code included.

    Parameters
    ----------
    plain
        Seed and epochs.
    state
        What is kept; names and shapes count, so that a changed network does not take up the old one's weights.
    """
    code = version("bidloop"), str(torch.__version__)
    digest = xxhash.xxh3_128(msgspec.json.encode((code, settings, plain)))
    digest.update(repr([(name, tuple(tensor.shape)) for name, tensor in state.items()]).encode())
    for part in (rows, later):
        digest.update(b"none" if part is None else msgspec.json.encode(part.encoding))
        for array in [] if part is None else _arrays(part):
            digest.update(repr((array.shape, array.dtype)).encode())
            digest.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    return digest.hexdigest()


def _arrays(rows: Rows) -> list[NDArray[np.generic]]:
    shifts = np.array([rows.click.shift, rows.conversion.shift])
    counts = [column for of in (rows.click, rows.conversion) for column in (of.positive, of.negative)]
    return [rows.numeric, rows.categories, rows.maturity, shifts, *counts]
