"""The Migrator: plain SQL up and down, run before the services start. ``rayquiz migrate``."""

from migrations.migrator import (
    Migration,
    MigrationError,
    MigrationStatus,
    Migrator,
    SchemaMismatch,
    check_schema,
    check_schemas,
)

__all__ = [
    "Migration",
    "MigrationError",
    "MigrationStatus",
    "Migrator",
    "SchemaMismatch",
    "check_schema",
    "check_schemas",
]
