"""Bidloop: honest click and conversion rates, bids under budgets, and a record that explains every bid.

The path, in words::

    event → features → prediction → bid → outcome → learning → monitoring → retraining

What happened is told as an event (`events`). It becomes an outcome of something that was shown (`outcomes`), and the
outcome becomes part of what is known of opportunities like it (`features`). A model learns from all of it in batch
(`models`); what it learned is served as rates with intervals (`prediction`), which are worth something and therefore a bid
(`bidding`). The bid wins or loses, and that again is an event. Now and then the whole is renewed on later days
(`retraining`), and what another policy would have done is asked of the log (`experiments`) or of a world whose truth is
known (`simulation`). `loop` walks through all of it in order, in three verbs.

| room | its question |
|---|---|
| `bidloop.core` | which words do two rooms say to each other? |
| `bidloop.events` | what happened? |
| `bidloop.outcomes` | what came of it? |
| `bidloop.features` | what did we know of this opportunity at this instant? |
| `bidloop.models` | what can be learned in batch? |
| `bidloop.prediction` | what will happen if we show this? |
| `bidloop.bidding` | what is it worth, and what do we send? |
| `bidloop.experiments` | what would another policy have done? |
| `bidloop.retraining` | is a new model better, and on what evidence? |
| `bidloop.loop` | decide, absorb, renew |
| `bidloop.simulation` | what would have happened in a world that we know? |
| `bidloop.adapters` | how does a platform speak? |
| `bidloop.app` | how is it run? |
| `bidloop.client` | how does another program tell what happened? |
"""
