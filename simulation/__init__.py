"""Simulated players and load, over the network; imports nothing of ours but ``engine``."""
