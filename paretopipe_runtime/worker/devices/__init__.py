"""A stage's devices, and tensors in host memory.

A new device is a module that implements `device.Device`. Only `device.open_device` imports it, in a
stage process: the fork server must not touch CUDA.
"""
