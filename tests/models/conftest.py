"""Weights on disk once for all of these tests."""

from tests.shared import one_thread as one_thread
from tests.shared import store as store
