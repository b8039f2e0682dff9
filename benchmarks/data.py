"""Preparing text, compared with datatrove: the same corpus, and steps that match.

    python -m benchmarks.data [--megabytes 60] [--rounds 3] [--peer-python VENV/bin/python]

datatrove needs a separate environment, with ``datatrove[processing]``, ``spacy``, ``pyarrow`` and
``orjson``: it requires an older xxhash than the one that we are tested with. Each run is a separate
process, from JSONL to Parquet, imports included; the two take turns. Seconds are wall-clock time;
CPU seconds, and the peak memory of the largest process, are those of one worker.

The corpus is random: words with the frequencies of a language (Zipf), about 400 of them in the
median document. Of ten documents one is a copy of another, and one a copy with one word in a
hundred changed; one in twenty contains an e-mail address.
"""

from __future__ import annotations

import argparse
import bisect
import itertools
import json
import math
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

FILES = 4
WORDS = 40_000
STEPS = {
    "copies": "exact duplicates",
    "near": "exact and near duplicates, MinHash of five-word shingles",
    "personal": "exact duplicates, personal data redacted",
}


def vocabulary(draw: random.Random) -> tuple[list[str], list[float]]:
    letters = "etaoinshrdlucmfwygpbvk"
    words = {"".join(draw.choices(letters, k=draw.randint(2, 10))) for _ in range(WORDS)}
    return sorted(words), list(itertools.accumulate(1 / rank for rank in range(1, len(words) + 1)))


def texts(megabytes: float) -> Iterator[str]:
    draw = random.Random(1)
    words, weights = vocabulary(draw)
    draw.shuffle(words)
    originals: list[list[str]] = []
    size = 0
    while size < megabytes * 1e6:
        chance = draw.random()
        if originals and chance < 0.2:
            text = list(draw.choice(originals))
            for _ in range(len(text) // 100 if chance < 0.1 else 0):
                text[draw.randrange(len(text))] = draw.choice(words)
        else:
            count = max(20, round(draw.lognormvariate(6, 0.8)))
            text = [
                words[bisect.bisect(weights, draw.random() * weights[-1])] for _ in range(count)
            ]
            if draw.random() < 0.05:
                text.insert(draw.randrange(count), f"{draw.choice(words)}@example.com")
            if len(originals) < 2000:
                originals.append(text)
        joined = " ".join(text)
        size += len(joined)
        yield joined


def write_corpus(folder: Path, megabytes: float) -> tuple[int, float]:
    """Write the corpus; return its documents and size, MB."""
    folder.mkdir()
    documents = 0
    files = [(folder / f"{n}.jsonl").open("w", encoding="utf-8") for n in range(FILES)]
    for text in texts(megabytes):
        files[documents % FILES].write(json.dumps({"id": str(documents), "text": text}) + "\n")
        documents += 1
    for file in files:
        file.close()
    return documents, sum(path.stat().st_size for path in folder.iterdir()) / 1e6


def carbon_trainer(step: str, corpus: Path, out: Path, _workers: int) -> None:
    from carbon_trainer.cli.main import main

    flags = {"copies": [], "near": ["--near-duplicates", "0.8"], "personal": ["--pii", "redact"]}
    sys.argv = [
        "carbon-train", "data", "prepare", str(corpus), "--to", str(out / "clean"), *flags[step],
        "--zone", "GB", "--no-host-metering", "--runs-dir", str(out / "runs"), "--progress", "off",
    ]  # fmt: skip
    main()


def datatrove(step: str, corpus: Path, out: Path, workers: int) -> None:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.formatters import PIIFormatter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import ParquetWriter
    from datatrove.utils.logging import logger

    logger.remove()

    def run(pipeline: list[object], tasks: int = FILES) -> None:
        logs = str(out / "logs" / str(next(number)))
        LocalPipelineExecutor(pipeline, tasks, workers, logging_dir=logs).run()

    number = itertools.count()
    read = JsonlReader(str(corpus))
    write = ParquetWriter(str(out / "clean"), compression="zstd")
    if step == "near":
        minhash(run, read, write, out)
    else:
        redact = [PIIFormatter()] if step == "personal" else []
        exact(run, read, [*redact, write], out)


def exact(run: object, read: object, next_steps: list[object], out: Path) -> None:
    from datatrove.data import Document
    from datatrove.pipeline.dedup import ExactDedupFilter, ExactDedupSignature, ExactFindDedups
    from datatrove.pipeline.dedup.exact_dedup import ExactDedupConfig

    def content(document: Document) -> str:
        return document.text

    # datatrove inspects annotations, which are strings here.
    content.__annotations__["return"] = str
    config = ExactDedupConfig(content_getter=content)
    signatures, duplicates = str(out / "signatures"), str(out / "found")
    run([read, ExactDedupSignature(signatures, config)])  # type: ignore[operator]
    run([ExactFindDedups(signatures, duplicates, config)], 1)  # type: ignore[operator]
    run([read, ExactDedupFilter(duplicates, config), *next_steps])  # type: ignore[operator]


def minhash(run: object, read: object, write: object, out: Path) -> None:
    from datatrove.pipeline.dedup import MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
    )
    from datatrove.utils.hashing import HashConfig
    from datatrove.utils.typeshelper import Languages

    # As in datatrove's own example; pairs of 0.8 are compared with a probability of 0.92.
    config = MinhashConfig(hash_config=HashConfig(precision=64))
    signatures, buckets, remove = (str(out / name) for name in ("signatures", "buckets", "remove"))
    run([read, MinhashDedupSignature(signatures, config, Languages.english)])  # type: ignore[operator]
    run([MinhashDedupBuckets(signatures, buckets, config=config)], config.num_buckets)  # type: ignore[operator]
    run([MinhashDedupCluster(buckets, remove, config=config)], 1)  # type: ignore[operator]
    run([read, MinhashDedupFilter(remove), write])  # type: ignore[operator]


