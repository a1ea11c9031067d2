"""Which features and views there are, who uses them, and what their values were: what `bidloop features` tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property

import msgspec
import numpy as np

from bidloop.app.wiring import House, champion, served_view, view_of
from bidloop.core.errors import BidloopError, CorruptArtifact, NotFound, closest
from bidloop.features.cards import KINDS, FeatureCard, cards, describe_feature
from bidloop.features.catalogue import find_version
from bidloop.features.lineage import lineage, upstream
from bidloop.features.view import RESERVED, FeatureView
from bidloop.prediction.bundle import Bundle, load_bundle

WORDS = (*RESERVED, "serving")
"""What a view may be called beside its version: that of the settings, the champion's, and the one that serves, which is the present
one before the first training."""

MOST_COMMON = 5
"""Values of a category that are shown."""


class ModelUse(msgspec.Struct, frozen=True, kw_only=True):
    """A model on the shelf, and what it looks at.

    Parameters
    ----------
    version, created_at
        Which, and since when.
    view
        Version of its feature view.
    champion
        Whether it serves.
    reads
        Names of the features that go into its graphs; another of the view has no effect on it.
    """

    version: str
    created_at: datetime
    view: str
    champion: bool
    reads: tuple[str, ...]


class ViewUse(msgspec.Struct, frozen=True, kw_only=True):
    """A feature view that is known here.

    Parameters
    ----------
    version, name
        Which.
    kept_at
        When it was kept; `None` where a model holds the only copy, or it was never used.
    features
        How many it has.
    present, champion
        Whether the settings ask for it, and whether the model that serves reads it.
    models
        Models on the shelf that read it.
    """

    version: str
    name: str
    kept_at: datetime | None
    features: int
    present: bool
    champion: bool
    models: tuple[str, ...]


class Values(msgspec.Struct, frozen=True, kw_only=True):
    """Which values a feature had in recorded decisions.

    Parameters
    ----------
    decisions, missing
        How many of the same view were looked at, and how many had no value.
    quantiles
        Smallest, lower quartile, median, upper quartile and largest value, by name.
    common
        Of a category the most common values, with how often they came.
    """

    decisions: int
    missing: int
    quantiles: dict[str, float] = {}
    common: dict[str, int] = {}


class FeatureUse(msgspec.Struct, frozen=True, kw_only=True):
    """One feature in full.

    Parameters
    ----------
    view, card
        Version of its view, and what is said of it.
    amounts
        What it is made of, each with the fields of events that tell it and how.
    opportunity
        Fields of the opportunity that it is read from or looked up by.
    models
        Models on the shelf that read it.
    values
        Which values it had; `None` where no decision is known.
    """

    view: str
    card: FeatureCard
    amounts: dict[str, list[str]]
    opportunity: list[str]
    models: tuple[str, ...]
    values: Values | None


class Features:
    """The feature views of one house, and who uses them.

    Parameters
    ----------
    house
        Where models, decisions and kept views are.
    """

    def __init__(self, house: House) -> None:
        self.house = house
        self.catalogue = house.views

    def present(self) -> FeatureView:
        """The view that the settings ask for."""
        return view_of(self.house)

    def serving(self) -> FeatureView:
        """The view of the model that serves; before the first training the present one."""
        return served_view(self.house)

    def view(self, word: str) -> FeatureView:
        """The view of a version or its beginning, or ``present``, ``champion`` or ``serving``.

        Raises
        ------
        NotFound
            When there is none, or several begin so.
        CorruptArtifact
            When the only copy of it is damaged.
        """
        if word == "present":
            return self.present()
        if word == "serving":
            return self.serving()
        if word == "champion":
            bundle = champion(self.house)
            if bundle is None:
                raise NotFound("no model that serves", expected="a trained one", remedy="Run 'bidloop train'.")
            return msgspec.convert(bundle.view, FeatureView)
        return self._kept(find_version(word, self._versions()))

    def is_view(self, word: str) -> bool:
        """Whether a word means a view, or begins a version that is known. A feature may be called the same."""
        return word in WORDS or any(version.startswith(word) for version in self._versions())

    def feature(self, view: FeatureView, name: str, last: int) -> FeatureUse:
        """Tell of one feature all that is known.

        Raises
        ------
        NotFound
            When the view has no such feature; with the closest.
        """
        card, edges = describe_feature(view, name), upstream(lineage(view), name)
        amounts: dict[str, list[str]] = {}
        for edge in edges:
            if edge.target.kind == "amount":
                amounts.setdefault(edge.target.name, []).append(f"{edge.source} ({edge.how})")
        return FeatureUse(
            view=view.version,
            card=card,
            amounts=amounts,
            opportunity=[f"{edge.source.field} ({edge.how})" for edge in edges if edge.source.kind == "opportunity"],
            models=tuple(one.version for one in self.models() if one.view == view.version and name in one.reads),
            values=self.values(view, name, last),
        )

    def models(self) -> list[ModelUse]:
        """The models on the shelf, oldest first; one that is damaged is `bidloop check`'s to tell of."""
        serves = self.house.shelf.champion()
        uses = [
            ModelUse(
                version=bundle.version,
                created_at=bundle.created_at,
                view=bundle.view_version,
                champion=bundle.version == serves,
                reads=reads_of(bundle),
            )
            for bundle in self._bundles
        ]
        return sorted(uses, key=lambda use: (use.created_at, use.version))

    def views(self) -> list[ViewUse]:
        """All views that are known here: kept ones in the order of keeping, then those of models alone, then the present one.

        Raises
        ------
        CorruptArtifact
            When a kept one is damaged.
        """
        present, models = self.present(), self.models()
        kept = {one.version: one.kept_at for one in self.catalogue.versions()}
        views: dict[str, FeatureView] = {}
        for version in dict.fromkeys((*kept, *self._versions())):
            with suppress(NotFound):  # a model's, whose definition this program refuses
                views[version] = self._kept(version)
        return [
            ViewUse(
                version=version,
                name=view.name,
                kept_at=kept.get(version),
                features=len(view.categorical_names) + len(view.numeric_names),
                present=version == present.version,
                champion=any(model.champion and model.view == version for model in models),
                models=tuple(model.version for model in models if model.view == version),
            )
            for version, view in views.items()
        ]

    def values(self, view: FeatureView, name: str, last: int) -> Values | None:
        """Which values a feature had in those of the last decisions that are of this view; `None` where there are none."""
        vectors = [one.features for one in self.house.decisions.recent(last) if one.features.view == view.version]
        if not vectors:
            return None
        if name in view.categorical_names:
            counted = Counter(vector.categorical[name] for vector in vectors)
            missing = counted.pop("", 0)
            return Values(decisions=len(vectors), missing=missing, common=dict(counted.most_common(MOST_COMMON)))
        there = [value for vector in vectors if (value := vector.numeric[name]) is not None]
        return Values(
            decisions=len(vectors), missing=len(vectors) - len(there), quantiles=_quantiles(there) if there else {}
        )

    @cached_property
    def _bundles(self) -> list[Bundle]:
        bundles = []
        folder = self.house.shelf.folder
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            with suppress(CorruptArtifact, NotFound):
                if path.is_dir() and not path.name.startswith("."):
                    bundles.append(load_bundle(path))
        return bundles

    def _versions(self) -> list[str]:
        """The views that are known here, by version: kept ones in the order of keeping, those of models, and the present one."""
        of_models = [bundle.view_version for bundle in self._bundles]
        return list(dict.fromkeys((*self.catalogue.names(), *of_models, self.present().version)))

    def _kept(self, version: str) -> FeatureView:
        """The view of a version, from whoever has it: only what is asked for is read."""
        present = self.present()
        if version == present.version:
            return present
        for bundle in self._bundles:
            if bundle.view_version == version:
                with suppress(msgspec.ValidationError, BidloopError):  # a definition that this program refuses
                    return msgspec.convert(bundle.view, FeatureView)
        return self.catalogue.view(version)


