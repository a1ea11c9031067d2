"""Feast's metrics, kept from changing those of the process.

On import Feast switches the Prometheus client to files in a temporary folder, for all metrics of the process and of those that it
starts. Nobody asked for that here. So this package loads the client before Feast is loaded (`__init__`), and puts the
switches back.
"""

from __future__ import annotations

import os
from pathlib import Path

_SWITCHES = ("PROMETHEUS_MULTIPROCESS_DIR", "PROMETHEUS_MULTIPROC_DIR")


def put_switches_back() -> None:
    """Take Feast's switches out of the environment, which the processes started from here would inherit."""
    for name in _SWITCHES:
        if Path(os.environ.get(name, "")).name.startswith("feast_metrics_"):
            del os.environ[name]
