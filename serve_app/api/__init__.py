"""The HTTP API as one FastAPI application."""
