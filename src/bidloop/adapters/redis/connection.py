"""A Redis, and what its errors mean for us."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.retry import Retry

from bidloop.core.errors import ConfigurationError, Unavailable

_PASSING = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.ReadOnlyError,
    redis.OutOfMemoryError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.TryAgainError,
)
_PASSING_WORDS = ("MISCONF", "NOREPLICAS", "BUSY ")  # a full disk, no replica, another script that runs too long


class Connection:
    """The way to one server. Making one asks nothing of it: it may be down.

    Parameters
    ----------
    url
        ``redis://host:port/db``, ``rediss://`` or ``unix://``.
    setting
        Name of the setting that the address comes from, for messages.
    answer_seconds
        A server that hangs must not hang its clients: an answer takes at most this long.

    Raises
    ------
    ConfigurationError
        For an address that is none.
    """

    def __init__(self, url: str, setting: str, answer_seconds: float) -> None:
        self._setting = setting
        try:
            self.client = redis.Redis.from_url(
                url,
                protocol=2,
                socket_timeout=answer_seconds,
                socket_connect_timeout=answer_seconds / 2,
                socket_keepalive=True,
                retry=Retry(NoBackoff(), 0),  # whoever asks knows better whether to wait, and for how long
            )
        except ValueError as error:
            raise ConfigurationError(
                f"{setting} that is no address of a Redis",
                expected="redis://host:port/db, rediss:// or unix://",
                remedy=f"Set {setting}.",
            ) from error
        self.where = without_password(url)

    def script(self, *names: str) -> Script:
        """The scripts of these names in this folder, one behind the other, as one that runs on the server."""
        text = "\n".join(Path(__file__).with_name(f"{name}.lua").read_text() for name in names)
        return self.client.register_script(text)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Around what is asked of the server: its errors become ours.

        Raises
        ------
        ConfigurationError
            When the server does not let us in.
        Unavailable
            When it does not answer, or takes no commands for now.
        """
        try:
            yield
        except (
            redis.AuthenticationError,
            redis.exceptions.AuthorizationError,
            redis.exceptions.NoPermissionError,
        ) as error:
            raise ConfigurationError(
                f"Redis at {self.where} does not let us in ({error})",
                expected="a user who may use streams, keys and scripts",
                remedy=f"Set user and password in {self._setting}.",
            ) from error
        except redis.RedisError as error:
            if not isinstance(error, _PASSING) and not says(error, *_PASSING_WORDS):
                raise
            raise Unavailable(
                f"Redis at {self.where} takes no commands ({error})",
                expected="a server that answers",
                remedy=f"Start it or give it memory and disk, or set {self._setting}; then the same again is right.",
            ) from error

    def close(self) -> None:
        """Close the connections."""
        self.client.close()


def says(error: Exception, *words: str) -> bool:
    """Whether an error is one of some; from inside a script, the server puts words of its own around it."""
    return any(word in str(error) for word in words)


def without_password(url: str) -> str:
    """An address without user, password and query.

    >>> without_password("redis://anna:secret@cache.example:6379/0?password=secret")
    'redis://cache.example:6379/0'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
