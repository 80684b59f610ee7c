"""Settings of Hypothesis for all unit tests."""

from hypothesis import HealthCheck, settings

# No deadline: two test processes share two cores, and a slow example is no fault of the code.
settings.register_profile(
    "rayquiz", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("rayquiz")
