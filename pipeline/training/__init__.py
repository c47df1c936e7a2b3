"""Data, augmentation, loops and evaluation of the networks; nothing outside may import it.

What trains needs torch and numpy alone, so that it also runs on a bare GPU machine; only
`prepare` and what it imports, which run where the bones lie, use SciPy.
"""
