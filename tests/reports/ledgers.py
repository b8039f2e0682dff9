"""Small ledgers of known runs, written with the real ledger and the real facts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from carbon_trainer.ledger.amend import amend
from carbon_trainer.ledger.chain import ChainHead
from carbon_trainer.ledger.facts import (
    BoundaryStated,
    CheckpointSaved,
    CorpusDescribed,
    Corrected,
    Decision,
    EstimateMade,
    Fact,
    Incomplete,
    InstrumentHeld,
    IntensityUsed,
    Interruption,
    Interval,
    MachineDescribed,
    ModelDescribed,
    Progress,
    Resumed,
    RunClosed,
    RunOpened,
)
from carbon_trainer.ledger.store import Ledger

RUN = "20260101-000000-abc123"
T0_NS = 1_767_225_600 * 10**9
S = 10**9
GPU = "GPU-5a1b2c3d-0000-1111-2222-333344445555"
HOSTILE = "<script>alert(1)</script>"
HOSTILE_CELL = "a|b\n# not a heading `x` [y](https://example.org) <img src=x onerror=alert(2)>"

CONFIG = {
    "model": "gpt-neox-tiny",
    "budget_kwh": 0.022,
    "budget_kgco2e": 0.01,
    "budget_cost": None,
    "zone": "GB",
    "pue": 1.2,
    "ledger": "postgresql+psycopg://someone:secret@db.example/ledger",
}
SOFTWARE = {"carbon-trainer": "0.1.0", "python": "3.11.9", "torch": "2.8.0"}

SOURCES = (
    {
        "name": "NVML energy counter", "component": "gpu", "device": GPU,
        "label": "NVIDIA H100 80GB HBM3", "method": "measured", "refresh_s": 0.1,
        "uncertainty": 0.05, "note": "",
    },
    {
        "name": "CodeCarbon, TDP x load", "component": "cpu", "device": "cpu",
        "label": "AMD EPYC 9454", "method": "estimated", "refresh_s": 1.0,
        "uncertainty": 0.3, "note": "a model: no RAPL on this machine",
    },
    {
        "name": "CodeCarbon, 5 W per DIMM", "component": "ram", "device": "ram",
        "label": "256 GB", "method": "estimated", "refresh_s": 1.0,
        "uncertainty": 0.5, "note": "",
    },
)  # fmt: skip

OPENED = RunOpened(name="nightly", project="parsers", config=CONFIG, software=SOFTWARE)
MACHINE = MachineDescribed(
    host="node-7", os="Linux 6.8", cpu="AMD EPYC 9454", cpu_cores=48,
    memory_bytes=256 * 10**9, sources=[dict(s) for s in SOURCES],
)  # fmt: skip
CORPUS = CorpusDescribed(
    origin="Python 3.11 standard library", licence="PSF-2.0", files=1404, bytes=30_123_456,
    sha256="ab" * 32, manifest="runs/x/corpus.tsv", tokenizer="byte-level BPE",
    vocab_size=4096, train_tokens=8_000_000, validation_tokens=160_000, block_size=256,
)  # fmt: skip
MODEL = ModelDescribed(
    name="gpt-neox-tiny", architecture="gpt_neox", parameters=3_456_789, pretrained=False,
    precision="bf16-mixed", total_steps=600, tokens_per_step=8192,
)  # fmt: skip
GB = IntensityUsed(
    zone="GB", zone_name="United Kingdom", intensity_gco2e_per_kwh=210.5, method="estimated",
    accounting="average lifecycle", source="Our World in Data, through codecarbon 3.3",
    vintage="2024", licence="CC BY 4.0", uncertainty=0.28,
    uncertainty_basis="hourly intensity around the annual mean", pue=1.2, pue_method="as given",
    price_per_kwh=0.31, currency="GBP",
)  # fmt: skip
FR = dataclasses.replace(
    GB, zone="FR", zone_name="France", intensity_gco2e_per_kwh=44.0, pue=1.1, price_per_kwh=0.2
)


class Chain:
    """Appends facts to one run, a clock beside it."""

    def __init__(self, ledger: Ledger, run_id: str = RUN) -> None:
        self.ledger, self.run_id, self.head = ledger, run_id, ChainHead()
        self.now_ns = T0_NS
        self.step = 0

    def put(self, *facts: Fact) -> None:
        self.head = self.ledger.append(self.run_id, [(self.now_ns, f) for f in facts], self.head)

    def train(
        self, seconds: int, *, gpu_w: float = 300.0, devices: Iterable[str] = ("gpu", "cpu", "ram"),
        gpu_method: str = "measured", every_s: int = 2, loss: bool = True,
    ) -> None:  # fmt: skip
        """Train for some seconds: intervals of ``every_s``, a validation each 40 s."""
        shown = tuple(devices)
        stamped: list[tuple[int, Fact]] = []
        for start_s in range(0, seconds, every_s):
            validating = start_s % 40 == 38
            phase = "validation" if validating else "train"
            swing = 1 + 0.25 * math.sin(start_s / 9)
            rows = {
                "gpu": (GPU, gpu_w * swing, gpu_method),
                "cpu": ("cpu", 92.0 + 11 * math.cos(start_s / 5), "estimated"),
                "ram": ("ram", 20.0, "estimated"),
            }
            for component in shown:
                device, power_w, method = rows[component]
                energy_mj = round(power_w * every_s * 1000)
                stamped.append((self.now_ns, Interval(
                    device=device, component=component, start_ns=self.now_ns,
                    end_ns=self.now_ns + every_s * S, energy_mj=energy_mj, method=method,
                    sigma_mj=round(0.02 * energy_mj), phase=phase, steps=every_s,
                    tokens=every_s * 8192,
                )))  # fmt: skip
            self.now_ns += every_s * S
            self.step += every_s
            value = 1.5 + 6 * math.exp(-self.step / 120) + 0.05 * math.sin(self.step * 1.7)
            stamped.append((self.now_ns, Progress(
                time_ns=self.now_ns, step=self.step, tokens=self.step * 8192,
                loss=value if loss else None,
                validation_loss=value + 0.1 if validating and loss else None,
            )))  # fmt: skip
        self.head = self.ledger.append(self.run_id, stamped, self.head)

    def close(self, status: str = "finished", reason: str = "all steps are done") -> None:
        self.now_ns += S // 2
        self.put(RunClosed(
            status=status, exit_status=0, reason=reason, step=self.step,
            tokens=self.step * 8192, checkpoint="checkpoints/last",
        ))  # fmt: skip

    def checkpoint(self, why: str = "every 120 steps") -> None:
        path = f"checkpoints/step-{self.step}"
        self.put(CheckpointSaved(path=path, step=self.step, bytes=41_000_000, seconds=0.4, why=why))


def opened(path: Path, run_id: str = RUN, **changes: Any) -> Chain:
    chain = Chain(Ledger.open(path), run_id)
    chain.put(dataclasses.replace(OPENED, **changes))
    return chain


def described(path: Path, factor: IntensityUsed = GB, **changes: Any) -> Chain:
    chain = opened(path, **changes)
    chain.put(factor, MACHINE, CORPUS, MODEL)
    return chain


def finished(path: Path) -> Ledger:
    """Two minutes on GPU, CPU and RAM."""
    chain = described(path)
    chain.train(120)
    chain.checkpoint("the end")
    chain.close()
    return chain.ledger


def resumed(path: Path) -> Ledger:
    """Killed after 60 s at step 60, resumed two hours later from step 50 in France."""
    chain = described(path)
    chain.train(60)
    booked = chain.ledger.energy_mj(RUN)
    chain.now_ns += 7200 * S
    chain.step = 50
    chain.put(Resumed(
        checkpoint="checkpoints/step-50", step=50, config=CONFIG, energy_before_mj=booked,
    ))  # fmt: skip
    chain.put(FR, MACHINE)
    chain.train(80, gpu_w=420.0)
    chain.put(Decision(decision="stop", why="the budget is used", figures={"left_kwh": 0.0001}))
    chain.close("budget", "the budget of 0.022 kWh is used")
    return chain.ledger


def still_open(path: Path) -> Ledger:
    chain = described(path)
    chain.train(30)
    return chain.ledger


def lost_gpu(path: Path) -> Ledger:
    """The GPU stops answering: estimated for a while, then unknown, then nothing."""
    chain = described(path)
    chain.train(40)
    chain.put(Incomplete(what=f"{GPU}: lost", why="NVML answers GPU is lost"))
    chain.train(20, gpu_method="estimated")
    chain.put(Interval(
        device=GPU, component="gpu", start_ns=chain.now_ns, end_ns=chain.now_ns + 10 * S,
        energy_mj=0, method="unknown", sigma_mj=0, phase="train",
    ))  # fmt: skip
    chain.train(20, devices=("cpu", "ram"))
    chain.put(Interruption(cause="SIGTERM", step=chain.step))
    chain.close("interrupted", "SIGTERM")
    return chain.ledger


def empty(path: Path) -> Ledger:
    return opened(path).ledger


def hostile(path: Path) -> Ledger:
    """Everything that a name can be."""
    source = {**SOURCES[0], "label": HOSTILE, "note": HOSTILE_CELL, "device": HOSTILE_CELL}
    machine = dataclasses.replace(MACHINE, host=HOSTILE, sources=[source])
    chain = opened(path, name=HOSTILE, project=HOSTILE_CELL, software={HOSTILE: HOSTILE})
    chain.put(
        dataclasses.replace(GB, zone_name=HOSTILE, source=HOSTILE_CELL),
        machine,
        dataclasses.replace(CORPUS, origin=HOSTILE, manifest="../" + HOSTILE),
        dataclasses.replace(MODEL, name=HOSTILE_CELL),
    )
    chain.put(Interval(
        device=HOSTILE_CELL, component=HOSTILE, start_ns=T0_NS, end_ns=T0_NS + 9 * S,
        energy_mj=5_000_000, method="measured", sigma_mj=1, phase=HOSTILE_CELL,
    ))  # fmt: skip
    chain.now_ns += 10 * S
    chain.put(Decision(decision=HOSTILE, why=HOSTILE_CELL, figures={HOSTILE: HOSTILE}))
    chain.put(Incomplete(what=HOSTILE_CELL, why=HOSTILE))
    chain.close("failed", HOSTILE_CELL)
    return chain.ledger


def amended(path: Path) -> Ledger:
    """Two minutes on own machines, with wind power for a part and a PUE that was wrong."""
    ledger = finished(path)
    for fact in (
        BoundaryStated(operation="own", organisation="ACME", by="officer"),
        InstrumentHeld(
            instrument="guarantee of origin", registry="AIB", serial="GO-77", vintage="2026",
            market="GB", rate_gco2e_per_kwh=0.0, energy_kwh=0.005, source="wind", by="officer",
        ),
        Corrected(of_seq=2, changes={"pue": 1.3}, reason="the hall's meter was read", by="officer"),
    ):  # fmt: skip
        amend(ledger, RUN, fact, T0_NS + 86_400 * S)
    return ledger


def planned(path: Path) -> Ledger:
    """A plan after a minute; then two hours at another intensity each."""
    chain = described(path)
    chain.train(60)
    plan = {
        "made_ns": chain.now_ns, "before_mj": chain.ledger.energy_mj(RUN), "planned_kwh": 0.9,
        "planned_kgco2e": 0.12, "planned_finish_ns": chain.now_ns + 7200 * S,
        "at_once_kwh": 1.0, "at_once_kgco2e": 0.3, "at_once_start_ns": chain.now_ns,
        "at_once_finish_ns": chain.now_ns + 3600 * S,
    }  # fmt: skip
    chain.put(Decision(decision="plan", why="to be done by noon", figures=plan))
    for grams in (300.0, 100.0):
        chain.put(dataclasses.replace(GB, intensity_gco2e_per_kwh=grams))
        chain.train(3600, every_s=40)
    chain.close()
    return chain.ledger


ESTIMATE = EstimateMade(
    accelerator="H100-SXM5-80GB", accelerators=1, parameters=1_000_000, tokens=1_966_080,
    hours=0.05, hours_low=0.03, hours_high=0.08,
    energy_kwh=0.004, energy_low_kwh=0.002, energy_high_kwh=0.008,
    interval=0.8, pue=1.2, basis="6 x parameters x tokens over a peak.",
)  # fmt: skip


def estimated(path: Path) -> Ledger:
    """Two minutes that were estimated before."""
    chain = described(path)
    chain.put(ESTIMATE)
    chain.train(120)
    chain.close()
    return chain.ledger


ALL = {
    "finished": finished, "resumed": resumed, "still_open": still_open,
    "lost_gpu": lost_gpu, "empty": empty, "hostile": hostile, "amended": amended,
    "planned": planned, "estimated": estimated,
}  # fmt: skip
