"""Where OpenLineage events go: a file of JSON lines, or a server."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from bidloop.core.errors import ConfigurationError, Unavailable

if TYPE_CHECKING:
    from openlineage.client.event_v2 import JobEvent, RunEvent

ENDPOINT = "api/v1/lineage"
"""Path on the server, where the URL names none."""

SECONDS = 5.0
"""How long a server may take to answer."""


class LineageSender:
    """Sends OpenLineage events with the project's own client.

    Parameters
    ----------
    target
        A file, which is appended to and whose folder is made with the first event, or ``http://`` or ``https://`` and the address
        of a server. A server's API key is taken from ``OPENLINEAGE_API_KEY``, as every OpenLineage client does.

    Attributes
    ----------
    where
        The file, or the server without who opens it.

    Raises
    ------
    ConfigurationError
        When the client is not installed, or the target is neither.
    """

    def __init__(self, target: str) -> None:
        try:
            from openlineage.client import OpenLineageClient
        except ImportError as error:
            raise ConfigurationError(
                "lineage, but no client for OpenLineage",
                expected="the package openlineage-python",
                remedy="Install it: pip install bidloop[lineage].",
            ) from error
        from openlineage.client.transport.file import FileConfig, FileTransport
        from openlineage.client.transport.http import ApiKeyTokenProvider, HttpConfig, HttpTransport, TokenProvider

        parts = address_of(target)
        self._file: Path | None = None
        if parts is not None:
            self.where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"  # without a password
            key = os.environ.get("OPENLINEAGE_API_KEY")
            config = HttpConfig(
                url=f"{parts.scheme}://{parts.netloc}",
                endpoint=parts.path.strip("/") or ENDPOINT,
                timeout=SECONDS,
                auth=ApiKeyTokenProvider({"api_key": key}) if key else TokenProvider({}),
                retry={"total": 1, "connect": 1, "allowed_methods": ["POST"], "status_forcelist": [502, 503, 504]},
            )
            self._client = OpenLineageClient(transport=HttpTransport(config))
        else:
            self.where, self._file = target, Path(target)
            self._client = OpenLineageClient(transport=FileTransport(FileConfig(log_file_path=target, append=True)))

    def send(self, event: RunEvent | JobEvent) -> None:
        """Send one event; it has arrived when this returns.

        Raises
        ------
        Unavailable
            When the server does not answer or refuses it, or the file cannot be written.
        """
        try:
            if self._file is not None:
                self._file.parent.mkdir(parents=True, exist_ok=True)
            self._client.emit(event)
        # The client lets through whatever its transports raise, which are errors of `requests`, `urllib3` and plain ones.
        except Exception as error:
            raise Unavailable(
                f"lineage to {self.where}: {_first_line(error)}",
                expected="an OpenLineage server that answers, or a file that can be written to",
            ) from error

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()


def address_of(target: str) -> SplitResult | None:
    """The address of a server that a target is; `None` where it is a file.

    Raises
    ------
    ConfigurationError
        When it is neither; its user and password are not repeated.

    Examples
    --------
    >>> address_of("http://marquez:5000").port, address_of("out/lineage.jsonl")
    (5000, None)
    >>> address_of("marquez:5000")
    Traceback (most recent call last):
    bidloop.core.errors.ConfigurationError: lineage to 'marquez:5000', which is neither a file nor an address; expected a file,
        or the http:// or https:// address of a server. Did you mean 'http://marquez:5000'?
    """
    expected = "a file, or the http:// or https:// address of a server"
    try:
        parts = urlsplit(target)
        host, port = parts.hostname, parts.port
    except ValueError:  # its text quotes the address, in which a password may stand
        raise ConfigurationError(
            "lineage to an address that cannot be read",
            expected=expected,
            remedy="A port is a number up to 65535, and brackets stand around IPv6 addresses only.",
        ) from None
    if parts.scheme in ("http", "https") and host and port != 0:
        return parts
    if re.fullmatch(r"[\w.-]+:\d+(/.*)?", target):
        raise ConfigurationError(
            f"lineage to {target!r}, which is neither a file nor an address",
            expected=expected,
            remedy=f"Did you mean 'http://{target}'?",
        )
    if parts.scheme or "://" in target or not target:
        raise ConfigurationError(
            f"lineage to {f'{parts.scheme}:…' if parts.scheme else 'nowhere'}",
            expected=expected,
            remedy="A file whose name has a colon is written './NAME'.",
        )
    return None


def _first_line(error: Exception) -> str:
    name, text = type(error).__name__, str(error)
    # Errors of connections quote the whole address, in which a password may stand.
    return name if "://" in text or "@" in text else f"{name}: {text.splitlines()[0] if text else ''}"[:300]
