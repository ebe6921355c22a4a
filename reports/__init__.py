"""ParetoPipe's report: records of measured runs in, self-contained HTML files out.

``data`` reads records and gathers them into cells, ``statistics`` judges them, ``prediction`` says
what was not measured, ``page`` puts all of it into words, tables and charts. Each knows only those
before it.
Out of scope: talking to nodes, importing torch, deciding which runs are valid (the runtime decides
that while it measures; the report only shows and counts).
"""
