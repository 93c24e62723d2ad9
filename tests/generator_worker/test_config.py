from pathlib import Path

import pytest

from generator_worker.config import Config, ConfigError


def test_defaults_fit_one_machine():
    config = Config.from_env({})
    assert config.broker_url == "redis://127.0.0.1:6379/0"
    assert config.home == Path("var/worker")
    assert config.sftp_key == Path("var/keys/worker_key")
    assert config.releases[0].parts[-2:] == ("models_core", "releases")
    assert config.device is None


def test_reads_the_environment():
    config = Config.from_env(
        {
            "STYLEDIFFUSER_WORKER_NAME": "gpu-7.rack2",
            "STYLEDIFFUSER_SFTP_HOST": "avatars.example",
            "STYLEDIFFUSER_SFTP_PORT": "2222",
            "STYLEDIFFUSER_RELEASES": "/a:/b",
            "STYLEDIFFUSER_DEVICE": "cuda:1",
            "STYLEDIFFUSER_WORKER_HOME": "/srv/worker",
        }
    )
    assert config.worker_name == "gpu-7.rack2"
    assert (config.sftp_host, config.sftp_port) == ("avatars.example", 2222)
    assert config.sftp_user == "worker-gpu-7.rack2"  # as add_worker names the account
    assert config.releases == (Path("/a"), Path("/b"))
    assert (config.device, config.home) == ("cuda:1", Path("/srv/worker"))


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("SFTP_PORT", "ssh", "SFTP_PORT='ssh': set a number from 1 to 65535"),
        ("SFTP_PORT", "70000", "from 1 to 65535"),
        ("TASKS_PER_CHILD", "0", "from 1 to 1000000"),
        ("SOFT_SHUTDOWN", "nan", "from 0 to 3600"),
        ("WORKER_NAME", "two words", "letters, digits"),
        ("WORKER_NAME", "-dash", "beginning with a letter"),
        ("WORKER_NAME", "painter.live", "not ending in .live"),
    ],
)
def test_refuses_what_it_cannot_use_and_names_it(key, value, says):
    with pytest.raises(ConfigError, match=says) as caught:
        Config.from_env({f"STYLEDIFFUSER_{key}": value})
    assert key in str(caught.value)
