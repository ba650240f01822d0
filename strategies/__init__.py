"""Strategies: one file a method. A file dropped in here is found by its decorator."""