def peak_kb(field: str = "VmHWM") -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise RuntimeError(field)


def child(program: str, step: str, corpus: Path, out: Path, workers: int) -> None:
    """Do the work, and write the peak memory of the largest process beside it."""
    try:
        {"ours": carbon_trainer, "datatrove": datatrove}[program](step, corpus, out, workers)
    except SystemExit as exit_request:
        if exit_request.code:
            raise
    largest = max(peak_kb(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    (out / "peak").write_text(str(largest), encoding="ascii")


def measured(
    python: str, program: str, step: str, corpus: Path, workers: int
) -> tuple[float, float, float, float]:
    """Return seconds, CPU seconds, MB, and documents kept."""
    with tempfile.TemporaryDirectory() as folder:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        process = subprocess.run(
            [python, "-m", "benchmarks.data", "--child", program, step, str(corpus), folder,
             str(workers)],
            check=False, capture_output=True, text=True, cwd=Path(__file__).parents[1],
        )  # fmt: skip
        if process.returncode:
            raise RuntimeError(f"{program}, {step}: {process.stderr[-2000:]}")
        seconds = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        peak = int(Path(folder, "peak").read_text(encoding="ascii")) / 1000
        if workers > 1:
            cpu = peak = math.nan  # its workers are not children of this process
        return seconds, cpu, peak, row_count(Path(folder, "clean"))


def row_count(folder: Path) -> int:
    import pyarrow.parquet as pq

    return sum(pq.ParquetFile(path).metadata.num_rows for path in folder.glob("*.parquet"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer-python", default=None)
    parser.add_argument("--steps", nargs="*", default=list(STEPS), choices=list(STEPS))
    parser.add_argument("--child", nargs=5)
    args = parser.parse_args()
    if args.child:
        program, step, corpus, out, workers = args.child
        child(program, step, Path(corpus), Path(out), int(workers))
        return
    variants = [("ours", sys.executable, 1)]
    if args.peer_python:
        cores = len(os.sched_getaffinity(0))
        variants += [("datatrove", args.peer_python, n) for n in sorted({1, cores})]
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus")
        documents, megabytes = write_corpus(corpus, args.megabytes)
        print(f"{documents:,} documents, {megabytes:.1f} MB, {FILES} files, load "
              f"{', '.join(f'{load:.1f}' for load in os.getloadavg())}")  # fmt: skip
        for step in args.steps:
            rounds: dict[str, list[tuple[float, float, float, float]]] = {}
            for _ in range(args.rounds):
                for program, python, workers in variants:
                    name = program if workers == 1 else f"{program}, {workers} workers"
                    rounds.setdefault(name, []).append(
                        measured(python, program, step, corpus, workers)
                    )
            table(STEPS[step], rounds, documents, megabytes)


def table(
    title: str, rounds: dict[str, list[tuple[float, float, float, float]]], documents: int,
    megabytes: float,
) -> None:  # fmt: skip
    print(f"\n**{title}**\n")
    print("| | documents/s | MB/s | seconds | ratio | CPU s | ratio | peak MB | kept |")
    print("|---|---|---|---|---|---|---|---|---|")
    medians = {
        name: [statistics.median(column) for column in zip(*results, strict=True)]
        for name, results in rounds.items()
    }
    first = next(iter(medians.values()))
    for name, (seconds, cpu, peak, count) in medians.items():
        ratios = f"{seconds:.1f} | {seconds / first[0]:.2f} | {cpu:.1f} | {cpu / first[1]:.2f}"
        speeds = f"{documents / seconds:,.0f} | {megabytes / seconds:.2f}"
        print(f"| {name} | {speeds} | {ratios} | {peak:,.0f} | {count:,.0f} |".replace("nan", "–"))


if __name__ == "__main__":
    main()
