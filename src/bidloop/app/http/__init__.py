"""The prediction API, which tells what to bid for a cell, and why.

In goes the JSON of a campaign cell, out comes a prediction with its bid, its interval and its reasons; every answer is
a recorded decision. What cannot be read gets a problem document (RFC 9457) that names every wrong field at once.

| file | what it holds |
|---|---|
| `schema` | the JSON types that go in and out |
| `body` | from the bytes of a request to those types, or the list of all that is wrong |
| `problems` | what can go wrong, as RFC 9457 problem documents |
| `border` | from the JSON types to the core's words and back: decimals to money, hours to instants |
| `decision_queue` | the one place where requests meet the loop; those that wait are decided together |
| `routes` | what each address answers |
| `openapi` | the OpenAPI 3.1 description, made from the JSON types |
| `reference` | the same description as a page for people |
| `metrics` | what Prometheus reads |
| `server` | the application, and the process that serves it |
"""
