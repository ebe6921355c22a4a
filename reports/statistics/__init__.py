"""What the numbers allow to say: fronts, intervals, differences, and how sure they are."""
