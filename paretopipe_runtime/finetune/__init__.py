"""Fine-tuning: from a state dict or random values to published weights with a known accuracy.

Runs on the orchestrator, where nothing is measured meanwhile. Data flow: `datasets` and `base` are
read, `training` trains the blocks and keeps `checkpoints`, `job` publishes the best epoch's with
what `evaluation` says of it.
"""
