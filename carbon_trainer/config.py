"""One RunConfig, whether from a YAML file, from flags or from keyword arguments."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from carbon_trainer.durations import duration_of, time_of
from carbon_trainer.errors import InputError
from carbon_trainer.ledger.location import RUNS_DIR, without_password

COMMAND_LINE = "command line"
"""The name of the source of settings that are flags."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


def setting(
    default: Any, help_text: str, unit: str | None = None, *, also: str | None = None, **limits: Any
) -> Any:
    """Declare a setting: its default, help line, unit and a second flag, as shown by ``--help``."""
    extra = {name: value for name, value in (("unit", unit), ("also", also)) if value}
    if extra:
        limits["json_schema_extra"] = extra
    return Field(default, description=help_text, **limits)


class RunConfig(BaseModel):
    """Everything that a run can be told. The same names serve as YAML keys, flags and arguments.

    Raises:
        pydantic.ValidationError: when made directly from values that do not fit; ``from_sources``
            turns that into one InputError.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False)

    # What to train, on what
    model: str = setting(
        "gpt-neox-tiny",
        "Model: a recipe's name (carbon-train recipes), a local pretrained folder, or a "
        "transformers config.json.",
        also="--recipe",
    )
    data: list[Path] = setting(
        [],
        "Text file, folder, JSONL or Parquet; may be given several times. None: the source of "
        "Python's own standard library.",
    )
    text_field: str = setting("text", "Field or column with the text, in JSONL and Parquet.")
    angles: str | None = setting(
        None,
        "For encoder-decoders: which slots (Q question, A answer, M mcoptions, E explanation, C "
        "context) are given and wanted, such as 'QM->A, Q->AE'. None: answers, explanations or "
        "both from a question and any other slots of a row.",
    )
    slots: dict[str, str] = setting(
        {},
        "For encoder-decoders: fields or columns of slots that are called otherwise, such as "
        "'question=stem, mcoptions=choices'.",
    )
    data_licence: str | None = setting(None, "Licence of the data, for the provenance record.")
    vocab_size: Count | None = setting(
        None, "Size of the vocabulary that is trained on the data.", "tokens", ge=260
    )
    block_size: Count | None = setting(None, "Length of a training sequence.", "tokens", ge=2)
    validation_fraction: float = setting(0.02, "Share of the blocks held out.", gt=0, lt=1)

    # Train only small matrices beside a pretrained model's own
    lora_rank: Count | None = setting(
        None,
        "Train a pretrained model by adapters of this rank (LoRA) and leave its weights as they "
        "are; needs carbon-trainer[lora].",
    )
    lora_alpha: Positive | None = setting(
        None, "Scale of the adapters, over their rank; twice the rank by default."
    )
    lora_dropout: float = setting(0.0, "Dropout before the adapters.", ge=0, lt=1)
    lora_targets: str = setting(
        "all-linear", "Layers that get adapters, by their names in the model: 'q_proj, v_proj'."
    )

    # How to train
    max_steps: Count | None = setting(None, "Optimizer steps to train for.", "steps")
    batch_size: Count | None = setting(None, "Sequences in a batch, for each device.", "blocks")
    accumulate: Count = setting(1, "Batches whose gradients are added up for one step.", "batches")
    learning_rate: Positive | None = setting(None, "Peak learning rate of AdamW.")
    min_learning_rate_ratio: float = setting(
        0.1, "Where the cosine ends, as a share of the peak.", ge=0, le=1
    )
    warmup_steps: int | None = setting(
        None, "Steps of linear warm-up; a twentieth of the steps by default.", "steps", ge=0
    )
    weight_decay: float = setting(0.1, "AdamW's weight decay, on matrices only.", ge=0)
    clip_norm: float = setting(1.0, "Largest norm of the gradient; 0 turns it off.", ge=0)
    precision: Literal["auto", "32-true", "bf16-mixed", "bf16-true", "16-mixed"] = setting(
        "auto", "Arithmetic; auto is bf16-mixed where a GPU has it, else 32-true."
    )
    deterministic: bool = setting(
        False,
        "Take only kernels that give the same bits each time: on a GPU a resume is bit for bit "
        "only with it. Costs some speed, most in attention.",
    )
    accelerator: Literal["auto", "cpu", "gpu"] = setting("auto", "What to train on.")
    devices: Count = setting(1, "Processes on this machine, one for each device.", "devices")
    nodes: Count = setting(1, "Machines.", "machines")
    strategy: Literal["auto", "ddp", "fsdp"] = setting(
        "auto", "How several devices share the work: copies (ddp) or shards (fsdp) of the model."
    )
    tensor_parallel: Count = setting(
        1,
        "Devices that split each layer between them and train on the same batches; further devices "
        "shard (fsdp).",
        "devices",
    )
    workers: int = setting(0, "Processes that load data.", "processes", ge=0)
    seed: int = setting(1, "Seed of everything random.", ge=0, lt=2**32)
    validate_every: Count | None = setting(
        None, "Steps between validations; a fifth of the steps by default.", "steps"
    )
    validation_batches: Count = setting(20, "Most batches in a validation.", "batches")
    checkpoint_every: Count | None = setting(
        None, "Steps between checkpoints; a fifth of the steps by default.", "steps"
    )
    keep_checkpoints: int = setting(
        3, "The newest checkpoints that are kept; a damaged one leaves the others.", "files", ge=2
    )

    # What it may use
    budget_kwh: Positive | None = setting(
        None, "Most energy that the run may use, all of its segments together.", "kWh"
    )
    budget_kgco2e: Positive | None = setting(
        None, "Most emissions that the run may cause, by the zone's factor.", "kgCO2e"
    )
    budget_cost: Positive | None = setting(
        None, "Most that the run's energy may cost; needs price_per_kwh.", "money"
    )
    price_per_kwh: Positive | None = setting(None, "Price of electricity.", "money/kWh")
    currency: str = setting("EUR", "Currency of the price.", min_length=1, max_length=8)
    zone: str | None = setting(
        None, "Grid: ISO country code or US state (GB, DE, US-CA). None: world average, assumed."
    )
    pue: float = setting(
        1.0,
        "Power usage effectiveness: the building's energy over the machines'.",
        ge=1,
        le=5,
        allow_inf_nan=False,
    )
    on_meter_loss: Literal["estimate", "stop"] = setting(
        "estimate",
        "When a device's energy can no longer be known and there is a budget: go on with an "
        "estimate from its last power, or stop with a checkpoint.",
    )

    # When and at which power
    deadline: str | None = setting(
        None,
        "When the run must be done: 48h, 3d or an instant such as 2026-11-30T12:00Z. With it the "
        "run is shifted and throttled for the objective.",
    )
    objective: Literal["carbon", "cost", "blend"] = setting(
        "carbon", "What the schedule makes least; blend: cost with a price on carbon."
    )
    carbon_price: Positive | None = setting(None, "Price of carbon, for blend.", "money/tCO2e")
    provider: str | None = setting(
        None, "Ask this provider for the zone's forecast: see `carbon-train grid list`."
    )
    trace: Path | None = setting(
        None, "CSV of the grid's intensity (time_utc, gco2e_per_kwh), instead of a provider."
    )
    max_wait: str | None = setting(
        None, "Longest that the run may wait for a cleaner grid, in all: 6h, 2d. None: no limit."
    )
    release: Literal["auto", "yes", "no"] = setting(
        "auto",
        "Whether the run may exit with a checkpoint and status 75 and be started again later; "
        "auto: where --supervise or Slurm brings it back.",
    )
    throttle: Literal["auto", "power-limit", "clocks", "duty-cycle", "off"] = setting(
        "auto",
        "How power is turned down; auto: with a deadline, by the first of these that is permitted.",
    )

    # Where it is remembered
    name: str = setting("", "The run's name, for people.")
    project: str = setting("default", "The project that the run belongs to.")
    user: str | None = setting(
        None, "Whom the run is booked to. None: the login name; '' for nobody."
    )
    organisation: str = setting("", "The organisation that reports the run.")
    purpose: Literal["final", "development", "evaluation"] | None = setting(
        None, "What the run is for; a portfolio adds up final and other runs apart."
    )
    operation: Literal["own", "cloud", "colocation"] | None = setting(
        None,
        "Whose machines these are: own (scope 2), cloud (scope 3 category 1) or colocation "
        "(category 8). None: not stated, and no scope is told.",
    )
    runs_dir: Path = setting(RUNS_DIR, "Folder of runs, their reports and checkpoints.")
    ledger: str | None = setting(
        None,
        "Ledger: a file's path or a database URL. None: CARBON_TRAINER_LEDGER, else "
        "ledger.sqlite in runs_dir.",
    )
    host_metering: bool = setting(True, "Meter CPU and memory too, through CodeCarbon.")
    progress: Literal["auto", "bar", "lines", "off"] = setting(
        "auto", "Progress display; auto is a bar on a terminal, else lines."
    )
    prometheus_port: int | None = setting(
        None,
        "Serve live figures to Prometheus at this port of 127.0.0.1, 0 for a free one; needs "
        "carbon-trainer[prometheus].",
        ge=0,
        le=65535,
    )
    log_every: Count = setting(10, "Steps between logged figures.", "steps")
    communication_every: int = setting(
        250,
        "Where there are several ranks: steps between those that are watched for communication's "
        "share, at least 10; 0: none is.",
        "steps",
        ge=0,
    )

    @field_validator("data", mode="before")
    @classmethod
    def _one_path_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str | Path) else value

    @field_validator("angles", mode="before")
    @classmethod
    def _angles_are_a_text(cls, value: Any) -> Any:
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    @field_validator("slots", mode="before")
    @classmethod
    def _slots_from_a_flag(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        if not all(slot.strip() and field.strip() for slot, _, field in pairs):
            raise ValueError("slots and fields such as question=stem, mcoptions=choices")
        return {slot.strip(): field.strip() for slot, _, field in pairs}

    @model_validator(mode="after")
    def _lora_has_a_rank(self) -> RunConfig:
        if self.lora_alpha is not None and self.lora_rank is None:
            raise ValueError("lora_alpha needs lora_rank: without it there are no adapters")
        return self

    @model_validator(mode="after")
    def _split_layers_are_no_copies(self) -> RunConfig:
        if self.tensor_parallel > 1 and self.strategy == "ddp":
            raise ValueError(
                "tensor_parallel does not go with strategy ddp: leave strategy out, or give fsdp"
            )
        if self.tensor_parallel > 1 and self.lora_rank is not None:
            raise ValueError("tensor_parallel does not go with lora_rank: use strategy ddp")
        return self

    @field_validator("communication_every")
    @classmethod
    def _most_steps_are_left_alone(cls, value: int) -> int:
        # A watched step is slower, and forecasts are made from the others.
        if 0 < value < 10:
            raise ValueError("0 or at least 10")
        return value

    @model_validator(mode="after")
    def _cost_needs_a_price(self) -> RunConfig:
        if self.budget_cost is not None and self.price_per_kwh is None:
            raise ValueError("budget_cost needs price_per_kwh: say what a kWh costs")
        return self

    @model_validator(mode="after")
    def _schedule_is_whole(self) -> RunConfig:
        for name in ("max_wait", "deadline"):
            text = getattr(self, name)
            if text is not None:
                _check_time(name, text)
        if self.objective != "carbon" and self.price_per_kwh is None:
            raise ValueError("objective needs price_per_kwh where it is not carbon: give the price")
        if self.objective == "blend" and self.carbon_price is None:
            raise ValueError("objective blend needs carbon_price: money per tonne of CO2e")
        if self.provider is not None and self.zone is None:
            raise ValueError("provider needs zone: which grid it is asked for")
        return self

    @property
    def has_budget(self) -> bool:
        """Whether any budget was set."""
        return any(b is not None for b in (self.budget_kwh, self.budget_kgco2e, self.budget_cost))

    @classmethod
    def from_sources(cls, *sources: tuple[str, Mapping[str, Any]]) -> Self:
        """Make a config from several places, the later ones going before the earlier.

        Args:
            sources: pairs of the place's name (``run.yaml``, ``flags``) and its settings.

        Raises:
            InputError: naming the place, the setting and what would be right.
        """
        merged: dict[str, Any] = {}
        origin: dict[str, str] = {}
        for place, values in sources:
            for key, value in values.items():
                if key not in cls.model_fields:
                    raise InputError(f"{place}: {unknown_setting(key)}")
                merged[key] = value
                origin[key] = place
        try:
            return cls.model_validate(merged)
        except ValidationError as error:
            raise InputError(_first_problem(error, origin)) from error

    def to_yaml(self) -> str:
        """Write the config as YAML that ``carbon-train fit`` reads back as the same config."""
        return yaml.safe_dump(self.to_json(), sort_keys=False, allow_unicode=True)

    def to_json(self) -> dict[str, Any]:
        """Return the config as JSON types, as the ledger and checkpoints keep it."""
        values = self.model_dump(mode="json")
        if self.ledger:
            values["ledger"] = without_password(self.ledger)
        return values


def _check_time(name: str, text: str) -> None:
    """Refuse what is no time, as pydantic expects it to be refused."""
    flag = f"--{name.replace('_', '-')}"
    try:
        if name == "deadline" and "T" in text:
            time_of(text, flag)
        else:
            duration_of(text, flag)
    except InputError as error:
        raise ValueError(str(error)) from None


def read_yaml(path: Path, settings: Iterable[str] | None = None) -> dict[str, Any]:
    """Read a run file.

    Args:
        path: the file.
        settings: names of the settings that it may have; those of a run by default.

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
    known = list(RunConfig.model_fields if settings is None else settings)
    for key, _ in node.value:
        if key.value not in known:
            line = key.start_mark.line + 1
            raise InputError(f"{path}, line {line}: {unknown_setting(key.value, settings)}")
    return values


