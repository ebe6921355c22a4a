"""What runs on the orchestrator's host: prepare a model, then measure one cell run by run."""
