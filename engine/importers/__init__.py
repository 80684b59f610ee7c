"""Quizzes from files: bytes in, a quiz and a report out. Never all or nothing."""

from engine.importers.formats import FORMATS, ImportReport, Skipped, import_quiz
from engine.importers.rayquiz_json import to_json

__all__ = ["FORMATS", "ImportReport", "Skipped", "import_quiz", "to_json"]
