"""Where training runs and model versions are recorded."""

from __future__ import annotations

import msgspec


class RegistrySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which registry, and what things are called in it.

    Parameters
    ----------
    url
        ``http://`` or ``https://`` and the address of an MLflow server; empty is a SQLite file in the home folder.
    name
        The registered model, a version of which every bundle becomes. Accounts that share a server need names of their own.
    experiment
        The experiment that holds the runs.
    """

    url: str = ""
    name: str = "bidloop"
    experiment: str = "bidloop"
