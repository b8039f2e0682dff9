-- Least privilege for a ledger in PostgreSQL. Run as its owner, after `carbon-train ledger create`.
--
-- A writer (training machines) appends facts and keeps the sums up; it can change or remove no
-- fact. A reader (reports, auditors) adds nothing. Give people and machines roles of their own:
--   CREATE ROLE node7 LOGIN PASSWORD '…' IN ROLE ledger_writer;
CREATE ROLE ledger_writer NOLOGIN;
CREATE ROLE ledger_reader NOLOGIN;
GRANT USAGE ON SCHEMA public TO ledger_writer, ledger_reader;
GRANT SELECT ON ledger_meta, alembic_version, facts, intervals, sums TO ledger_writer, ledger_reader;
GRANT INSERT ON facts, intervals TO ledger_writer;
-- Sums are added to; `carbon-train runs verify` compares them with the facts.
GRANT INSERT, UPDATE ON sums TO ledger_writer;
