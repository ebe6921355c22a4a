"""Traffic control in user space: one host's way out, delayed and limited, on loopback.

Standard library only, and nothing of PyTorch: it has to be there in a tenth of a second, and shares
the processors with what is measured.
"""
