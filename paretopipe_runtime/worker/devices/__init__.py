"""Devices that a stage computes on, and tensors in host memory.

A new one implements `device.Device` in a module of its own. Only `device.open_device` imports that,
and only in a stage process: the fork server must not touch CUDA.
"""
