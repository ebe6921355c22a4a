"""What runs on a worker: the agent (a service), its fork server, and one stage process a run."""
