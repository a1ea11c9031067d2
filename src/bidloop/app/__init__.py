"""The program: settings, wiring, the command line, HTTP, the report.

| file | what it holds |
|---|---|
| `settings` | one typed tree; environment over `bidloop.toml` over defaults |
| `wiring` | the one place that chooses adapters |
| `cli` | the commands |
| `training` | a training from start to end: tuned, trained, promoted, recorded |
| `models/` | what models there are, which serves, and how they compare |
| `demo` | the whole loop on a simulated market or a real log |
| `http/` | the prediction API |
| `report/` | what a run did, as one HTML file and as tables |
"""
