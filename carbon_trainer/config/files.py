"""Run files: YAML with settings as keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from carbon_trainer.config.run import MeteredConfig, RunConfig
from carbon_trainer.errors import InputError


def read_yaml(path: Path, config: type[MeteredConfig] = RunConfig) -> dict[str, Any]:
    """Read a run file.

    Args:
        path: the file.
        config: whose settings it may have; those of a training run by default.

    Raises:
        InputError: naming the file and the line, if it is not a list of known settings.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except FileNotFoundError:
        raise InputError(f"there is no run file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the run file {path}: {error}.") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML: {_one_line(error)}.") from error
    if values is None:
        return {}
    if not isinstance(values, dict) or not isinstance(node, yaml.MappingNode):
        raise InputError(f"{path} must be a list of settings like `budget_kwh: 500`.")
    settings = config.settings()
    for key, _ in node.value:
        if key.value not in settings:
            line = key.start_mark.line + 1
            raise InputError(f"{path}, line {line}: {config.unknown_setting(key.value)}")
    return values


def _one_line(error: yaml.YAMLError) -> str:
    return " ".join(str(error).split())
