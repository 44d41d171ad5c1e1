"""The database's schema through time, for Alembic."""
