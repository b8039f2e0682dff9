"""A text that every machine with Python has: modules of its standard library."""

from __future__ import annotations

import argparse
import ast
import asyncio.base_events
import datetime
import decimal
import inspect
import logging
import mailbox
import pathlib
import subprocess
import tarfile
import threading
import typing
import zipfile
from pathlib import Path

CORPUS = "corpus.txt"

MODULES = (
    argparse, ast, asyncio.base_events, datetime, decimal, inspect, logging, mailbox, pathlib,
    subprocess, tarfile, threading, typing, zipfile,
)  # fmt: skip
"""Together more than half a megabyte of text."""


def write_corpus(folder: Path) -> None:
    """Write the text into a folder, as ``CORPUS``."""
    texts = [inspect.getsource(module) for module in MODULES]
    (folder / CORPUS).write_text("\n\n".join(texts), encoding="utf-8")
