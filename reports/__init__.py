"""ParetoPipe's report: records of measured runs in, one self-contained HTML file out.

In scope: reading records, medians and ranges, the strict Pareto front, one page.
Out of scope: talking to nodes, importing torch, deciding which runs are valid (the
runtime decides that while it measures; the report only shows and counts).
"""
