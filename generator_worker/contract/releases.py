"""The bundle format of releases, as far as server and worker both read it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .wire import Sha256


class ReleaseComponent(BaseModel):
    """One file of a release bundle, named by its path inside the bundle."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    file: str
    sha256: Sha256
    bytes: int = Field(ge=0)


class ReleaseManifest(BaseModel):
    """`release.json` of a release bundle.

    The release's digest is the SHA-256 of the file's bytes; the components' digests inside it
    make it name every weight.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: Literal[1]
    name: str
    title: str
    description: str = ""
    # Tag groups: {"hair colour": {"pink hair": 0.07, …}, …}; numbers are frequencies in training.
    tags: dict[str, dict[str, float]]
    params: dict[str, Any]
    components: tuple[ReleaseComponent, ...]
    licences: tuple[dict[str, str], ...]
    provenance: dict[str, Any] = {}
    measured: dict[str, Any] = {}
