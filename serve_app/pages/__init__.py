"""The pages: landing, play, host console, projector, library. Plain ES modules, no build step."""
