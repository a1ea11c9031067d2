"""The API: what happened is told to it, and what to bid for a cell, and why, is asked of it.

In goes the JSON of a campaign cell, out comes a prediction with its bid, its interval and its reasons; every answer is
a recorded decision. In go events, out comes what became of each; what is accepted is on the disk. What cannot be read gets a
problem document (RFC 9457) that names every wrong field at once.

| file | what it holds |
|---|---|
| `schema`, `event_schema` | the JSON types that go in and out |
| `incoming` | the bytes of a request, unpacked, and no more of them than may be |
| `body` | from the bytes of a cell to those types, or the list of all that is wrong |
| `event_body` | from the bytes of many events to each one's own |
| `pixel` | from the address of an image to an event |
| `problems` | what can go wrong, as RFC 9457 problem documents |
| `border` | from the JSON types to the core's words and back: decimals to money, hours to instants |
| `group_queue` | those that wait are written together |
| `decision_queue`, `event_queue` | the one place each where requests meet the loop, and the door |
| `doorkeeper`, `keyring`, `client_address`, `rate_limit` | who sends a request, whether they may, and how much |
| `backlog`, `watch` | how far the stream's consumers are behind, looked at beside the requests |
| `routes`, `event_routes` | what each address answers |
| `openapi`, `examples` | the OpenAPI 3.1 description, made from the JSON types |
| `reference` | the same description as a page for people |
| `metrics` | what Prometheus reads |
| `server` | the application, and the process that serves it |
"""
