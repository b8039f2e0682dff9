"""Sums of intervals, so that a portfolio need not read them all; names of any length."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_HELD = """COALESCE((SELECT MAX(f.seq) FROM facts f
    WHERE f.run_id = i.run_id AND f.seq < i.seq AND f.kind IN ({kinds})), 0)"""


def upgrade() -> None:
    """Make the table and fill it from the intervals."""
    op.drop_index("facts_by_kind", "facts")
    op.create_index("facts_by_kind_of_run", "facts", ["kind", "run_id", "seq"])
    with op.batch_alter_table("intervals") as intervals:
        for name in ("device", "component", "method", "phase"):
            intervals.alter_column(name, type_=sa.Text, existing_nullable=False)
    op.create_table(
        "sums",
        sa.Column("run_id", sa.String(64), primary_key=True),
        sa.Column("segment", sa.BigInteger, primary_key=True),
        sa.Column("factor", sa.BigInteger, primary_key=True),
        sa.Column("machine", sa.BigInteger, primary_key=True),
        sa.Column("device", sa.Text, primary_key=True),
        sa.Column("component", sa.Text, primary_key=True),
        sa.Column("phase", sa.Text, primary_key=True),
        sa.Column("method", sa.Text, primary_key=True),
        sa.Column("day", sa.Integer, primary_key=True),
        sa.Column("first_seq", sa.BigInteger, nullable=False),
        sa.Column("intervals", sa.BigInteger, nullable=False),
        sa.Column("energy_mj", sa.BigInteger, nullable=False),
        sa.Column("variance_mj2", sa.Double, nullable=False),
        sa.Column("duration_ns", sa.BigInteger, nullable=False),
    )
    # The record in force at an interval is the last of its kinds before it in the chain, by
    # number and not by time: clocks may have been set back.
    segment = _HELD.format(kinds="'run_opened', 'resumed'")
    factor = _HELD.format(kinds="'intensity_used'")
    machine = _HELD.format(kinds="'machine_described'")
    op.execute(
        f"""INSERT INTO sums
        SELECT run_id, segment, factor, machine, device, component, phase, method, day,
            MIN(seq), COUNT(*), SUM(energy_mj), SUM(CAST(sigma_mj AS DOUBLE PRECISION) * sigma_mj),
            SUM(end_ns - start_ns)
        FROM (SELECT i.*, {segment} AS segment, {factor} AS factor, {machine} AS machine,
            CAST(i.start_ns / 86400000000000 AS INTEGER) AS day FROM intervals i) AS held
        GROUP BY run_id, segment, factor, machine, device, component, phase, method, day"""  # noqa: S608
    )
    op.execute("UPDATE ledger_meta SET value = '2' WHERE key = 'schema_version'")


def downgrade() -> None:
    """Go back to facts and intervals alone; nothing is lost, sums can be made again."""
    op.drop_table("sums")
    op.drop_index("facts_by_kind_of_run", "facts")
    op.create_index("facts_by_kind", "facts", ["kind", "run_id"])
    op.execute("UPDATE ledger_meta SET value = '1' WHERE key = 'schema_version'")
