"""ParetoPipe's runtime: what runs on the nodes.

It measures split inference: a model's blocks are cut into stages, each stage runs in a fresh
process on its own host, and the orchestrator times batches through the chain. It reads a plan
(JSON) and writes records (JSONL); it knows nothing of Ansible, inventories or reports.
"""
