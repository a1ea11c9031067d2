"""What was known of an entity at many instants, as one expression over tables: for DuckDB, PostgreSQL and Spark alike.

Two steps, since most facts are asked about many times or never:

1. Each fact goes to the next question about its entity, and all that go to one question are added up, faded until then. One sort
   by key and time finds that question; weights are powers of two of at most 1, so nothing overflows, whatever the data.
2. What each question gained is added up along the questions of an entity. A sum that fades is a running sum of
   ``gain * 2 ** (time / half-life)``, faded back. That overflows after a thousand half-lives: so time is cut into blocks, and a
   block takes over the total of the one before it, for all that stands further back has faded by more than a float can tell.

The expression keeps to what the three mean alike (Ibis 12): no NaN, no division, no `last` over a window, numbers as text that is
cast, exponents within bounds.
"""

from __future__ import annotations

import math
from functools import reduce
from operator import or_

import ibis
import ibis.expr.types as ir
import numpy as np
from numpy.typing import NDArray

from bidloop.adapters.ibis.tables import Asked, facts_schema, questions_schema
from bidloop.features.plan import EntityPlan, Input, Plan, bounds_of

FADED = 250.0
"""Half-lives after which what was is nothing: 6e-76 of it would be left. Much further on PostgreSQL complains of an underflow."""
BLOCK = 300.0
"""Half-lives that a running sum reaches over; it grows by no more than 2e90."""


def facts_of(plan: Plan, name: str = "facts") -> ir.Table:
    """The facts by the name of their table, wherever that lies."""
    return ibis.table(ibis.schema(facts_schema(plan)), name=name)


def questions_of(plan: Plan, name: str = "questions") -> ir.Table:
    """The questions by the name of their table, wherever that lies."""
    return ibis.table(ibis.schema(questions_schema(plan)), name=name)


def states(plan: Plan, entity: int, facts: ir.Table, questions: ir.Table, asked: Asked) -> ir.Table:
    """The state of one entity for each question, as `bidloop.features.state` means it.

    Parameters
    ----------
    entity
        Index among the plan's entities.
    facts, questions
        With the columns of `tables.facts_schema` and `tables.questions_schema`.
    asked
        Between which instants the questions lie: how many blocks of time are needed depends on it.

    Returns
    -------
    ``row`` of the question, and ``s0``, ``s1``, … as in `EntityPlan`; null where nothing is known.

    Examples
    --------
    >>> from bidloop.features.planning import plan_of
    >>> from bidloop.features.views import campaign_view
    >>> plan = plan_of(campaign_view())
    >>> states(plan, 1, facts_of(plan), questions_of(plan), Asked(rows=1000, first=0, last=10**12)).columns
    ('row', 's0', 's1', 's2')
    """
    return _Expression(plan.entities[entity], f"key{entity}", facts, questions, asked).states()


