"""What provisioning lays down on a host, and whether a host still has all of it."""
