"""The Feast objects of a view."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import feast
import msgspec
from feast.data_source import PushSource, RequestSource
from feast.field import Field
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.transformation.python_transformation import PythonTransformation
from feast.types import Array, Bytes, Float64, Int64, String
from feast.value_type import ValueType

from bidloop.adapters.feast.columns import StateColumns, columns_of
from bidloop.adapters.feast.naming import ACCOUNT, TAG, join_keys, states_name, values_name
from bidloop.adapters.feast.on_demand import ASKED, OPPORTUNITY
from bidloop.adapters.feast.questions import asked_categories
from bidloop.core.errors import ConfigurationError
from bidloop.features.planning import plan_of
from bidloop.features.signals import Signal
from bidloop.features.view import FeatureView

OWNER = "bidloop"
TIMESTAMP = "event_timestamp"


@dataclass(frozen=True)
class FeastObjects:
    """What a view is in Feast.

    Parameters
    ----------
    entities
        One for each join key: Feast joins an entity of several by several of them.
    states
        One feature view for each entity of the plan, in that order.
    values
        The on-demand feature view that has the features.
    """

    entities: tuple[feast.Entity, ...]
    states: tuple[feast.FeatureView, ...]
    values: OnDemandFeatureView

    @property
    def all(self) -> list[Any]:
        """For `feast.FeatureStore.apply`."""
        return [*self.entities, *self.states, self.values]


def feast_objects(view: FeatureView, folder: Path) -> FeastObjects:
    """Make the Feast objects of a view.

    Parameters
    ----------
    view
        The definition of the features.
    folder
        Where the Parquet files of their past lie (`history_path`).

    Raises
    ------
    ConfigurationError
        When two sources, or a source and a feature, would have the same name in Feast.
    """
    plan = plan_of(view)
    named = _checked_names(view)
    entities = {
        name: feast.Entity(
            name=f"bidloop_{name}",
            join_keys=[name],
            value_type=ValueType.STRING,
            description=f"{source or 'the account as a whole'}, as Bidloop's features know it",
            owner=OWNER,
        )
        for name, source in named.items()
    }
    tags = {TAG: view.version, "bidloop_view": view.name, "timezone": view.timezone}
    states = tuple(
        feast.FeatureView(
            name=states_name(view, entity),
            entities=[entities[name] for name in join_keys(entity)],
            ttl=timedelta(0),  # for ever: what fades fades by itself
            schema=[*(Field(name=name, dtype=String) for name in join_keys(entity)), *_fields(columns)],
            source=PushSource(
                name=f"{states_name(view, entity)}_push",
                batch_source=feast.FileSource(
                    name=f"{states_name(view, entity)}_file",
                    path=str(history_path(folder, view, entity.name)),
                    timestamp_field=TIMESTAMP,
                ),
            ),
            online=True,
            description=f"What is known of each {entity.name}: the past of view {view.name!r}, as sums that fade.",
            tags={**tags, "entity": entity.name},
            owner=OWNER,
        )
        for entity, columns in zip(plan.entities, columns_of(view), strict=True)
    )
    request = RequestSource(
        name=f"{values_name(view)}_request",
        schema=[Field(name=ASKED, dtype=Int64), Field(name=OPPORTUNITY, dtype=String)],
    )
    features = _value_fields(view)
    values = OnDemandFeatureView(
        name=values_name(view),
        sources=[*states, request],
        schema=features,
        mode="python",
        feature_transformation=_transformation(view, features),
        description="\n".join([f"The features of view {view.name!r} as of the instant that is asked.", *_told(view)]),
        tags=tags,
        owner=OWNER,
    )
    return FeastObjects(tuple(entities.values()), states, values)


def history_path(folder: Path, view: FeatureView, entity: str) -> Path:
    """Where the past states of one kind of entity lie."""
    [plan] = [one for one in plan_of(view).entities if one.name == entity]
    return (folder / "history" / f"{states_name(view, plan)}.parquet").absolute()


def _fields(columns: StateColumns) -> list[Field]:
    array = Array(Float64)
    return [
        *(
            Field(name=one.name, dtype=Float64 if one.kind == "number" else array, description=one.description)
            for one in columns.columns
        ),
        Field(name=columns.as_of, dtype=Int64, description="The instant of the state, microseconds since 1970 UTC."),
        Field(name=columns.recent, dtype=Bytes, description="What became known since: instants, and what they add."),
    ]


def _value_fields(view: FeatureView) -> list[Field]:
    signals = {signal.name: signal for signal in view.signals}
    fields = []
    for name in view.numeric_names:
        signal = signals.get(name)
        tags = {"unit": signal.unit, "range": _range(signal), "owner": signal.owner} if signal else {}
        fields.append(Field(name=name, dtype=Float64, description=signal.description if signal else "", tags=tags))
    return [*fields, *(Field(name=name, dtype=String) for name in asked_categories(view))]


def _told(view: FeatureView) -> list[str]:
    """One line for each signal: the registry keeps what each field says, but Feast's Python interface does not read it."""
    return [f"{one.name}: {one.description} Unit: {one.unit}, {_range(one)}." for one in view.signals]


def _range(signal: Signal) -> str:
    low, high = signal.range
    if low is None:
        return "any" if high is None else f"at most {high:g}"
    return f"at least {low:g}" if high is None else f"{low:g} to {high:g}"


class _Named(PythonTransformation):  # type: ignore[misc, unused-ignore]
    """A transformation whose features are known: Feast need not try it on made-up values to find out."""

    features: list[Field]

    def infer_features(self, random_input: dict[str, Any], singleton: bool | None = False) -> list[Field]:
        return self.features


def _transformation(view: FeatureView, features: list[Field]) -> PythonTransformation:
    # Feast keeps the source text, and runs it wherever the registry is read: so it says itself all that it needs.
    name = values_name(view)
    definition = msgspec.json.encode(view, order="deterministic").decode()
    source = (
        f"def {name}(inputs):\n"
        f"    from bidloop.adapters.feast.on_demand import feature_values\n"
        f"    return feature_values({definition!r}, inputs)\n"
    )
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    told = _Named(udf=namespace[name], udf_string=source, name=name)
    told.features = features
    return told


def _checked_names(view: FeatureView) -> dict[str, str]:
    """The join keys of a view, and the source of each; empty for the account."""
    named = {ACCOUNT: ""}
    for entity in plan_of(view).entities:
        for name, source in zip(join_keys(entity), entity.key, strict=False):
            if named.setdefault(name, source) != source:
                raise ConfigurationError(
                    f"sources {named[name]!r} and {source!r}, which are both {name!r} in Feast",
                    expected="names that differ in their letters and digits",
                )
    of_category = {category.name: category.source for category in view.categories}
    for name in (*view.numeric_names, *view.categorical_names):
        if name in named and of_category.get(name) != named[name]:
            raise ConfigurationError(
                f"feature {name!r}, which is the name of a join key in Feast",
                expected="another name",
                remedy="Rename the feature in the view.",
            )
    return named
