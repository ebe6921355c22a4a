"""Meters of a stage process: processor, memory, network, GPU, throttling.

A module per source (psutil, firmware, NVML), with `start` and `stop`, which returns JSON-ready
figures with units in their names. They import nothing of the worker's.
"""
