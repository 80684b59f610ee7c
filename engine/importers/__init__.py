"""Quizzes from files: bytes in, a quiz and a report out. Never all or nothing."""

from engine.importers.formats import FORMATS, import_quiz
from engine.importers.rayquiz_json import to_json
from engine.importers.report import ImportReport, Skipped, Warned

__all__ = ["FORMATS", "ImportReport", "Skipped", "Warned", "import_quiz", "to_json"]
