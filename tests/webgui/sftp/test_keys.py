import stat

from webgui.sftp.keys import ensure_keys


def test_made_once_private_and_kept(tmp_path):
    keys = ensure_keys(tmp_path / "keys")
    before = {path.name: path.read_bytes() for path in (tmp_path / "keys").iterdir()}
    assert before.keys() == {"sftp_host_key", "worker_key", "authorized_keys"}
    for path in (tmp_path / "keys").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert ensure_keys(tmp_path / "keys") == keys
    assert {path.name: path.read_bytes() for path in (tmp_path / "keys").iterdir()} == before


def test_the_host_key_line_is_what_workers_pin(tmp_path):
    kind, data = ensure_keys(tmp_path).host_key_line.split()
    assert kind == "ssh-ed25519"
    assert len(data) == 68


def test_a_worker_added_by_hand_stays(tmp_path):
    keys = ensure_keys(tmp_path)
    keys.authorized.write_text(keys.authorized.read_text() + "restrict ssh-ed25519 AAAA other\n")
    ensure_keys(tmp_path)
    assert keys.authorized.read_text().endswith("other\n")
