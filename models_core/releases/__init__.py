"""Release bundles: a folder that holds everything one release generates with.

    release.json            what it is: components with digests, tags, parameters, licences, …
    pipeline/…              StyleDiffuserPipeline.save_pretrained
    critic/  upscaler/      one folder each: config.json and model.safetensors

The digest of a release is the SHA-256 of release.json's bytes, and release.json names the
digest of every other file, so one digest names every weight. A bundle never changes.
"""

from models_core.releases.bundle import ReleaseError, verify_release
from models_core.releases.loaded import Aborted, Draft, LoadedRelease, open_release

__all__ = ["Aborted", "Draft", "LoadedRelease", "ReleaseError", "open_release", "verify_release"]