class _Expression:
    def __init__(self, entity: EntityPlan, key: str, facts: ir.Table, questions: ir.Table, asked: Asked) -> None:
        self.entity, self.asked = entity, asked
        used = sorted({one.amount for one in entity.inputs})
        amounts = {f"a{i}": facts[f"amount{i}"] for i in used} | {"again": facts.corrects}
        facts = facts.select(key=facts[key], time=facts.due, **amounts)
        self.facts = facts.filter(facts.key.notnull() & _any(facts, entity.inputs))
        self.questions = questions.select(row=questions.row, key=questions[key], asked=questions.asked)
        self.sums = range(entity.sums.start, entity.sums.stop)
        self.firsts = range(entity.firsts.start, entity.firsts.stop)
        self.lasts = range(entity.lasts.start, entity.lasts.stop)
        self.told_at = range(entity.told_at.start, entity.told_at.stop, 2)

    def states(self) -> ir.Table:
        known = self._run()
        for column, i in zip(self.told_at, self.entity.latest_input.tolist(), strict=True):
            known = self._told(known, column, self.entity.inputs[i].amount)
        asking = self.questions
        found = asking.left_join(known, [asking.key == known.key, asking.asked == known.asked])
        width = range(self.entity.width)
        return found.select(row=asking.row, **{f"s{i}": known[f"s{i}"].cast("float64") for i in width})

    def _gained(self) -> ir.Table:
        """What is added between each question about an entity and the one before it, faded until the question."""
        asking = self.questions.filter(self.questions.key.notnull()).select("key", "asked").distinct()
        amounts = [name for name in self.facts.columns if name.startswith("a")]
        facts = self.facts.mutate(asked=ibis.null("int64"), is_question=ibis.literal(0, "int8"))
        order = ("key", "time", "asked", "is_question", *amounts)
        asking = asking.mutate(
            time=asking.asked,
            is_question=ibis.literal(1, "int8"),
            **{name: ibis.null("float64") for name in amounts},
        )
        both = facts.select(*order).union(asking.select(*order))
        # Backwards in time the smallest instant asked so far is the next one. A fact counts from its instant on, so who asks
        # then stands before it here.
        backwards = ibis.window(
            group_by=both.key, order_by=[ibis.desc(both.time), ibis.desc(both.is_question)], rows=(None, 0)
        )
        both = both.mutate(next=both.asked.min().over(backwards))
        both = both.filter(both.next.notnull())
        halves = _distinct(self.entity.per_us)
        passed = (both.time - both.next).cast("float64")
        both = both.mutate(**{f"w{i}": _left(passed * _number(per_us)) for i, per_us in enumerate(halves) if per_us})
        return both.group_by("key", asked=both.next).agg(**self._gains(both, halves))

    def _gains(self, both: ir.Table, halves: list[float]) -> dict[str, ir.Value]:
        entity, gains = self.entity, {}
        for column, i, per_us in zip(self.sums, entity.sum_input.tolist(), entity.per_us.tolist(), strict=True):
            one = entity.inputs[i]
            amount = both[f"a{one.amount}"]
            weight = both[f"w{halves.index(per_us)}"] if per_us else _number(1.0)
            if one.kind == "bin":
                low, high = bounds_of(one.bin)
                inside = (amount > _number(0.0)) & (amount >= _number(low))
                inside = inside if math.isinf(high) else inside & (amount < _number(high))
                gain = ibis.ifelse(inside, weight, _number(0.0)).sum()
            else:
                gain = (amount * weight).sum()
            gains[f"s{column}"] = gain.fill_null(_number(0.0))
        for column, i in zip(self.firsts, entity.first_input.tolist(), strict=True):
            happened = (both[f"a{entity.inputs[i].amount}"] != _number(0.0)) & (both.again == _number(0.0))
            gains[f"s{column}"] = both.time.min(where=happened)
        for column, i in zip(self.lasts, entity.last_input.tolist(), strict=True):
            happened = (both[f"a{entity.inputs[i].amount}"] != _number(0.0)) & (both.again == _number(0.0))
            gains[f"s{column}"] = both.time.max(where=happened)
        for column, i in zip(self.told_at, entity.latest_input.tolist(), strict=True):
            gains[f"s{column}"] = both.time.max(where=both[f"a{entity.inputs[i].amount}"].notnull())
        return gains

    def _run(self) -> ir.Table:
        """What was known at each question: all that was gained up to it."""
        gained = self._gained()
        reach = BLOCK / max(self.asked.last - self.asked.first, 1)
        long = [per_us for per_us in _distinct(self.entity.per_us) if per_us <= reach]
        known = self._run_at_once(gained, set(long))
        for i, per_us in enumerate(_distinct(self.entity.per_us)):
            if per_us > reach:
                known = self._run_in_blocks(known, f"block{i}", per_us)
        return known

    def _run_at_once(self, gained: ir.Table, long: set[float]) -> ir.Table:
        """All columns but the sums that fade fast, in one go."""
        so_far = ibis.window(group_by=gained.key, order_by=gained.asked, rows=(None, 0))
        since = (gained.asked - _instant(self.asked.first)).cast("float64")
        columns: dict[str, ir.Value] = {}
        for column, per_us in zip(self.sums, self.entity.per_us.tolist(), strict=True):
            gain, age = gained[f"s{column}"], since * _number(per_us)
            if per_us == 0.0:
                columns[f"s{column}"] = gain.sum().over(so_far)
            elif per_us in long:
                columns[f"s{column}"] = (gain * _power(age)).sum().over(so_far) * _power(-age)
        for column in self.firsts:
            columns[f"s{column}"] = gained[f"s{column}"].min().over(so_far)
        for column in (*self.lasts, *self.told_at):
            columns[f"s{column}"] = gained[f"s{column}"].max().over(so_far)
        return gained.mutate(**columns)

    def _run_in_blocks(self, gained: ir.Table, block: str, per_us: float) -> ir.Table:
        """The sums that fade fast, block by block of time."""
        names = [f"s{i}" for i in self.sums if self.entity.per_us[i] == per_us]
        length = max(round(BLOCK / per_us), 1)
        since = gained.asked - _instant(self.asked.first)
        gained = gained.mutate(**{block: (since // _instant(length)).cast("int64")})
        since = gained.asked - _instant(self.asked.first)
        age = (since - gained[block] * _instant(length)).cast("float64") * _number(per_us)
        gained = gained.mutate(age=age, **{name: gained[name] * _power(age) for name in names})
        # Faded until the end of their block, from where the next one goes on.
        at_end = {f"{name}_before": gained[name].sum() * _number(2.0 ** -(length * per_us)) for name in names}
        totals = gained.group_by("key", block).agg(**at_end)
        order = ibis.window(group_by=totals.key, order_by=totals[block])
        before = totals.select(
            "key",
            block,
            blocks=(totals[block] - totals[block].lag(1).over(order)).cast("float64"),
            **{f"{name}_before": totals[f"{name}_before"].lag(1).over(order) for name in names},
        )
        so_far = ibis.window(group_by=[gained.key, gained[block]], order_by=gained.asked, rows=(None, 0))
        running = gained.mutate(**{name: gained[name].sum().over(so_far) for name in names})
        both = running.left_join(before, ["key", block])
        passed = both.age + (both.blocks - _number(1.0)) * _number(length * per_us)
        sums = {
            name: both[name] * _power(-both.age) + (both[f"{name}_before"] * _left(-passed)).fill_null(_number(0.0))
            for name in names
        }
        kept = [name for name in running.columns if name not in (block, "age", *names)]
        return both.select(*kept, **sums)

    def _told(self, known: ir.Table, column: int, amount: int) -> ir.Table:
        """With the value that was told at the instant at which one was told last; of several the largest."""
        told = self.facts.filter(self.facts[f"a{amount}"].notnull())
        told = told.group_by(told_key=told.key, told_time=told.time).agg(**{f"s{column + 1}": told[f"a{amount}"].max()})
        both = known.left_join(told, [known.key == told.told_key, known[f"s{column}"] == told.told_time])
        return both.select(*known.columns, f"s{column + 1}")


def _any(facts: ir.Table, inputs: tuple[Input, ...]) -> ir.BooleanValue:
    """Whether a fact adds anything."""
    told = {one.amount for one in inputs if one.kind == "latest"}
    adds = [
        facts[f"a{i}"].notnull() if i in told else (facts[f"a{i}"] != _number(0.0)).fill_null(ibis.literal(False))
        for i in sorted({one.amount for one in inputs})
    ]
    return reduce(or_, adds)


def _distinct(per_us: NDArray[np.float64]) -> list[float]:
    return sorted(set(per_us.tolist()))


def _number(value: float) -> ir.FloatingValue:
    """A number to the last digit: written plainly, DuckDB and PostgreSQL would take it for a decimal one."""
    return ibis.literal(repr(float(value))).cast("float64")


def _instant(value: int) -> ir.IntegerValue:
    return ibis.literal(value, "int64")


def _power(exponent: ir.FloatingValue) -> ir.FloatingValue:
    return _number(2.0) ** exponent


def _left(exponent: ir.FloatingValue) -> ir.FloatingValue:
    """Two to the power of something negative; nothing where that is next to nothing."""
    return ibis.ifelse(exponent > _number(-FADED), _power(ibis.greatest(exponent, _number(-FADED))), _number(0.0))
