"""Plug: events that wait, and features that processes share, on Redis (7 or newer, or Valkey).

| word | file |
|---|---|
| `RedisEventStream` | `event_stream` |
| `RedisFeatureStore` | `feature_store` |
| what is kept of many entities, with what came of late | `kept_states` |
| the same as bytes | `feature_blob` |
| under which keys | `feature_keys` |
| what is asked of the server, and how a loss is noticed | `feature_server` |
| the connection | `connection` |
| what must happen at once on the server | `*.lua` |
"""
