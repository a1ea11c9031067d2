"""The log layout of the RTB benchmark (Cai et al., WSDM 2017): ``info.json`` and ``test.theta.txt`` of one campaign.

| notion | file |
|---|---|
| from the two files to auctions and the totals of the training log: `read_log` | `reader` |
| the published policies and ours on such a log: `run_log` | `benchmark` |
"""
