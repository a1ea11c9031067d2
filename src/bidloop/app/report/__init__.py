"""What a run did, as one HTML file and as tables in the terminal.

| file | what it holds |
|---|---|
| `content` | what a report says: plain data |
| `page` | the data as one self-contained HTML file |
| `tables` | the same in the terminal |
| `report.html`, `report.js`, `report.css` | the page's template, its charts and its looks |
| `vendor/` | uPlot, which draws the charts, with its licence |
"""
