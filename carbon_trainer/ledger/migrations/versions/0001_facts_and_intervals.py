"""Facts and intervals: the schema that ledgers began with."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the first tables."""
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "ledger_meta",
        sa.Column("key", sa.String(40), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "facts",
        sa.Column("run_id", sa.String(64), primary_key=True),
        sa.Column("seq", number, primary_key=True),
        sa.Column("time_ns", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("body", sa.Text, nullable=True),
        sa.Column("sha256", sa.String(64), nullable=False),
    )
    op.create_index("facts_by_kind", "facts", ["kind", "run_id"])
    op.create_table(
        "intervals",
        sa.Column("run_id", sa.String(64), primary_key=True),
        sa.Column("seq", number, primary_key=True),
        sa.Column("device", sa.String(120), nullable=False),
        sa.Column("component", sa.String(20), nullable=False),
        sa.Column("start_ns", sa.BigInteger, nullable=False),
        sa.Column("end_ns", sa.BigInteger, nullable=False),
        sa.Column("energy_mj", sa.BigInteger, nullable=False),
        sa.Column("method", sa.String(20), nullable=False),
        sa.Column("sigma_mj", sa.BigInteger, nullable=False),
        sa.Column("phase", sa.String(40), nullable=False),
        sa.Column("steps", sa.BigInteger, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["run_id", "seq"], ["facts.run_id", "facts.seq"]),
    )
    op.execute("INSERT INTO ledger_meta (key, value) VALUES ('schema_version', '1')")


def downgrade() -> None:
    """Refuse: a ledger is never thrown away."""
    raise NotImplementedError("a ledger's facts are not thrown away")