def narrowed(view: FeatureView, kind: str = "", entity: str = "") -> list[FeatureCard]:
    """The features of a view that are of a kind and speak of an entity; empty takes all.

    Raises
    ------
    NotFound
        When there is no such kind, or the view has no such entity; with the closest.
    """
    for what, asked, known in (("kind", kind, KINDS), ("entity", entity, tuple(view.hierarchy))):
        if asked and asked not in known:
            raise NotFound(
                f"no {what} {asked!r} of features in view {view.name} {view.version}",
                expected=f"one of {', '.join(known)}",
                remedy=closest(asked, known),
            )
    return [card for card in cards(view) if kind in ("", card.kind) and entity in ("", card.entity)]


def reads_of(bundle: Bundle) -> tuple[str, ...]:
    """Names of the features that go into a model's graphs."""
    encodings = [bundle.model.encoding] + ([bundle.landscape.encoding] if bundle.landscape else [])
    reads: dict[str, None] = {}
    for encoding in encodings:
        reads.update(dict.fromkeys(field.name for field in encoding.numeric))
        reads.update(dict.fromkeys(name for field in encoding.categories for name in field.sources))
    return tuple(reads)


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    names = ("lowest", "lower quartile", "median", "upper quartile", "highest")
    return dict(zip(names, np.quantile(values, (0.0, 0.25, 0.5, 0.75, 1.0)).tolist(), strict=True))
