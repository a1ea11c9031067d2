"""The gate that campaign reports pass as a whole."""

from __future__ import annotations

import html
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from bidloop.core.clock import Clock
from bidloop.core.errors import ConfigurationError
from bidloop.events.batches import Examination
from bidloop.events.packing import Item
from bidloop.events.settings import EventSettings

if TYPE_CHECKING:
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.data_context import EphemeralDataContext

_SITE = "campaign reports"


class GreatExpectationsGate:
    """Examines reports with a suite of expectations; implements `bidloop.events.batches.BatchGate`.

    Every examination gets a page of its own on a static site, whose ``index.html`` lists them all. Nothing is sent anywhere
    from here; a browser that opens the pages fetches their style sheets from where Great Expectations keeps them.

    Parameters
    ----------
    folder
        Where the site and the results of all examinations are kept.
    clock
        The present, that no row may be ahead of.
    settings
        What counts as sensible.

    Raises
    ------
    ConfigurationError
        When the extra is not installed.
    """

    def __init__(self, folder: Path, clock: Clock, settings: EventSettings) -> None:
        self._clock = clock
        self._settings = settings
        self._context = _context(folder.absolute())

    def examine(self, name: str, rows: Iterable[Item]) -> Examination:
        """Examine the rows of one report as one batch; all of them are held in memory."""
        import great_expectations as gx
        from great_expectations.core.run_identifier import RunIdentifier

        from bidloop.adapters.great_expectations.suite import frame, suite

        now = self._clock.now()
        context = self._context
        batch = context.data_sources.add_or_update_pandas("reports").add_dataframe_asset("report")
        definition = gx.ValidationDefinition(
            name=_SITE,
            data=batch.add_batch_definition_whole_dataframe("whole"),
            suite=context.suites.add_or_update(suite(now, self._settings)),
        )
        checkpoint = gx.Checkpoint(
            name=_SITE,
            validation_definitions=[context.validation_definitions.add_or_update(definition)],
            actions=[gx.checkpoint.UpdateDataDocsAction(name="page", site_names=[_SITE])],
        )
        table = frame(rows, now, self._settings)
        done = context.checkpoints.add_or_update(checkpoint).run(
            batch_parameters={"dataframe": table}, run_id=RunIdentifier(run_name=html.escape(name))
        )
        [(identifier, result)] = done.run_results.items()
        [site] = context.get_docs_sites_urls(resource_identifier=identifier, site_names=[_SITE])
        failures = tuple(_sentence(one) for one in result.results if not one.success)
        return Examination(failures, page=Path(unquote(urlsplit(str(site["site_url"])).path)))


def _context(folder: Path) -> EphemeralDataContext:
    """Everything in memory but the results, so that the site can list those of earlier runs."""
    # Older versions send usage statistics as soon as they are imported, unless this says no.
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of the standard library's modules that it imports
            import great_expectations as gx
            from great_expectations.data_context.types.base import (
                DataContextConfig,
                InMemoryStoreBackendDefaults,
                ProgressBarsConfig,
            )
    except ImportError as error:
        raise ConfigurationError(
            "events.expectations is on, but Great Expectations is not installed",
            expected="the extra that examines reports",
            remedy="pip install bidloop[expectations]",
        ) from error
    defaults = InMemoryStoreBackendDefaults(init_temp_docs_sites=False)
    defaults.stores[defaults.validation_results_store_name]["store_backend"] = _files(folder / "results")
    defaults.data_docs_sites = {
        _SITE: {
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "store_backend": _files(folder),
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        }
    }
    config = DataContextConfig(
        store_backend_defaults=defaults, analytics_enabled=False, progress_bars=ProgressBarsConfig(globally=False)
    )
    return gx.get_context(mode="ephemeral", project_config=config)


def _files(folder: Path) -> dict[str, Any]:
    return {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)}


def _sentence(result: ExpectationValidationResult) -> str:
    """What was expected, and how much of it was otherwise."""
    assert result.expectation_config is not None  # of an expectation that was evaluated
    expected = f"not met: {result.expectation_config.description}"
    if (share := result.result.get("unexpected_percent")) is not None:
        why = ""
        if result.expectation_config.kwargs.get("column") == "rejected":
            why = ": " + ", ".join(sorted(set(result.result["partial_unexpected_list"])))
        return f"{expected} ({share:.1f} % of the rows do not{why})"
    if (observed := result.result.get("observed_value")) is not None:
        return f"{expected} ({observed} of them)"
    return expected
