"""An organisation's ledger in a real PostgreSQL: the same facts, sums, reports and rights."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from carbon_trainer.errors import LedgerError
from carbon_trainer.ledger import schema
from carbon_trainer.ledger.facts import Interval
from carbon_trainer.ledger.merge import merge
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.ledger.verify import verify
from carbon_trainer.reports.build import render_run
from carbon_trainer.reports.portfolio.build import PORTFOLIO_RENDERERS
from carbon_trainer.reports.portfolio.figures import portfolio_of
from carbon_trainer.reports.portfolio.selection import Selection
from tests.ledger.records import interval, opened, progress
from tests.reports import ledgers
from tests.reports.ledgers import RUN
from tests.reports.portfolio.many import many

pytestmark = pytest.mark.real

ROLES = Path(__file__).parents[2] / "docs" / "postgresql-roles.sql"


def _program(name: str) -> str:
    found = shutil.which(name) or next(
        (str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), None
    )
    assert found, f"{name} is not installed"
    return found


def _as_postgres(*command: str) -> list[str]:
    """PostgreSQL does not run as root."""
    return ["runuser", "-u", "postgres", "--", *command] if os.geteuid() == 0 else list(command)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own, at a socket in a folder; its URL without a database."""
    made = subprocess.check_output(_as_postgres("mktemp", "-d", "/tmp/pg-XXXXXX"), text=True)
    folder = Path(made.strip())
    data, control = str(folder / "data"), _program("pg_ctl")
    _run(_program("initdb"), "-D", data, "-U", "owner", "-A", "trust")
    options = f"-c listen_addresses= -k {folder}"
    _run(control, "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
    yield f"postgresql+psycopg://{{user}}@/{{database}}?host={folder}"
    _run(control, "-D", data, "-m", "immediate", "stop")
    _run("rm", "-rf", str(folder))


def _run(*command: str) -> None:
    subprocess.run(_as_postgres(*command), check=True, stdout=subprocess.DEVNULL)


@pytest.fixture
def url(server: str, request: pytest.FixtureRequest) -> str:
    """An empty database."""
    name = f"db{abs(hash(request.node.nodeid)) % 10**9}"
    engine = sa.create_engine(
        server.format(user="owner", database="postgres"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.format(user="owner", database=name)


def test_facts_chain_and_sums_are_as_in_a_file(url: str, tmp_path: Path) -> None:
    ledger = Ledger.open(url)
    file = Ledger.open(tmp_path / "l.sqlite")
    facts = [(1, opened()), (2, interval(0, 700)), (3, interval(86_400, 41)), (4, progress(1))]
    for one in (ledger, file):
        one.append("r", facts, one.head("r"))
    assert ledger.head("r") == file.head("r")
    assert verify(ledger, "r").ok
    assert ledger.stored_sums("r") == file.stored_sums("r")
    assert ledger.intervals("r").to_dict() == file.intervals("r").to_dict()
    assert ledger.sums().to_dict() == file.sums().to_dict()


@pytest.mark.parametrize("name", sorted(ledgers.ALL))
def test_a_merged_run_gives_the_same_report_to_the_byte(
    url: str, tmp_path: Path, name: str
) -> None:
    file = ledgers.ALL[name](tmp_path / "l.sqlite")
    ledger = Ledger.open(url)
    (merged,) = merge(file, ledger)
    assert merged.problem is None
    assert merge(file, ledger)[0].added == 0
    for form in ("html", "md", "json"):
        assert render_run(ledger, RUN, form) == render_run(file, RUN, form)
    assert verify(ledger, RUN).problem is None
    ledger.close()


def test_a_portfolio_is_the_same_to_the_byte(url: str, tmp_path: Path) -> None:
    file, ledger = many(tmp_path / "l.sqlite"), Ledger.open(url)
    merge(file, ledger)
    for form in ("html", "json", "esrs", "xlsx"):
        render = PORTFOLIO_RENDERERS[form]
        assert render(portfolio_of(ledger, Selection())) == render(portfolio_of(file, Selection()))


def test_two_machines_write_their_runs_at_once(url: str) -> None:
    Ledger.open(url).close()

    def write(run_id: str) -> None:
        ledger = Ledger.open(url)
        head = ledger.append(run_id, [(1, opened())], ledger.head(run_id))
        for second in range(50):
            head = ledger.append(run_id, [(2 + second, interval(second, 10))], head)
        ledger.close()

    threads = [threading.Thread(target=write, args=(f"run-{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger = Ledger.open(url)
    assert [ledger.energy_mj(run_id) for run_id in sorted(ledger.run_ids())] == [500] * 4
    assert all(verify(ledger, run_id).ok for run_id in ledger.run_ids())


def test_a_ledger_of_the_first_schema_waits_for_its_owner(url: str) -> None:
    ledger = Ledger.open(url)
    ledger.append("r", [(1, opened()), (2, interval(0, 700))], ledger.head("r"))
    before = ledger.stored_sums("r")
    with ledger.transaction() as connection:
        for statement in (
            "DROP TABLE sums", "DROP TABLE alembic_version", "DROP INDEX facts_by_kind_of_run",
            "CREATE INDEX facts_by_kind ON facts (kind, run_id)",
            "UPDATE ledger_meta SET value='1' WHERE key='schema_version'",
        ):  # fmt: skip
            connection.execute(sa.text(statement))
    ledger.close()
    with pytest.raises(LedgerError, match="carbon-train ledger upgrade"):
        Ledger.open(url)
    upgraded = Ledger.open(url, upgrade=True)
    assert upgraded.stored_sums("r") == before
    assert verify(upgraded, "r").ok


@pytest.fixture
def with_roles(url: str, server: str) -> Iterator[tuple[str, str]]:
    """URLs of a writer and a reader with the rights that the documentation gives them."""
    Ledger.open(url).close()
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(ROLES.read_text())
        connection.exec_driver_sql("CREATE ROLE laptop LOGIN IN ROLE ledger_writer")
        connection.exec_driver_sql("CREATE ROLE officer LOGIN IN ROLE ledger_reader")
    name = sa.make_url(url).database
    yield server.format(user="laptop", database=name), server.format(user="officer", database=name)
    with engine.connect() as connection:
        for role in ("laptop", "officer", "ledger_writer", "ledger_reader"):
            connection.exec_driver_sql(f"DROP OWNED BY {role}")
            connection.exec_driver_sql(f"DROP ROLE {role}")
    engine.dispose()


def test_a_writer_appends_and_can_change_nothing(with_roles: tuple[str, str]) -> None:
    writer = Ledger.open(with_roles[0])
    head = writer.append("r", [(1, opened()), (2, interval(0, 700))], writer.head("r"))
    writer.append("r", [(3, interval(1, 1))], head)
    for statement in (
        "UPDATE facts SET body='{}'", "DELETE FROM facts", "UPDATE intervals SET energy_mj=0",
        "DELETE FROM intervals", "TRUNCATE facts CASCADE", "DROP TABLE facts",
    ):  # fmt: skip
        with pytest.raises(ProgrammingError), writer.transaction() as connection:
            connection.execute(sa.text(statement))
    assert writer.energy_mj("r") == 701
    writer.close()


def test_a_reader_reads_and_can_add_nothing(with_roles: tuple[str, str]) -> None:
    writer = Ledger.open(with_roles[0])
    writer.append("r", [(1, opened()), (2, interval(0, 700))], writer.head("r"))
    reader = Ledger.open(with_roles[1])
    assert portfolio_of(reader, Selection()).energy.value == pytest.approx(700 / 3.6e9)
    with pytest.raises(ProgrammingError):
        reader.append("x", [(1, opened())], reader.head("x"))
    for one in (writer, reader):
        one.close()


def test_a_server_that_is_not_there_is_said_so_without_its_password() -> None:
    with pytest.raises(LedgerError, match="cannot use the ledger") as caught:
        Ledger.open("postgresql+psycopg://someone:secret@/none?host=/nowhere")
    assert "secret" not in str(caught.value)


def test_hostile_names_are_read_as_they_were_written(url: str) -> None:
    ledger = Ledger.open(url)
    name = "a'; DROP TABLE facts; -- %(x)s %s :y \\ \u4e00 \U0001f600"
    fact = Interval(
        device=name, component="gpu", start_ns=1, end_ns=2, energy_mj=3, method="measured",
        sigma_mj=0, phase=name * 3,
    )  # fmt: skip
    ledger.append("r", [(1, opened()), (2, fact)], ledger.head("r"))
    assert list(ledger.intervals("r")["device"]) == [name]
    with ledger.transaction() as connection:
        assert schema.facts.name in sa.inspect(connection).get_table_names()
