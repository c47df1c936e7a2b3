"""Osteon, the storage: rows and files. What is known, durably."""
