"""Which folders the package is made of; everything else is in pyproject.toml.

``callbacks/`` and ``reports/`` are taken from where they lie, not through the links in
``carbon_trainer/``: a clone without symbolic links (as on Windows) builds the same wheel.
"""

from setuptools import find_packages, setup

PACKAGE = "carbon_trainer"
BESIDE = ("callbacks", "reports")
"""Folders at the top that belong into the package."""

packages = [
    PACKAGE,
    *(
        f"{PACKAGE}.{name}"
        for name in find_packages(PACKAGE, exclude=[f"{folder}*" for folder in BESIDE])
    ),
]
for folder in BESIDE:
    inside = f"{PACKAGE}.{folder}"
    packages += [inside, *(f"{inside}.{name}" for name in find_packages(folder))]

setup(packages=packages, package_dir={f"{PACKAGE}.{folder}": folder for folder in BESIDE})
