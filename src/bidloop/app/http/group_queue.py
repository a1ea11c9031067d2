"""Requests that wait while others are being written are written together, as the next group.

What was answered must be on the disk, and forcing it there takes longer than making it. So while one group is being written,
the requests that come in meanwhile gather.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from bidloop.app.http.problems import ApiError

Asked = TypeVar("Asked")
Told = TypeVar("Told")


class GroupQueue(Generic[Asked, Told]):
    """Serves requests several at a time, in one thread off the event loop.

    Parameters
    ----------
    serve
        Answers a group, in order; a request that failed has its problem in place of its answer. Called in the thread.
    size
        How much a request weighs.
    together
        Most weight that requests are gathered to; a heavier one goes alone.
    waiting
        Most weight that may wait; a request beyond it is refused at once rather than served late.
    refuse
        Makes the problem of a request that is refused, from the weight that waits.
    name
        Of the thread.
    """

    def __init__(
        self,
        serve: Callable[[Sequence[Asked]], Sequence[Told | ApiError]],
        *,
        size: Callable[[Asked], int],
        together: int,
        waiting: int,
        refuse: Callable[[int], ApiError],
        name: str,
    ) -> None:
        self._serve = serve
        self._size = size
        self._together = together
        self._most_waiting = waiting
        self._refuse = refuse
        self._waiting: list[tuple[Asked, asyncio.Future[Told]]] = []
        self._weight = 0
        self._drain: asyncio.Task[None] | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def ask(self, asked: Asked) -> Told:
        """The answer to one request.

        Raises
        ------
        ApiError
            When too much is waiting, or with the problem that the request met.
        """
        size = self._size(asked)
        if self._waiting and self._weight + size > self._most_waiting:
            raise self._refuse(self._weight)
        answer: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, answer))
        self._weight += size
        if self._drain is None or self._drain.done():
            self._drain = asyncio.create_task(self._work())
        return await answer

    def close(self) -> None:
        """Let the worker finish what it holds, and end it."""
        self._worker.shutdown(wait=True)

    async def _work(self) -> None:
        while self._waiting:
            group = self._next_group()
            asked = [one for one, _ in group]
            results = await asyncio.get_running_loop().run_in_executor(self._worker, self._serve, asked)
            for (_, answer), result in zip(group, results, strict=True):
                if answer.done():  # the caller went away
                    continue
                if isinstance(result, ApiError):
                    answer.set_exception(result)
                else:
                    answer.set_result(result)

    def _next_group(self) -> list[tuple[Asked, asyncio.Future[Told]]]:
        weight = taken = 0
        for asked, _ in self._waiting:
            size = self._size(asked)
            if taken and weight + size > self._together:
                break
            weight += size
            taken += 1
        group, self._waiting = self._waiting[:taken], self._waiting[taken:]
        self._weight -= weight
        return group
