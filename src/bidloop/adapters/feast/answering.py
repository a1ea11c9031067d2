"""A server behind Feast that does not answer, as the rest of Bidloop knows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from bidloop.core.errors import Unavailable


@contextmanager
def answering() -> Iterator[None]:
    """Say of a Redis that does not answer that it is unavailable.

    Raises
    ------
    Unavailable
        When the Redis of the online store refuses a connection, or breaks one off.
    """
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise Unavailable(
            f"Feast's online store does not answer: {error}",
            expected="a Redis at the repository's address",
            remedy="Start it, and try the same again.",
        ) from error
