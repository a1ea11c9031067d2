"""The three jobs between events and decisions: features are made, a model is trained, and decisions are made with it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypeAlias

from openlineage.client.event_v2 import InputDataset, Job, JobEvent, OutputDataset
from openlineage.client.generated.documentation_job import DocumentationJobFacet
from openlineage.client.generated.job_type_job import JobTypeJobFacet

from bidloop.adapters.openlineage import datasets
from bidloop.features.view import FeatureView

JobName: TypeAlias = Literal["bidloop.features", "bidloop.train", "bidloop.decide"]

_JOBS: dict[JobName, tuple[str, str]] = {
    "bidloop.features": ("SERVICE", "Makes features of events, online and for any past instant."),
    "bidloop.train": ("BATCH", "Trains a model on features of the past and what came of it."),
    "bidloop.decide": ("SERVICE", "Bids, and records each decision with its features."),
}
OUTCOMES = (
    "impression_served",
    "click_received",
    "conversion_reported",
    "conversion_restated",
    "conversion_retracted",
    "campaign_reported",
)
"""Events that training reads its labels from."""


def job(name: JobName, namespace: str) -> Job:
    """One of the jobs."""
    processing, description = _JOBS[name]
    return Job(
        namespace,
        name,
        facets={
            "jobType": JobTypeJobFacet(processing, "BIDLOOP", jobType="JOB", producer=datasets.PRODUCER),
            "documentation": DocumentationJobFacet(description, producer=datasets.PRODUCER),
        },
    )


def design(
    view: FeatureView, namespace: str, at: datetime, *, model: str = "", reads: Sequence[str] = ()
) -> list[JobEvent]:
    """What each job reads and writes, told once: OpenLineage's static lineage, as no job is running.

    Parameters
    ----------
    namespace
        Names the account's data among all others of the server.
    at
        When it is told.
    model, reads
        The model that serves, and the features that it reads; before the first training there is no job but the first.
    """
    events = [
        _event(
            job("bidloop.features", namespace),
            at,
            datasets.sources(view, namespace),
            datasets.features(view, namespace),
        )
    ]
    if model:
        read = datasets.features_read(view, namespace)
        events += [
            _event(
                job("bidloop.train", namespace),
                at,
                [read, *outcomes(namespace)],
                datasets.model(view, namespace, model, reads),
            ),
            _event(
                job("bidloop.decide", namespace),
                at,
                [read, datasets.model_read(namespace, model)],
                datasets.decisions(view, namespace),
            ),
        ]
    return events


def outcomes(namespace: str) -> list[InputDataset]:
    """The events that tell what came of what was shown."""
    return [InputDataset(namespace, f"events.{kind}") for kind in OUTCOMES]


def _event(job: Job, at: datetime, inputs: list[InputDataset], output: OutputDataset) -> JobEvent:
    return JobEvent(eventTime=at.isoformat(), job=job, inputs=inputs, outputs=[output], producer=datasets.PRODUCER)
