from tests.integration.conftest import bundle

__all__ = ["bundle"]
