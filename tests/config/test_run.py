"""One config, from YAML, flags or keyword arguments; what does not fit is said in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from carbon_trainer.cli.flags import flags_of
from carbon_trainer.config import COMMAND_LINE, MeteredConfig, RunConfig, read_yaml
from carbon_trainer.config.base import setting
from carbon_trainer.curation.config import PrepareConfig
from carbon_trainer.errors import InputError


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return path


def test_later_sources_override_earlier_ones() -> None:
    config = RunConfig.from_sources(
        ("run.yaml", {"budget_kwh": 5, "seed": 7}), (COMMAND_LINE, {"budget_kwh": "0.5"})
    )
    assert (config.budget_kwh, config.seed) == (0.5, 7)


def test_a_printed_config_reads_back_as_the_same(tmp_path: Path) -> None:
    config = RunConfig(budget_kwh=3, zone="GB", data=["a.txt"], name="naïve: yes")
    again = RunConfig.from_sources(("f", read_yaml(_file(tmp_path, config.to_yaml()))))
    assert again == config


def test_a_config_that_was_printed_when_settings_had_no_sections_is_read() -> None:
    path = Path(__file__).with_name("printed_by_0_1.yaml")
    values = read_yaml(path)
    config = RunConfig.from_sources((str(path), values))
    assert {name: config.to_json()[name] for name in values} == values
    assert len(values) > 50
    assert (config.budget_kwh, config.zone, config.objective) == (500, "GB", "cost")


def test_a_section_declares_no_setting_of_another() -> None:
    sections = [one for one in RunConfig.__bases__ if one is not MeteredConfig]
    names = [name for section in sections for name in section.model_fields]
    assert sorted(names) == sorted(RunConfig.model_fields)
    assert all(section.title for section in sections)


def test_one_line_in_a_section_is_a_setting_everywhere() -> None:
    class Widened(RunConfig):
        label_smoothing: float = setting(0.0, "Label smoothing.", ge=0, lt=1)

    config = Widened.from_sources((COMMAND_LINE, {"label_smoothing": "0.1"}))
    assert config.to_json()["label_smoothing"] == 0.1
    with pytest.raises(InputError, match="--label-smoothing is '2', but should be less than 1"):
        Widened.from_sources((COMMAND_LINE, {"label_smoothing": "2"}))
    assert flags_of(Widened)[-1]["flags"] == ["--label-smoothing"]


def test_a_config_is_printed_from_the_model_to_its_record() -> None:
    names = list(RunConfig.model_fields)
    landmarks = ["model", "data", "max_steps", "devices", "budget_kwh", "zone", "deadline", "name"]
    assert names[0] == "model"
    assert sorted(landmarks, key=names.index) == landmarks


def test_a_part_of_a_setting_that_does_not_fit_is_named(tmp_path: Path) -> None:
    path = _file(tmp_path, "sources: [{path: a}, {path: b, license: MIT}]")
    with pytest.raises(InputError) as caught:
        PrepareConfig.from_sources(("p.yaml", read_yaml(path, PrepareConfig)))
    assert str(caught.value).startswith("p.yaml: sources, entry 2, license: ")


def test_a_preparation_has_no_settings_of_training(tmp_path: Path) -> None:
    assert {"max_steps", "devices", "deadline", "log_every"}.isdisjoint(PrepareConfig.model_fields)
    with pytest.raises(InputError, match=r"no setting 'max_steps'\. .*data prepare --help"):
        read_yaml(_file(tmp_path, "max_steps: 3"), PrepareConfig)


def test_a_preparation_takes_its_texts_as_arguments_alone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no setting 'data'"):
        read_yaml(_file(tmp_path, "data: [a.txt]"), PrepareConfig)


def test_a_printed_preparation_reads_back_as_the_same(tmp_path: Path) -> None:
    config = PrepareConfig(languages=["en"], budget_kwh=3, sources=[{"path": "a.txt"}])
    path = _file(tmp_path, config.to_yaml())
    again = PrepareConfig.from_sources(("f", read_yaml(path, PrepareConfig)))
    assert again == config


def test_an_unknown_key_names_file_line_and_nearest_setting(tmp_path: Path) -> None:
    path = _file(tmp_path, "seed: 3\nbudgt_kwh: 500\n")
    with pytest.raises(InputError) as caught:
        read_yaml(path)
    assert str(caught.value) == (
        f"{path}, line 2: there is no setting 'budgt_kwh'. Did you mean budget_kwh?"
    )


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("budget_kwh", "-3", "greater than 0 (kWh)"),
        ("budget_kwh", "lots", "a valid number"),
        ("budget_kwh", "nan", "a finite number"),
        ("budget_kgco2e", "0", "greater than 0 (kgCO2e)"),
        ("budget_kwh", "inf", "a finite number"),
        ("pue", "0.8", "greater than or equal to 1"),
        ("seed", "1.5", "a valid integer"),
        ("precision", "fp7", "'auto'"),
        ("validation_fraction", "1", "less than 1"),
        ("communication_every", "5", "0 or at least 10 (steps)"),
    ],
)
def test_a_value_that_does_not_fit_is_named_as_its_flag(key: str, value: str, wanted: str) -> None:
    with pytest.raises(InputError) as caught:
        RunConfig.from_sources((COMMAND_LINE, {key: value}))
    assert str(caught.value).startswith(f"--{key.replace('_', '-')} is {value!r}, but should be")
    assert wanted in str(caught.value)


def test_a_cost_budget_needs_a_price() -> None:
    with pytest.raises(InputError, match="needs price_per_kwh"):
        RunConfig.from_sources((COMMAND_LINE, {"budget_cost": 3}))
    assert RunConfig(budget_cost=3, price_per_kwh=0.3).has_budget


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n", "3\n"])
def test_yaml_that_is_no_list_of_settings_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="list of settings"):
        read_yaml(_file(tmp_path, text))


def test_broken_yaml_names_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run\.yaml is not YAML.*line \d"):
        read_yaml(_file(tmp_path, "a: 1\nb: [1,\n"))


def test_a_missing_or_binary_run_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no run file"):
        read_yaml(tmp_path / "none.yaml")
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot read the run file"):
        read_yaml(path)


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    assert RunConfig.from_sources(("f", read_yaml(_file(tmp_path, "# nothing\n")))) == RunConfig()


def test_every_setting_has_a_help_line() -> None:
    for name, field in RunConfig.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_the_config_is_json_for_the_ledger() -> None:
    assert yaml.safe_load(RunConfig(data=["x"]).to_yaml()) == RunConfig(data=["x"]).to_json()


def test_a_databases_password_is_neither_printed_nor_recorded() -> None:
    config = RunConfig(ledger="postgresql+psycopg://me:secret@host:5432/db")
    assert "secret" not in config.to_yaml()
    assert config.to_json()["ledger"] == "postgresql+psycopg://me:***@host:5432/db"
