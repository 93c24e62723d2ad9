from tests.models_core.data.conftest import built

__all__ = ["built"]
