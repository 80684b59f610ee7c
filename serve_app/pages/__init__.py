"""The pages: host console, play, projector, library."""
