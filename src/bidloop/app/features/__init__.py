"""What the commands tell of features.

| what | file |
|---|---|
| the views of a house, its models, and who reads what: `Features` | `house_features` |
| what two views do not have in common | `difference` |
| whether the values of decisions are what they should be | `health` |
| from events to decisions, also as OpenLineage | `lineage` |
| the reference page of ready-made features | `reference` |
| all of it as tables | `tables` |
"""
