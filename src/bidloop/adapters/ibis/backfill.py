"""Every feature of many rows as of each row's own instant, in files from beginning to end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

from bidloop.adapters.ibis.engine import DuckDBEngine, states_query
from bidloop.adapters.ibis.rows import read_states, rows_schema, table_of, write_rows
from bidloop.adapters.ibis.tables import absent_rows, write_facts, write_questions
from bidloop.core.event import Event
from bidloop.core.feature_table import FeatureTable
from bidloop.core.outcome import Observations, Outcomes
from bidloop.features.contributions import Contributions, contributions
from bidloop.features.keys import Keys, entity_keys
from bidloop.features.local_time import microseconds
from bidloop.features.plan import Plan
from bidloop.features.planning import plan_of
from bidloop.features.view import FeatureView

OnProgress: TypeAlias = Callable[[str, float], None]
Chunk = TypeVar("Chunk", Contributions, tuple[Outcomes, FeatureTable])


class Told(Protocol):
    """What is known, to be gone through piece by piece, as often as needed."""

    @property
    def observations_count(self) -> int:
        """How many observations there are."""
        ...

    @property
    def outcomes_count(self) -> int:
        """How many outcomes there are."""
        ...

    @property
    def chunk(self) -> int:
        """How many rows come at once."""
        ...

    def observations(self) -> Iterator[Observations]:
        """The increments of what was known."""
        ...

    def happenings(self) -> Iterator[Sequence[tuple[int, Event]]]:
        """What users did and what happened in the market, with positions."""
        ...

    def outcomes(self) -> Iterator[Outcomes]:
        """What came of the rows that ask."""
        ...


def write_backfill(
    view: FeatureView,
    told: Told,
    output: Path,
    folder: Path,
    *,
    memory: str = "2GB",
    threads: int = 2,
    on_progress: OnProgress = lambda doing, share: None,
) -> int:
    """Write the features of all outcomes; says of how many facts.

    Parameters
    ----------
    output
        File of the rows (`rows.rows_schema`), in the order of the outcomes.
    folder
        For what lies in between: facts, questions and states.
    memory, threads
        How much of each DuckDB may use, such as ``2GB`` and 2. Python's own share is about 0.5 GB, however long the log.
    on_progress
        Told what is being done, and the share of the work that is done, in [0, 1].
    """
    plan = plan_of(view)
    rows_schema(view)
    facts, questions = folder / "facts.parquet", folder / "questions.parquet"
    known = chain(
        _counted(
            (contributions(plan, some) for some in told.observations()),
            told.observations_count,
            lambda share: on_progress("reading what became known", 0.35 * share),
        ),
        (contributions(plan, events=some) for some in told.happenings()),
    )
    written = write_facts(plan, known, facts)
    on_progress("reading who asks", 0.35)
    asked = write_questions(plan, (_asking(plan, outcomes) for outcomes in told.outcomes()), questions)
    engine = DuckDBEngine(facts, questions, memory=memory, threads=threads, spilled=folder / "spilled")
    files = [folder / f"states{i}.parquet" for i in range(len(plan.entities))]
    for i, (entity, file) in enumerate(zip(plan.entities, files, strict=True)):
        on_progress(f"adding up for each {entity.name}", 0.4 + 0.3 * i / len(files))
        engine.write(states_query(plan, i, asked), file)
    engine.close()
    facts.unlink()
    rows = _counted(
        _rows(plan, told, files, questions), asked.rows, lambda share: on_progress("writing rows", 0.7 + 0.3 * share)
    )
    write_rows(view, rows, output)
    return written


def _asking(plan: Plan, outcomes: Outcomes) -> tuple[Sequence[int], Sequence[Keys]]:
    opportunities = outcomes.opportunities
    return microseconds(opportunities, plan.view.lag_seconds), entity_keys(plan, opportunities)


def _rows(plan: Plan, told: Told, files: Sequence[Path], questions: Path) -> Iterator[tuple[Outcomes, FeatureTable]]:
    states, absent = read_states(plan.entities, files, told.chunk), absent_rows(plan, questions, told.chunk)
    for outcomes, known, missing in zip(told.outcomes(), states, absent, strict=True):
        yield outcomes, table_of(plan, outcomes.opportunities, known, missing)


def _counted(chunks: Iterable[Chunk], total: int, on_share: Callable[[float], None]) -> Iterator[Chunk]:
    """The chunks, telling on the way which share of the rows has come by."""
    done = 0
    for chunk in chunks:
        yield chunk
        done += len(chunk if isinstance(chunk, Contributions) else chunk[1])
        on_share(min(done / max(total, 1), 1.0))
