import subprocess

from codec_zoo import provenance


def test_records_say_when_the_code_is_not_the_commits(tmp_path):
    def git(*command):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(
            ["git", "-C", tmp_path, *identity, *command], check=True, capture_output=True, text=True
        )

    code, notes = tmp_path / "zoo" / "model.py", tmp_path / "docs" / "notes.md"
    assert provenance.commit(code.parent) is None and provenance.changed_files(code.parent) is None
    for file in (code, notes):
        file.parent.mkdir()
        file.write_text("one")
    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    head = git("rev-parse", "--short=12", "HEAD").stdout.strip()
    notes.write_text("two")
    assert provenance.commit(code.parent) == head
    code.write_text("two")
    assert provenance.commit(code.parent) == f"{head}-dirty"
    assert provenance.changed_files(code.parent) == ["zoo/model.py"]
    inside = tmp_path / "environment" / "codec_zoo"
    inside.mkdir(parents=True)
    assert provenance.commit(inside) is None and provenance.changed_files(inside) is None
