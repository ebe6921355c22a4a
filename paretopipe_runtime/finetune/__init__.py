"""Fine-tuning, on the orchestrator: from a base to published weights of known accuracy.

`datasets` and `base` read the inputs, `training` writes `checkpoints`, `job` publishes the best
epoch with the accuracy that `evaluation` finds.
"""
