"""MLflow's own pages over a SQLite file of the house."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from types import FrameType

from bidloop.adapters.mlflow.connection import ENVIRONMENT, Store

SWITCHES = {
    **ENVIRONMENT,
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # 1.3 GB of worker processes for what is not used here
    "PYTHONWARNINGS": "ignore",
}


def run_ui(store: Store, host: str, port: int) -> int:
    """Serve MLflow's pages until they are told to stop; gives back how they ended.

    They run in a process group of their own, so that whatever stops this process stops all of MLflow's.
    """
    store.folder.mkdir(parents=True, exist_ok=True)
    with store.alone():
        pass  # whoever makes the tables right now comes first
    store.settle()
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store.uri, "--host", host]
    if store.artifacts:
        command += ["--default-artifact-root", store.artifacts]
    server = subprocess.Popen(
        [*command, "--port", str(port), "--workers", "1"], env={**os.environ, **SWITCHES}, start_new_session=True
    )

    stopped = []

    def stop(signum: int, frame: FrameType | None) -> None:
        stopped.append(signum)
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        code = server.wait()
        return 0 if stopped else code
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
