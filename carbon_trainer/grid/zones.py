"""Energy to emissions: CodeCarbon's factors behind one adapter that checks names first.

CodeCarbon answers 475 g/kWh for any country that it does not know, and the country's figure
for any state that it does not know. Here a zone is looked up in its data before it is used, so
that a mistyped one is an error.
"""

from __future__ import annotations

from functools import cached_property
from importlib.metadata import version
from typing import Any

from carbon_trainer.errors import InputError, nearest
from carbon_trainer.grid.intensity import Accounting, Intensity

ANNUAL_MEAN_UNCERTAINTY = 0.28
"""Relative error (one sigma) of a country's annual mean used for an hour: the root mean square,
over twelve zone-years of hourly average intensity (DE, ES, FR, GB, NO, PL, SE and five parts of
the USA, 2020-2022), of the hour's distance from the year's mean."""

WORLD_UNCERTAINTY = 0.51
"""Relative error (one sigma) of the world's average used for some country: the standard
deviation of CodeCarbon's 213 countries, 243 g/kWh, over its world average, 475 g/kWh."""


class ZoneFactors:
    """The zones that CodeCarbon has data on, by ISO code: ``GB``, ``DEU``, ``US-CA``."""

    def intensity(self, zone: str | None) -> Intensity:
        """Return a zone's carbon intensity; the world's average, as assumed, for None.

        Args:
            zone: ISO 3166 country code of two or three letters, or ``US-`` and a state's code.

        Raises:
            InputError: if there is no data for that zone; names the nearest ones.
        """
        if zone is None:
            return self._world()
        code = zone.strip().upper()
        if code.startswith("US-"):
            return self._us_state(code)
        return self._country(code)

    def zones(self) -> dict[str, str]:
        """Return every zone's code and name."""
        return {**self._countries, **{code: name for code, (name, _) in self._states.items()}}

    @cached_property
    def _data(self) -> Any:
        from codecarbon.input import DataSource

        return DataSource()  # type: ignore[no-untyped-call]

    @cached_property
    def _countries(self) -> dict[str, str]:
        import pycountry

        zones = {}
        for iso3, mix in self._data.get_global_energy_mix_data().items():
            country = pycountry.countries.get(alpha_3=iso3)
            zones[country.alpha_2 if country else iso3] = mix["country_name"]
        return zones

    @cached_property
    def _states(self) -> dict[str, tuple[str, str]]:
        """Code to (name for people, CodeCarbon's name)."""
        data = self._data.get_country_emissions_data("usa")
        return {
            f"US-{row['regionCode']}": (f"{name.title()}, United States", name)
            for name, row in data.items()
            if not name.startswith("_") and len(row["regionCode"]) == 2
        }

    def _country(self, code: str) -> Intensity:
        import pycountry

        countries = pycountry.countries
        country = countries.get(alpha_2=code) if len(code) == 2 else countries.get(alpha_3=code)
        iso3 = country.alpha_3 if country else code
        mixes = self._data.get_global_energy_mix_data()
        if iso3 not in mixes:
            raise InputError(self._unknown(code))
        mix = mixes[iso3]
        return _annual_mean(
            zone=country.alpha_2 if country else code,
            zone_name=mix["country_name"],
            value=self._gco2e_per_kwh(iso3, mix["country_name"], None),
            accounting="average lifecycle",
            source=f"Our World in Data, through codecarbon {version('codecarbon')}",
            vintage=str(mix["year"]),
            licence="CC BY 4.0",
        )

    def _us_state(self, code: str) -> Intensity:
        if code not in self._states:
            raise InputError(self._unknown(code))
        name, key = self._states[code]
        source = self._data.get_country_emissions_data("usa")["_source"]
        return _annual_mean(
            zone=code,
            zone_name=name,
            value=self._gco2e_per_kwh("USA", "United States", key),
            accounting="average direct",
            source=f"{source['name']}, through codecarbon {version('codecarbon')}",
            vintage=str(source["year"]),
            licence="public domain (US EPA)",
        )

    def _world(self) -> Intensity:
        data = self._data.get_carbon_intensity_per_source_data()
        return Intensity(
            zone="world",
            zone_name="World average (no zone given)",
            intensity_gco2e_per_kwh=float(data["world_average"]),
            method="assumed",
            accounting="average lifecycle",
            source=f"IEA Global Energy & CO2 Status Report 2019, through codecarbon "
            f"{version('codecarbon')}",
            vintage="2018",
            licence="cited figure",
            uncertainty=WORLD_UNCERTAINTY,
            uncertainty_basis="spread of 213 countries' annual means around the world's average",
        )

    def _gco2e_per_kwh(self, iso3: str, country: str, region: str | None) -> float:
        from codecarbon.core.emissions import Emissions
        from codecarbon.core.units import Energy
        from codecarbon.external.geography import GeoMetadata

        # CodeCarbon computes emissions of an energy; one kilowatt hour gives its factor.
        location = GeoMetadata(country_iso_code=iso3, country_name=country, region=region)
        one_kwh = Energy.from_energy(1.0)
        return 1000 * float(Emissions(self._data).get_private_infra_emissions(one_kwh, location))

    def _unknown(self, code: str) -> str:
        zones = self.zones()
        code_of = {name.casefold(): code for code, name in zones.items()}
        if code == "UK":
            # ISO 3166 reserves UK, but the code is GB.
            suggestions = ["GB"]
        elif code.casefold() in code_of:
            suggestions = [code_of[code.casefold()]]
        else:
            suggestions = nearest(code, zones) or [code_of[name] for name in nearest(code, code_of)]
        hint = ", ".join(f"{suggestion} ({zones[suggestion]})" for suggestion in suggestions)
        question = f" Did you mean {hint}?" if hint else ""
        return (
            f"there are no emission factors for zone {code!r}.{question} Give an ISO country code "
            "such as GB, DE or FR, or a US state such as US-CA."
        )


def _annual_mean(
    *, zone: str, zone_name: str, value: float, accounting: Accounting, source: str,
    vintage: str, licence: str,
) -> Intensity:  # fmt: skip
    return Intensity(
        zone=zone,
        zone_name=zone_name,
        intensity_gco2e_per_kwh=value,
        method="estimated",
        accounting=accounting,
        source=source,
        vintage=vintage,
        licence=licence,
        uncertainty=ANNUAL_MEAN_UNCERTAINTY,
        uncertainty_basis="hourly intensity around the annual mean, rms over twelve zone-years",
    )
