"""The pages: ``render`` puts sections into templates, ``index`` is the page above the models' own.

``sheet`` is what every section is made from; ``figures``, ``verdicts`` and ``tables`` are words and
tables that several share. They import data, statistics and prediction. What draws is in ``draw``,
what is said of one subject in ``sections``. ``report.*`` and ``macros.html.j2`` frame every page.
"""
