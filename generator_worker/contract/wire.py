"""What everything on the wire has in common."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

CONTRACT = 1
MAX_BATCH = 512

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}\.png$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=60)]
Kind = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]


class ContractError(ValueError):
    """The message or manifest does not follow the contract."""


class UnknownContract(ContractError):
    """The message speaks a contract version this side does not know."""


class Wire(BaseModel):
    """Base of everything on the wire: immutable, strict about unknown fields, versioned."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    contract: int = CONTRACT

    def wire(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    @classmethod
    def read(cls, data: Any) -> Self:
        """Parse a received message; the version is looked at before anything else."""
        version = data.get("contract") if isinstance(data, dict) else None
        if version != CONTRACT:
            raise UnknownContract(
                f"{cls.__name__} speaks contract {version!r}; this side speaks {CONTRACT}. "
                "Upgrade the older of server and worker."
            )
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise ContractError(f"{cls.__name__}: {_first_fault(error)}") from error


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in fault["loc"]) or "message"
    return f"{where}: {fault['msg']}"
