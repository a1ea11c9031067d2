"""The client: tell a Bidloop server what happened, from any Python program.

It stands alone: it needs the rest of Bidloop neither installed elsewhere nor imported, and starts in a moment.

In: events as mappings, with the field names of the API. Out: nothing lost and nothing doubled, through restarts of the server
and breaks of the network, for as long as this process or its spool lives.

| word | file |
|---|---|
| EventClient | `event_client` |
| how one batch gets there | `courier` |
| what could not be sent yet, on the disk | `spool` |
"""

from bidloop.client.event_client import BufferFull, EventClient

__all__ = ["BufferFull", "EventClient"]
