"""StyleDiffuser's models. Importing the package is cheap: torch comes with what needs it."""

from typing import Any

# diffusers finds a saved pipeline's components by name in the top-level package.
_COMPONENTS = {
    "Prototype": "models_core.stylediffuser.prototype",
    "StyleAdapter": "models_core.stylediffuser.adapter",
    "StyleDiffuserPipeline": "models_core.stylediffuser.pipeline",
}


def __getattr__(name: str) -> Any:
    if name not in _COMPONENTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_COMPONENTS[name]), name)
