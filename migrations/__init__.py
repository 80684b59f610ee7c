"""The Migrator: plain SQL up and down, run before the services start. ``python -m migrations``."""

from migrations.migrator import (
    MigrationError,
    MigrationStatus,
    Migrator,
    SchemaMismatch,
    check_schema,
)

__all__ = ["MigrationError", "MigrationStatus", "Migrator", "SchemaMismatch", "check_schema"]
