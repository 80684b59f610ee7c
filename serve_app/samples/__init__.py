"""Quizzes that were written for this project, in its own JSON format."""

from __future__ import annotations

from importlib.resources import files

from engine.importers import import_quiz
from engine.model import Quiz


def welcome_quiz() -> Quiz:
    """The quiz that a fresh start puts into the library."""
    data = files(__name__).joinpath("welcome.json").read_bytes()
    return import_quiz(data, "rayquiz", "").quiz
