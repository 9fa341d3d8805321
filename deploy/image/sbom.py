"""Prints what an image has of ours and of others' packages, as CycloneDX 1.5 in JSON.

It reads what the packages in a folder say of themselves, needs nothing but Python, and prints the
same for the same packages. What the base image has is its own to tell.
"""

import json
import sys
from importlib.metadata import Distribution, distributions
from typing import Any

from sidecar import __version__


def component(package: Distribution) -> dict[str, Any]:
    """One package: name, version, address, licence."""
    name = package.metadata["Name"]
    purl = f"pkg:pypi/{name.lower().replace('_', '-')}@{package.version}"
    found: dict[str, Any] = {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": package.version,
        "purl": purl,
    }
    told = package.metadata.json
    if "license_expression" in told:
        found["licenses"] = [{"expression": told["license_expression"]}]
    elif "\n" not in (licence := str(told.get("license", "\n"))):
        found["licenses"] = [{"license": {"name": licence}}]
    return found


def sbom(folder: str) -> dict[str, Any]:
    """The document for the packages in `folder`."""
    components = [component(package) for package in distributions(path=[folder])]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": "llm-sidecar",
                "name": "llm-sidecar",
                "version": __version__,
                "licenses": [{"expression": "Apache-2.0"}],
            }
        },
        "components": sorted(components, key=lambda one: str(one["purl"])),
    }


if __name__ == "__main__":
    json.dump(sbom(sys.argv[1]), sys.stdout, indent=1)
