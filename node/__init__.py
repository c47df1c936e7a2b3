"""Osteon, the node: time and the network. It translates between `storage` and `pipeline`."""
