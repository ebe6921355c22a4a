"""Records of measured runs in, self-contained HTML files out.

``data`` gathers records into cells, ``statistics`` judges them, ``prediction`` estimates, ``page``
writes. Each imports only those before it; of the runtime only ``contract`` and ``judging``, never
torch. A new objective is a row of ``objectives``. The runtime decides which runs are valid.
"""
