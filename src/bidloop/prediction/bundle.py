"""The model on disk: a folder whose content is its version, and which is refused when one byte of it is wrong.

::

    v3f2a91c04b7d/
      manifest.json       everything but the graphs, the graphs' SHA-256, and a seal over all of it
      performance.onnx    log odds of click and conversion
      landscape.onnx      P(win | bid), where one was trained

There is no pickle in it: reading a bundle runs no code, and needs no training framework. A checksum is no signature: it tells
damage, and a bundle that was changed and named anew is another bundle, with another version.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from bidloop.core.encoding import Encoding
from bidloop.core.errors import BidloopError, CorruptArtifact, InvalidInput, NotFound
from bidloop.core.opportunity import Charge
from bidloop.core.trained_model import TrainedLandscape, TrainedModel
from bidloop.prediction.calibration import Calibrations
from bidloop.prediction.intervals import IntervalModel
from bidloop.prediction.order_value import OrderValue

FORMAT = 1
"""Raised when a manifest begins to mean something else."""

MANIFEST, PERFORMANCE, LANDSCAPE = "manifest.json", "performance.onnx", "landscape.onnx"

LARGEST = {MANIFEST: 2**28, PERFORMANCE: 2**31, LANDSCAPE: 2**31}
"""Bytes beyond which a file is no bundle's, and is not read into memory: ONNX graphs end at 2 GiB."""


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
    conversion_intervals
        The same as `intervals`, for conversions per click.
    delays
        How late conversions are reported, as plain data.
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
    conversion_intervals: IntervalModel | None = None
    delays: dict[str, Any] | None = None


class _Graph(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sha256: str
    encoding: Encoding
    name: str = ""
    parameters: dict[str, float | int | str] = {}
    lowest: float = 0.0
    highest: float = 0.0
    charge: Charge = Charge.PER_CLICK


class _Format(msgspec.Struct, frozen=True):
    format: int


# What is optional is left out where there is none: what older programs wrote keeps its version, and they read what needs no more.
class _Content(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    format: int
    performance: _Graph
    landscape: _Graph | None
    calibration: Calibrations
    intervals: IntervalModel | None
    order_value: OrderValue | None
    view: dict[str, Any]
    view_version: str
    metrics: dict[str, Any]
    conversion_intervals: IntervalModel | None = None
    delays: dict[str, Any] | None = None


class _Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    version: str
    created_at: datetime
    content: msgspec.Raw
    seal: str = ""  # SHA-256 of all that stands above; the first bundles have none

    def unsealed(self) -> bytes:
        return msgspec.json.encode(msgspec.structs.replace(self, seal=""))

    def on_disk(self) -> bytes:
        """Indented for people."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)


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
    conversion_intervals: IntervalModel | None = None,
    delays: dict[str, Any] | None = None,
) -> str:
    """Write a bundle into a folder of its own inside `folder`, all of it or nothing.

    Parameters
    ----------
    folder
        The shelf of bundles; made if absent. The bundle comes to lie in ``folder / version``.
    model, landscape, calibration, intervals, order_value, view, view_version, metrics, created_at, conversion_intervals, delays
        As in `Bundle`; `view`, `metrics` and `delays` must be plain data (what JSON can say).

    Returns
    -------
    str
        The version. The same content gives the same version, and is not written a second time; what is damaged under its name
        is moved aside, to ``.damaged-…``, and written anew.

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
            conversion_intervals=conversion_intervals,
            delays=delays,
        )
    )
    version = _version(content)
    files = {PERFORMANCE: model.onnx}
    if landscape is not None:
        files[LANDSCAPE] = landscape.onnx
    manifest = _Manifest(version=version, created_at=created_at, content=msgspec.Raw(content))
    files[MANIFEST] = msgspec.structs.replace(manifest, seal=_sha256(manifest.unsealed())).on_disk()
    _write_whole(Path(folder), version, files)
    return version


def load_bundle(folder: Path | str) -> Bundle:
    """Read a bundle and check every byte of it.

    Parameters
    ----------
    folder
        The bundle's own folder, ``shelf / version``: it must have the version for a name, and hold the bundle's files alone.

    Raises
    ------
    NotFound
        When there is no bundle.
    CorruptArtifact
        When a file is missing, cannot be read, is not what was written or not of the bundle, or when a newer program wrote it.
    """
    folder = Path(folder)
    try:
        names = {entry.name for entry in os.scandir(folder)}
    except (FileNotFoundError, NotADirectoryError):
        names = set()
    except OSError as error:
        raise _corrupt(folder, f"a folder that cannot be read ({error.strerror})") from error
    if MANIFEST not in names:
        raise NotFound(
            f"no model bundle at {folder}",
            expected=f"a folder with a {MANIFEST}",
            remedy="Train a model, or check the path.",
        )
    manifest, content = _read_manifest(folder)
    expected = {MANIFEST, PERFORMANCE} | ({LANDSCAPE} if content.landscape else set())
    if names != expected:
        missing, strange = sorted(expected - names), sorted(names - expected)
        what = f"no {missing[0]}" if missing else f"{strange[0]!r}, which is not of the bundle,"
        raise _corrupt(folder, what)
    graph = content.performance
    performance = TrainedModel(graph.name, _read_graph(folder, PERFORMANCE, graph), graph.encoding, graph.parameters)
    landscape = None
    if (graph_ := content.landscape) is not None:
        onnx = _read_graph(folder, LANDSCAPE, graph_)
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
        conversion_intervals=content.conversion_intervals,
        delays=content.delays,
    )


