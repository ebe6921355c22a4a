"""What is too slow for the suite, whose own tests are borrowed in large numbers."""

import os

os.environ.setdefault("THOROUGH", "1")
