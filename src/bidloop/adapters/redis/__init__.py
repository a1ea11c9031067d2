"""Plug: the event stream on Redis Streams (Redis 7 or newer, or Valkey).

| word | file |
|---|---|
| `RedisEventStream` | `event_stream` |
| what must happen at once on the server | `*.lua` |
"""
