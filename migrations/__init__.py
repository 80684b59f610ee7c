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
from migrations.roles import Login, make_roles

__all__ = [
    "Login",
    "Migration",
    "MigrationError",
    "MigrationStatus",
    "Migrator",
    "SchemaMismatch",
    "check_schema",
    "check_schemas",
    "make_roles",
]