def _read_manifest(folder: Path) -> tuple[_Manifest, _Content]:
    """The manifest, which says the same in the same bytes as it was written, and what it holds."""
    data = _read(folder, MANIFEST)
    try:
        manifest = msgspec.json.decode(data, type=_Manifest)
        # Indented for people on disk; the version is that of the compact form.
        compact = msgspec.json.format(bytes(manifest.content), indent=-1)
        manifest = msgspec.structs.replace(manifest, content=msgspec.Raw(compact))
        if _version(compact) != manifest.version:
            raise _corrupt(folder, f"a manifest that says {manifest.version} but holds {_version(compact)}")
        if manifest.version != folder.resolve().name:
            raise _corrupt(folder, f"the bundle {manifest.version} under another name")
        sealed = not manifest.seal or manifest.seal == _sha256(manifest.unsealed())
        if not sealed or manifest.on_disk() != data:
            raise _corrupt(folder, f"a {MANIFEST} that was changed")
        if msgspec.json.decode(compact, type=_Format).format > FORMAT:
            raise CorruptArtifact(
                f"a bundle in {folder} that a newer Bidloop trained",
                expected=f"format {FORMAT} or an older one",
                remedy="Upgrade Bidloop.",
            )
        content = msgspec.json.decode(compact, type=_Content)
    except CorruptArtifact:
        raise
    # An encoding that contradicts itself is refused by its own type; what is nested without end by the parser.
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError, BidloopError) as error:
        raise _corrupt(folder, f"an unreadable {MANIFEST} ({error})") from error
    if content.format != FORMAT:
        raise _corrupt(folder, f"a bundle of format {content.format}, where this program reads {FORMAT}")
    return manifest, content


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


def _read_graph(folder: Path, name: str, graph: _Graph) -> bytes:
    data = _read(folder, name)
    if _sha256(data) != graph.sha256:
        raise _corrupt(folder, f"a {name} with another checksum than the manifest states")
    return data


def _read(folder: Path, name: str) -> bytes:
    """A file of the bundle: a plain one, in place, and of a size that a bundle can have."""
    try:
        # A link may point elsewhere tomorrow, and opening a pipe would wait for whoever writes to it.
        handle = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as file:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise _corrupt(folder, f"a {name} that is no plain file")
            if found.st_size > LARGEST[name]:
                raise _corrupt(folder, f"a {name} of {found.st_size:,} bytes")
            return file.read(found.st_size + 1)
    except OSError as error:
        raise _corrupt(folder, f"no readable {name} ({error.strerror})") from error


def _corrupt(folder: Path, found: str) -> CorruptArtifact:
    return CorruptArtifact(
        f"{found} in {folder}", expected="the bundle as it was written", remedy="Restore the folder, or train again."
    )


def _write_whole(shelf: Path, version: str, files: dict[str, bytes]) -> None:
    """All files under their final name at once: a reader, or a crash, never meets half a bundle."""
    shelf.mkdir(parents=True, exist_ok=True)
    target = shelf / version
    if _is_whole(target):
        return
    staging = Path(tempfile.mkdtemp(prefix=f".{version}-", dir=shelf))
    try:
        for name, data in files.items():
            with (staging / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        staging.chmod(0o755)
        _move_aside(target)
        try:
            staging.rename(target)
        except OSError:
            # Another process has put the same content there in the meantime.
            if not _is_whole(target):
                raise
        _sync(shelf)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    try:
        load_bundle(folder)
    except (CorruptArtifact, NotFound):
        return False
    return True


def _move_aside(folder: Path) -> None:
    """Keep what is damaged for whoever wants to know why, under a name that no model has."""
    if os.path.lexists(folder) and not _is_whole(folder):
        with suppress(FileNotFoundError):  # another process did
            folder.rename(Path(tempfile.mkdtemp(prefix=f".damaged-{folder.name}-", dir=folder.parent)) / folder.name)


def _sync(folder: Path) -> None:
    """Make a rename in a folder survive a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
