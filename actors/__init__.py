"""The shell around the core: Ray actors, PostgreSQL, Redis. Imports ``engine`` only."""
