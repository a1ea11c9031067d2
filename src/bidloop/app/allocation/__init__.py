"""What an allocation of a budget learns from, what it says, and the page that draws it.

| file | notion |
|---|---|
| `source` | spend and outcome by campaign and day, from report files or the history |
| `content` | the advice as plain data: `--json` hands it out, the table and the page show it |
| `drawing` | one response curve as SVG |
| `page` | the page: one HTML file without scripts (`page.html`, `page.css`) |
"""
