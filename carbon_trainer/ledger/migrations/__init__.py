"""Alembic's environment for ledgers made by earlier versions."""
