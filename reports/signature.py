"""Signs a report's files with Ed25519 (RFC 8032), so that the public key verifies them.

What is signed is the canonical JSON of the files' SHA-256 and the chain's head; a signature
therefore also pins the ledger's records.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carbon_trainer.errors import InputError
from carbon_trainer.files import sha256_of
from carbon_trainer.ledger.chain import ChainHead, canonical_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

FILE = "signature.json"
_MAKE_KEY = "`openssl genpkey -algorithm ed25519 -out key.pem` makes one"


def signed(run_id: str, head: ChainHead, files: Mapping[str, Path], key: Path) -> str:
    """Return the signature of a report's files as JSON; the same files give the same text.

    Args:
        run_id: the run.
        head: the head of its chain that the report carries.
        files: the files by name.
        key: a private key, PEM.

    Raises:
        InputError: if the key cannot be used, or ``cryptography`` is not installed.
    """
    private = _private_key(key)
    claim: dict[str, Any] = {
        "kind": "carbon-trainer signature",
        "algorithm": "Ed25519",
        "run": run_id,
        "chain": {"seq": head.seq, "sha256": head.sha256},
        "files": {path.name: sha256_of(path) for _, path in sorted(files.items())},
        "public_key": private.public_key().public_bytes_raw().hex(),
    }
    signature = private.sign(canonical_json(claim).encode())
    return json.dumps({**claim, "signature": signature.hex()}, indent=2) + "\n"


def check_signature(folder: Path, public_key: Path | None) -> tuple[list[str], str]:
    """Check the signature in a report's folder.

    Args:
        folder: where ``signature.json`` and the files lie.
        public_key: the expected signer's, PEM; without it any signer is accepted, and named.

    Returns:
        What is wrong, a sentence each, and the signer's public key.

    Raises:
        InputError: if a key or the signature cannot be read.
    """
    path = folder / FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        signature = bytes.fromhex(document.pop("signature"))
        signer = str(document["public_key"])
        files: dict[str, str] = document["files"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a signature: {error}.") from error
    problems = []
    if not _is_signed(signer, signature, canonical_json(document).encode()):
        problems.append(f"{path}: the signature is not that of its key: it was changed")
    if public_key is not None and _public_key(public_key).public_bytes_raw().hex() != signer:
        problems.append(f"{path} is signed with another key than {public_key}")
    for name, sha256 in files.items():
        file = folder / Path(name).name
        if not file.is_file():
            problems.append(f"{file} was signed, and is missing")
        elif sha256_of(file) != sha256:
            problems.append(f"{file} is not the file that was signed")
    return problems, signer


def _is_signed(signer: str, signature: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(signer)).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _private_key(path: Path) -> Ed25519PrivateKey:
    _need_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"cannot use the key {path}: {error}. {_MAKE_KEY}.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"the key {path} is not an Ed25519 key: {_MAKE_KEY}.")
    return key


def _public_key(path: Path) -> Ed25519PublicKey:
    _need_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"cannot use the public key {path}: {error}.") from error
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"the key {path} is not an Ed25519 public key.")
    return key


def _need_cryptography() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise InputError("signatures need: pip install 'carbon-trainer[sign]'.") from error
