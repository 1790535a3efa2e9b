import socket

from components.services.doctor import doctor
from components.services.ports import FREE, choose, is_free
from components.services.ray import LONGEST_FOLDER, temp_folder


def test_what_is_installed_here_fits_what_is_declared(tmp_path):
    findings = {finding.name: finding for finding in doctor(tmp_path / "home")}
    assert {name for name in ("python", "prefect", "mlflow", "ray", "torch", "home") if not findings[name].ok} == set()
    assert not (tmp_path / "home").exists()


def test_every_lack_comes_with_its_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "file").write_text("no folder")
    findings = {finding.name: finding for finding in doctor(tmp_path / "file" / "home")}
    lacking = {name for name, finding in findings.items() if not finding.ok}
    assert {"git", "make", "home"} <= lacking
    assert all(findings[name].remedy for name in lacking)


def test_a_taken_port_is_not_chosen(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        usual = foreign.getsockname()[1]
        assert not is_free(usual)
        chosen = choose(usual, tmp_path, set())
        assert chosen in FREE
        assert choose(usual, tmp_path, {chosen}) not in {usual, chosen}


def test_ray_folder_is_short_however_deep_the_home_lies(tmp_path, monkeypatch):
    deep = tmp_path.joinpath(*["folder"] * 40)
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    assert len(str(temp_folder(deep))) <= LONGEST_FOLDER
    assert temp_folder(deep) != temp_folder(deep / "other")
