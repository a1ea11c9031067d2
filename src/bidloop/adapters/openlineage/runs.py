"""One training run, told to OpenLineage as it begins and ends."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bidloop.core.errors import BidloopError, Unavailable
from bidloop.features.view import FeatureView

if TYPE_CHECKING:
    from openlineage.client.event_v2 import RunEvent, RunState

    from bidloop.adapters.openlineage.sender import LineageSender

_log = logging.getLogger("bidloop.lineage")


class TrainingRun:
    """A training run that is told of.

    Parameters
    ----------
    run_id
        A UUID; empty where nothing is told.
    """

    def __init__(self, run_id: str = "") -> None:
        self.run_id = run_id
        self.model = ""
        self.reads: tuple[str, ...] = ()

    def trained(self, model: str, reads: Sequence[str] = ()) -> None:
        """Say which version came of it, and which features it reads."""
        self.model, self.reads = model, tuple(reads)


@contextmanager
def emit_run(target: str, namespace: str, view: FeatureView) -> Iterator[TrainingRun]:
    """Tell of a training run: START at once, then COMPLETE, or FAIL with the kind of error, which goes on to its caller.

    A server that does not answer, or a file that cannot be written, is told in the log and keeps no training from its end.

    Parameters
    ----------
    target
        As of `bidloop.adapters.openlineage.sender.LineageSender`; empty tells nobody, and imports nothing.
    namespace
        Names the account's data among all others of the server.
    view
        The features that are trained on.

    Raises
    ------
    ConfigurationError
        Before the training begins, when the client is not installed, or the target is none.

    Examples
    --------
    >>> from bidloop.features.views import campaign_view
    >>> with emit_run("", "shop", campaign_view()) as run:
    ...     run.trained("v0123456789ab")
    """
    if not target:
        yield TrainingRun()
        return
    from openlineage.client.event_v2 import RunState
    from openlineage.client.uuid import generate_new_uuid

    from bidloop.adapters.openlineage.sender import LineageSender

    sender = LineageSender(target)
    run = TrainingRun(str(generate_new_uuid()))
    try:
        _send(sender, _event(RunState.START, run, namespace, view))
        try:
            yield run
        except BaseException as error:
            _send(sender, _event(RunState.FAIL, run, namespace, view, error))
            raise
        _send(sender, _event(RunState.COMPLETE, run, namespace, view))
    finally:
        sender.close()


def _send(sender: LineageSender, event: RunEvent) -> None:
    try:
        sender.send(event)
    except Unavailable as error:
        _log.warning("%s", error)


def _event(
    state: RunState, run: TrainingRun, namespace: str, view: FeatureView, error: BaseException | None = None
) -> RunEvent:
    from openlineage.client.event_v2 import Run, RunEvent
    from openlineage.client.generated.error_message_run import ErrorMessageRunFacet

    from bidloop.adapters.openlineage import datasets, jobs

    facets: dict[str, Any] = {}
    if error is not None:
        # The text of any other error may quote whatever it stumbled over: a row, a person, an address with its password.
        message = f"{type(error).__name__}{f': {error}' if isinstance(error, BidloopError) else ''}"
        facets["errorMessage"] = ErrorMessageRunFacet(message, "python", producer=datasets.PRODUCER)
    return RunEvent(
        eventType=state,
        eventTime=datetime.now(UTC).isoformat(),
        run=Run(run.run_id, facets=facets),
        job=jobs.job("bidloop.train", namespace),
        inputs=[datasets.features_read(view, namespace), *jobs.outcomes(namespace)],
        outputs=[datasets.model(view, namespace, run.model, run.reads)],
        producer=datasets.PRODUCER,
    )
