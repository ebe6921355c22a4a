"""Benchmark of the data plane against its limit, PyTorch RPC and pickle.

Never in the runtime's wheel, because it unpickles what authenticated peers send: the role `bench`
copies it to the nodes for a run. May import the runtime. `settings.yml` lists the measurements; a
new method is a backend (`node.py`) or two ends (`transport.py`), a new table is in `tables.py`.
"""
