"""Latency and throughput of any split on any link, from profiles of the blocks."""
