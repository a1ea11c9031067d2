"""The groups of commands, one file each; `bidloop.app.cli` puts them together.

| group | file |
|---|---|
| options that many commands share | `options` |
| `bidloop absorb` | `absorb` |
| `bidloop events` | `events` |
| `bidloop keys` | `keys` |
| `bidloop models` | `models` |
| `bidloop privacy` | `privacy` |
| `bidloop quarantine` | `quarantine` |
"""
