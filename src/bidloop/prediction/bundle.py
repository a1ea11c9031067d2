"""The model on disk: a folder whose content is its version, and which is refused when one byte of it is wrong.

::

    v3f2a91c04b7d/
      manifest.json       everything but the graphs, and the graphs' SHA-256
      performance.onnx    log odds of click and conversion
      landscape.onnx      P(win | bid), where one was trained

There is no pickle in it: reading a bundle runs no code, and needs no training framework.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from bidloop.core.encoding import Encoding
from bidloop.core.errors import CorruptArtifact, InvalidInput, NotFound
from bidloop.core.opportunity import Charge
from bidloop.core.trained_model import TrainedLandscape, TrainedModel
from bidloop.prediction.calibration import Calibrations
from bidloop.prediction.intervals import IntervalModel
from bidloop.prediction.order_value import OrderValue

FORMAT = 1
"""Raised when a manifest begins to mean something else."""

MANIFEST, PERFORMANCE, LANDSCAPE = "manifest.json", "performance.onnx", "landscape.onnx"


@dataclass(frozen=True)
class Bundle:
    """Everything that predicting takes.

    Parameters
    ----------
    version
        ``v`` and the first twelve hexadecimal digits of the content's SHA-256; the time of writing is not part of it.
    model, landscape
        The graphs with their encodings.
    calibration, intervals, order_value
        What was learned beside the graphs; `None` where there was nothing to learn it from.
    view, view_version
        The feature view that the model reads, as plain data, and its version.
    metrics
        What was measured when the model was judged.
    created_at
        When it was written, UTC.
    """

    version: str
    model: TrainedModel
    landscape: TrainedLandscape | None
    calibration: Calibrations
    intervals: IntervalModel | None
    order_value: OrderValue | None
    view: dict[str, Any]
    view_version: str
    metrics: dict[str, Any]
    created_at: datetime


class _Graph(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sha256: str
    encoding: Encoding
    name: str = ""
    parameters: dict[str, float | int | str] = {}
    lowest: float = 0.0
    highest: float = 0.0
    charge: Charge = Charge.PER_CLICK


class _Content(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: int
    performance: _Graph
    landscape: _Graph | None
    calibration: Calibrations
    intervals: IntervalModel | None
    order_value: OrderValue | None
    view: dict[str, Any]
    view_version: str
    metrics: dict[str, Any]


class _Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: str
    created_at: datetime
    content: msgspec.Raw


def write_bundle(
    folder: Path | str,
    *,
    model: TrainedModel,
    landscape: TrainedLandscape | None = None,
    calibration: Calibrations | None = None,
    intervals: IntervalModel | None = None,
    order_value: OrderValue | None = None,
    view: dict[str, Any],
    view_version: str,
    metrics: dict[str, Any] | None = None,
    created_at: datetime,
) -> str:
    """Write a bundle into a folder of its own inside `folder`, all of it or nothing.

    Parameters
    ----------
    folder
        The shelf of bundles; made if absent. The bundle comes to lie in ``folder / version``.
    model, landscape, calibration, intervals, order_value, view, view_version, metrics, created_at
        As in `Bundle`; `view` and `metrics` must be plain data (what JSON can say).

    Returns
    -------
    str
        The version. The same content gives the same version, and is not written a second time.

    Raises
    ------
    InvalidInput
        When the model reads another view than `view_version`, `created_at` has no timezone, or data is not plain.
    """
    if model.encoding.view != view_version:
        raise InvalidInput(
            f"a model of view {model.encoding.view} in a bundle of view {view_version}",
            path="view_version",
            expected="one view",
            remedy="Bundle a model with the view that it was trained on.",
        )
    if created_at.tzinfo is None:
        raise InvalidInput(f"the time {created_at} without a timezone", path="created_at", expected="a time in UTC")
    content = _plain(
        _Content(
            format=FORMAT,
            performance=_Graph(
                sha256=_sha256(model.onnx), encoding=model.encoding, name=model.name, parameters=model.parameters
            ),
            landscape=None
            if landscape is None
            else _Graph(
                sha256=_sha256(landscape.onnx),
                encoding=landscape.encoding,
                parameters=landscape.parameters,
                lowest=landscape.lowest,
                highest=landscape.highest,
                charge=landscape.charge,
            ),
            calibration=calibration or Calibrations(),
            intervals=intervals,
            order_value=order_value,
            view=view,
            view_version=view_version,
            metrics=metrics or {},
        )
    )
    version = _version(content)
    files = {PERFORMANCE: model.onnx}
    if landscape is not None:
        files[LANDSCAPE] = landscape.onnx
    manifest = _Manifest(version=version, created_at=created_at, content=msgspec.Raw(content))
    files[MANIFEST] = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    _write_whole(Path(folder), version, files)
    return version


def load_bundle(folder: Path | str) -> Bundle:
    """Read a bundle and check every byte that predictions depend on.

    Parameters
    ----------
    folder
        The bundle's own folder, ``shelf / version``.

    Raises
    ------
    NotFound
        When there is no bundle.
    CorruptArtifact
        When a file is missing, cannot be read, or is not what was written.
    """
    folder = Path(folder)
    if not (folder / MANIFEST).is_file():
        raise NotFound(
            f"no model bundle at {folder}",
            expected=f"a folder with a {MANIFEST}",
            remedy="Train a model, or check the path.",
        )
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=_Manifest)
        # Indented for people on disk; the version is that of the compact form.
        compact = msgspec.json.format(bytes(manifest.content), indent=-1)
        if _version(compact) != manifest.version:
            raise _corrupt(folder, f"a manifest that says {manifest.version} but holds {_version(compact)}")
        content = msgspec.json.decode(compact, type=_Content)
    except (msgspec.MsgspecError, OSError, ValueError) as error:
        raise _corrupt(folder, f"an unreadable {MANIFEST} ({error})") from error
    if content.format != FORMAT:
        raise _corrupt(folder, f"a bundle of format {content.format}, where this program reads {FORMAT}")
    graph = content.performance
    performance = TrainedModel(graph.name, _read(folder, PERFORMANCE, graph.sha256), graph.encoding, graph.parameters)
    landscape = None
    if (graph_ := content.landscape) is not None:
        onnx = _read(folder, LANDSCAPE, graph_.sha256)
        landscape = TrainedLandscape(
            onnx, graph_.encoding, graph_.lowest, graph_.highest, graph_.charge, graph_.parameters
        )
    return Bundle(
        version=manifest.version,
        model=performance,
        landscape=landscape,
        calibration=content.calibration,
        intervals=content.intervals,
        order_value=content.order_value,
        view=content.view,
        view_version=content.view_version,
        metrics=content.metrics,
        created_at=manifest.created_at,
    )


def _plain(content: _Content) -> bytes:
    """The content as compact JSON in its one normal form: keys in order, and 0 where a float is meant as 0.0."""
    try:
        # msgspec writes NaN as null without a word, and it would come back as another value.
        json.dumps(msgspec.to_builtins(content), allow_nan=False)
        typed = msgspec.json.decode(msgspec.json.encode(content), type=_Content)
        return msgspec.json.encode(typed, order="deterministic")
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"a bundle that is not plain data ({error})", expected="finite numbers, text, lists and mappings"
        ) from error


def _version(content: bytes) -> str:
    return f"v{_sha256(content)[:12]}"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read(folder: Path, name: str, sha256: str) -> bytes:
    try:
        data = (folder / name).read_bytes()
    except OSError as error:
        raise _corrupt(folder, f"no readable {name} ({error.strerror})") from error
    if _sha256(data) != sha256:
        raise _corrupt(folder, f"a {name} with another checksum than the manifest states")
    return data


def _corrupt(folder: Path, found: str) -> CorruptArtifact:
    return CorruptArtifact(
        f"{found} in {folder}", expected="the bundle as it was written", remedy="Restore the folder, or train again."
    )


def _write_whole(shelf: Path, version: str, files: dict[str, bytes]) -> None:
    """All files under their final name at once: a reader, or a crash, never meets half a bundle."""
    shelf.mkdir(parents=True, exist_ok=True)
    target = shelf / version
    if target.exists():
        return
    staging = Path(tempfile.mkdtemp(prefix=f".{version}-", dir=shelf))
    try:
        for name, data in files.items():
            with (staging / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        staging.chmod(0o755)
        try:
            staging.rename(target)
        except OSError:
            # Another process has put the same content there in the meantime.
            if not target.exists():
                raise
        _sync(shelf)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Make a rename in a folder survive a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
