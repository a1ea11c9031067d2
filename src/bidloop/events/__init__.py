"""What happened, as far as we have been told.

Events come in from senders, files and connectors; each is read, checked, freed of whom it names, known again by its id, and kept
in an append-only log. What makes no sense is kept aside with its reason and its bytes, never dropped and never repaired.

In: bytes as senders tell them, or typed events (`bidloop.core.event`). Out: the log, in the order in which it was written.

| word | file |
|---|---|
| the types of events as senders tell them, and their JSON Schemas | `told`, `json_schema` |
| Teller: reads what is told; why it cannot be read | `teller`, `misreading` |
| Reception: from bytes to an event that may enter | `reception` |
| the checks of one event | `validation` |
| Privacy: pseudonyms, consent; Seal: bytes that may name somebody | `privacy`, `sealing` |
| what an event is known by | `identity` |
| Intake, Receipt, Verdict, Door: the way into the log | `intake` |
| Publisher, Absorber: the way through a stream | `publisher`, `absorber` |
| items in a stream; waiting for a server | `packing`, `patience` |
| Batches, BatchGate: files, each once; Restatement: report rows told anew | `batches`, `restatement` |
| Rejected, and how a row becomes one; Replay: taken in after all | `rejected`, `replaying` |
| EventLog, EventStream, Quarantine | `ports` |
| EventSettings, StreamSettings, PrivacySettings | `settings` |
"""
