"""ParetoPipe's report: records of measured runs in, self-contained HTML files out.

``data`` reads records and gathers them into cells, ``statistics`` judges them, ``prediction`` says
what was not measured, ``page`` puts all of it into words, tables and charts. Each imports only
those before it; tests/test_boundaries.py has the order. What splits are judged by is a row of
``objectives``. Of the runtime only its contract and ``judging`` may be imported, torch never.
Out of scope: talking to nodes, deciding which runs are valid (the runtime decides that while it
measures; the report only shows and counts).
"""
