"""`carbon-train fit --prometheus-port`: watched while it trains, or refused in one sentence."""

from __future__ import annotations

import signal
import socket
import sys
import time
import urllib.error
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.commands import CommandResult, Shell
from tests.live.scrape import scrape

GPU = {"uuid": "GPU-11112222-3333-4444-5555-666677778888", "power_w": 250.0}


@pytest.mark.slow
def test_live_metrics_are_served_from_preparation_to_end(shell: Shell) -> None:
    steps = ["--max-steps", "100000", "--validate-every", "100000"]
    process = shell.start("fit", *shell.tiny, *steps, "--prometheus-port", "0", gpu=GPU, piped=True)
    assert process.stdout is not None
    url = next(line for line in process.stdout if line.startswith("live figures: ")).split()[-1]
    deadline_s = time.monotonic() + 120
    # Its first readings may tell a power badly where a busy machine took them late.
    power_w = [pytest.approx(250, rel=0.1)]
    while (metrics := scrape(url)).value("steps_total") < 3 or metrics.all(
        "power_watts"
    ) != power_w:
        assert time.monotonic() < deadline_s, metrics
        time.sleep(0.2)
    assert metrics.all("power_watts", device=GPU["uuid"]) == power_w
    assert metrics.value("tokens_total") >= 3 * 4 * 32
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 143, out + err
    with pytest.raises(urllib.error.URLError, match="refused"):
        scrape(url)


def test_a_taken_port_is_bad_input_and_nothing_is_recorded(
    shell: Shell, carbon_train: Callable[..., CommandResult]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        Path("run.yaml").write_text(f"prometheus_port: {port}\n")
        result = carbon_train("fit", "run.yaml", *shell.tiny)
    assert result.status == 2
    assert result.err.startswith("carbon-train: live figures cannot be served on 127.0.0.1, port ")
    assert result.err.count("\n") == 1
    assert not Path("carbon_runs").exists()


def test_a_missing_prometheus_client_is_bad_input(
    shell: Shell, carbon_train: Callable[..., CommandResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    result = carbon_train("fit", *shell.tiny, "--prometheus-port", "0")
    assert result.status == 2
    assert "pip install 'carbon-trainer[prometheus]'" in result.err


@pytest.mark.slow
def test_a_resumed_run_serves_metrics_only_if_asked_again(
    shell: Shell, carbon_train: Callable[..., CommandResult]
) -> None:
    first = carbon_train("fit", *shell.tiny, "--prometheus-port", "0")
    assert "live figures: http://127.0.0.1:" in first.out
    again = carbon_train("fit", "--resume", "last", "--max-steps", "14")
    assert again.status == 0, again.err
    assert "live figures" not in again.out
