"""The figures of the report: each drawn once, kept as SVG for the page and as PNG for elsewhere."""
