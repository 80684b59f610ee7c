"""Faults with real processes under a real burst: ``make chaos`` prints what each of them cost."""
