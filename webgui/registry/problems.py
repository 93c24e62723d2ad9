"""Why an upload cannot go on, or a checkpoint is not to be had."""

from __future__ import annotations

from webgui.problems import Problem


class NoSuchUpload(Problem):
    status = 404
    code = "not_found"
    title = "There is no such upload"


class NoSuchCheckpoint(Problem):
    status = 404
    code = "not_found"
    title = "There is no such checkpoint"


class BadUpload(Problem):
    code = "bad_upload"
    title = "The upload's headers are not as tus 1.0 has them"


class WrongOffset(Problem):
    status = 409
    code = "wrong_offset"
    title = "The upload stands at another offset"


class FileTooLarge(Problem):
    status = 413
    code = "file_too_large"
    title = "The file is too large"


class BeyondLength(Problem):
    status = 413
    code = "beyond_length"
    title = "More bytes than the upload was to have"


class ChecksumMismatch(Problem):
    status = 460  # the status that tus gives it
    code = "checksum_mismatch"
    title = "The bytes do not have the checksum"


class DiskFull(Problem):
    status = 507
    code = "disk_full"
    title = "There is no room for the file"


class NotNow(Problem):
    status = 409
    code = "wrong_state"
    title = "The checkpoint's state does not allow this"


class DoesNotFit(Problem):
    code = "does_not_fit"
    title = "No release can be made of this"


class NoSuchRelease(Problem):
    status = 404
    code = "not_found"
    title = "There is no such release"