def unknown_setting(key: str, known: Iterable[str] | None = None) -> str:
    """Say that there is no such setting, and which is nearest."""
    names = list(RunConfig.model_fields if known is None else known)
    near = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
    verb = "fit" if known is None else "data prepare"
    hint = f" Did you mean {near[0]}?" if near else f" `carbon-train {verb} --help` lists them."
    return f"there is no setting {key!r}.{hint}"


def _first_problem(error: ValidationError, origin: Mapping[str, str]) -> str:
    problem = error.errors(include_url=False)[0]
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if not problem["loc"]:
        return f"{message}."
    key = str(problem["loc"][0])
    unit = _unit(key)
    wanted = f"{message} ({unit})" if unit else message
    place = origin.get(key, "settings")
    if key not in RunConfig.model_fields and len(problem["loc"]) > 1:
        inner = (f"entry {p + 1}" if isinstance(p, int) else p for p in problem["loc"][1:])
        return f"{place}: {key}, {', '.join(inner)}: {message[0].lower()}{message[1:]}."
    where = f"--{key.replace('_', '-')}" if place == COMMAND_LINE else f"{place}: {key}"
    return f"{where} is {problem['input']!r}, but should be {wanted}."


def _unit(key: str) -> str | None:
    known = RunConfig.model_fields.get(key)
    extra = known.json_schema_extra if known is not None else None
    return str(extra["unit"]) if isinstance(extra, dict) and "unit" in extra else None


def _one_line(error: yaml.YAMLError) -> str:
    return " ".join(str(error).split())
