"""Helpers that tests, the simulation and the bench share: factories, a driver, an auditor."""
