"""Meters of what a stage process uses: processor, memory, network, GPU, throttling.

One module per source of figures (psutil, the firmware, NVML), each with `start` and `stop`, which
returns JSON-ready figures with units in their names. They import nothing of the worker's.
"""
