"""What the commands tell of models, and do with them.

| what | file |
|---|---|
| a model as a card: what it is, what it was worth, where it is | `cards` |
| all the models of a house, by version, its beginning or an alias: `Models` | `house_models` |
| which of two was better, and whether that can be said | `comparison` |
| a training recorded, now or later | `recording` |
| all of it as tables | `tables` |
"""
