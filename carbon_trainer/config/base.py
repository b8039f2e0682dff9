"""What sections are made of."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

COMMAND_LINE = "command line"
"""The name of the source of settings that are flags."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A group of settings, with the checks that concern them alone.

    Attributes:
        title: heads the section's table in the documentation.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False)

    title: ClassVar[str] = ""


def setting(
    default: Any, help_text: str, unit: str | None = None, *, also: str | None = None, **limits: Any
) -> Any:
    """Declare a setting: its default, help line, unit and a second flag, as shown by ``--help``."""
    extra = {name: value for name, value in (("unit", unit), ("also", also)) if value}
    if extra:
        limits["json_schema_extra"] = extra
    return Field(default, description=help_text, **limits)
