"""A small model of who may acknowledge, all of whose states are looked at."""
