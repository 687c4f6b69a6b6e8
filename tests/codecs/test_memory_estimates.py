"""Pictures that would not fit into the memory limit are refused before anything starts; the estimates are true."""

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codec_zoo import memory
from codec_zoo.codecs import container, memory_estimates
from codec_zoo.codecs.container import Layer, LayerKind
from codec_zoo.datasets.training_data import crop_to_memory
from codec_zoo.errors import MemoryLimitError
from codec_zoo.export.runtime import open_model
from codec_zoo.presets import get_preset, list_presets

# One preset of each kind of codec, with the layer that its files start with.
KINDS = {
    "fu2019-hybrid-s16-prelu": LayerKind.BASE,
    "hu2018-filter-svac-q48": LayerKind.PICTURE,
    "jia2019-sae-mse-e1": LayerKind.LATENT,
    "report2017-cnn-ae": LayerKind.LATENT,
    "report2017-mlp": LayerKind.PLANE,
    "zhao2018-mixed": LayerKind.REPRESENTATION,
}


@pytest.fixture(scope="module")
def huge(tmp_path_factory):
    """A picture of 100 megapixels in a file of a few kilobytes."""
    path = tmp_path_factory.mktemp("huge") / "huge.png"
    Image.new("1", (10_000, 10_000)).save(path)
    return path


def test_every_preset_was_measured():
    """A failure here: add a case to experiments/measure_memory.py, and run it."""
    for preset in list_presets():
        for way in ("compress", "decompress", "evaluate"):
            need = memory_estimates.needed(way, preset.name, 512, 768)
            assert 2**28 < need < 2**32, (preset.name, way, need)
            assert memory_estimates.needed(way, preset.name, 4000, 6000) > need


def test_options_change_the_need():
    def need(preset, **options):
        return memory_estimates.needed("compress", preset, 4000, 6000, options)

    assert need("jia2019-sae-mse-base", search=2) > need("jia2019-sae-mse-base", search=0)
    assert need("zhao2018-mixed", resolution="high") > need("zhao2018-mixed", resolution=None)
    assert need("hu2018-filter-jpeg-q20", codec="svac-half") > need("hu2018-filter-jpeg-q20")
    assert need("report2017-gan-dc", search="1") > need("report2017-gan-dc", search="0")
    assert need("jia2019-sae-mse-e4", tile="2048") > need("jia2019-sae-mse-e4", tile="1024")
    assert need("jia2019-sae-mse-e4", tile="1024") == need("jia2019-sae-mse-e4")


def test_a_file_says_what_its_decoding_needs():
    stream = read(file_of("zhao2018-mixed", LayerKind.REPRESENTATION, 4000, 6000, b"\x01"))
    assert memory_estimates.preset_of(stream) == "zhao2018-mixed"
    assert memory_estimates.options_of(stream) == {"first": "1", "second": "0"}
    assert memory_estimates.preset_of(stream, "jia2019-sae-mse-e1") == "jia2019-sae-mse-e1"


def file_of(preset, kind, height, width, start=b""):
    """A file with valid checksums that claims a size; its layer is empty but for its first bytes."""
    return container.write(preset, "0" * 64, width, height, 3, [Layer(kind, start + bytes(16))])


def read(data):
    return container.read(data)


def refusal(cli, *arguments):
    """Exit code, error and seconds of a command; the quicker of two runs, since others use the machine too."""
    runs = []
    for _ in range(2):
        started = time.monotonic()
        code, _, error = cli(*arguments)
        runs.append((time.monotonic() - started, code, error))
    return min(runs)


@pytest.mark.parametrize("preset", KINDS)
def test_a_picture_of_100_megapixels_is_refused_in_a_second(cli, huge, tmp_path, preset):
    target = tmp_path / "huge.czoo"
    seconds, code, error = refusal(cli, "compress", huge, "-o", target, "--model", preset, "--memory", "1.5G")
    assert code == 1 and seconds < 1.5, error  # 0.2 s on an idle machine
    need = memory.in_gib(memory_estimates.needed("compress", preset, 10_000, 10_000))
    assert f"10000×10000 pixels by {preset} needs about {need} of memory, and the limit is 1.50 GiB" in error
    assert "--memory SIZE" in error and error.count("\n") == 1
    assert not target.exists()


@pytest.mark.parametrize("preset", KINDS)
def test_a_file_that_claims_too_much_is_refused_in_a_second(cli, tmp_path, preset):
    file, target = tmp_path / "huge.czoo", tmp_path / "out.png"
    file.write_bytes(file_of(preset, KINDS[preset], 16384, 16384))
    seconds, code, error = refusal(cli, "decompress", file, "-o", target, "--memory", "1.5G")
    assert code == 1 and seconds < 1.5, error
    assert "huge.czoo: decoding 16384×16384 pixels" in error and "--memory SIZE" in error
    assert not target.exists()


def test_the_environment_limits_too_and_the_option_is_checked(cli, huge, tmp_path):
    code, _, error = cli("compress", huge, "-o", tmp_path / "a.czoo", CODEC_ZOO_MEMORY="1G")
    assert code == 1 and "the limit is 1.00 GiB" in error
    code, _, error = cli("compress", huge, "-o", tmp_path / "a.czoo", "--memory", "4")
    assert code == 2 and "number with a unit, e.g. 4G" in error


def test_other_commands_refuse_too(cli, huge):
    spec = "fu2019-hybrid-s16-prelu:32"
    for command in (["benchmark", huge, spec], ["evaluate", "--pictures", huge.parent, spec]):
        code, _, error = cli(*command, "--memory", "2G")
        assert code == 1 and "10000×10000 pixels by fu2019-hybrid-s16-prelu needs about" in error, error


def test_the_refusal_names_the_presets_that_can_take_the_picture(monkeypatch):
    need = memory_estimates.needed("compress", "fu2019-hybrid-s16-prelu", 4000, 6000)
    monkeypatch.setenv(memory.VARIABLE, f"{need - 1}B")
    fitting = memory_estimates.fitting_presets("compress", 4000, 6000)
    assert fitting and not any("fu2019-hybrid-s16" in name for name in fitting)
    matched = {name for name in memory_estimates.known_presets() if any(matches(name, one) for one in fitting)}
    for name in memory_estimates.known_presets():
        assert (memory_estimates.needed("compress", name, 4000, 6000) < need) == (name in matched), name
    with pytest.raises(MemoryLimitError, match="use a preset that can take it: ") as raised:
        memory_estimates.check_size("a.png", 4000, 6000, "fu2019-hybrid-s16-prelu", {})
    assert all(name in str(raised.value) for name in fitting)
    monkeypatch.setenv(memory.VARIABLE, "1M")
    with pytest.raises(MemoryLimitError, match="use a machine with more memory"):
        memory_estimates.check_size("a.png", 40, 60, "fu2019-hybrid-s16-prelu", {})


def matches(name, pattern):
    import fnmatch

    return fnmatch.fnmatchcase(name, pattern)


def test_a_batch_is_refused_at_once_only_if_nothing_of_it_fits(huge, tmp_path, monkeypatch):
    def workers(*paths):
        return memory_estimates.workers_for_pictures("compress", [("fu2019-hybrid-s16-prelu", {})], paths, 2)

    monkeypatch.setenv(memory.VARIABLE, "1.5G")
    small, absent = tmp_path / "small.png", tmp_path / "absent.png"
    Image.new("RGB", (60, 40)).save(small)
    with pytest.raises(MemoryLimitError, match=f"{huge}: coding 10000×10000 pixels"):
        workers(huge, huge)
    assert workers(huge, small) == workers(small) == 2
    assert workers(huge, absent) == 2  # whose reader tells why


def test_a_batch_of_files_too(tmp_path, monkeypatch):
    big, small, broken = (tmp_path / f"{name}.czoo" for name in ("big", "small", "broken"))
    preset, kind = "jia2019-sae-mse-e1", LayerKind.LATENT
    big.write_bytes(file_of(preset, kind, 16384, 16384))
    small.write_bytes(file_of(preset, kind, 40, 60))
    broken.write_bytes(b"CZOO")
    monkeypatch.setenv(memory.VARIABLE, "2G")
    with pytest.raises(MemoryLimitError, match=f"{big}: decoding 16384×16384 pixels"):
        memory_estimates.workers_for_files([big], None, 2)
    assert memory_estimates.workers_for_files([big, small], None, 2) == 2
    assert memory_estimates.workers_for_files([big, broken], None, 2) == 2
    monkeypatch.setenv(memory.VARIABLE, "1.5G")
    assert memory_estimates.workers_for_files([small], None, 2) == 1


def test_as_many_processes_start_as_fit(kodak_paths, huge, monkeypatch):
    codec = ("fu2019-hybrid-s16-prelu", {})
    need = memory_estimates.needed("evaluate", codec[0], 512, 768)
    for limit, workers in ((need, 1), (2.5 * need, 2), (100 * need, 4)):
        monkeypatch.setenv(memory.VARIABLE, f"{int(limit)}B")
        assert memory_estimates.workers_for_pictures("evaluate", [codec], kodak_paths, 4) == workers
    monkeypatch.setenv(memory.VARIABLE, f"{int(2.5 * need)}B")
    assert memory_estimates.workers_for_pictures("evaluate", [codec], [*kodak_paths, huge], 4) == 2


def test_codecs_in_this_process_refuse_too(model, photo, monkeypatch):
    from codec_zoo.codecs.specs import codec_for

    codec = codec_for(model, quality=44)
    data = codec.encode(photo[:64, :64])
    compress, decompress = codec.memory(64, 64)
    assert compress == memory_estimates.needed("compress", model.preset, 64, 64) >= decompress - 2**27
    monkeypatch.setenv(memory.VARIABLE, f"{decompress}B")
    codec.decode(data)
    monkeypatch.setenv(memory.VARIABLE, f"{decompress - 1}B")
    with pytest.raises(MemoryLimitError, match="decoding 64×64 pixels"):
        codec.decode(data)


def test_held_out_pictures_are_cropped_to_the_limit(monkeypatch):
    preset = get_preset("jia2019-sae-mse-e1")
    images = [np.arange(300 * 400 * 3, dtype=np.uint8).reshape(300, 400, 3), np.zeros((20, 30, 3), np.uint8)]
    said = []
    monkeypatch.setenv(memory.VARIABLE, "100G")
    assert crop_to_memory(images, preset, said.append)[0] is images[0] and not said
    monkeypatch.setattr(memory_estimates, "largest_picture", lambda name: 30_000)
    cropped = crop_to_memory(images, preset, said.append)
    assert np.array_equal(cropped[0], images[0][75:225, 100:300]) and cropped[1] is images[1]
    assert len(said) == 1 and said[0].startswith("1 of 2 held-out pictures are cropped to 0.0 megapixels")


def test_the_largest_held_out_picture_takes_half_of_the_limit(monkeypatch):
    monkeypatch.setenv(memory.VARIABLE, "8G")
    pixels = memory_estimates.largest_picture("hu2018-filter-jpeg-q20")
    need = memory_estimates.needed("compress", "hu2018-filter-jpeg-q20", 1, pixels)
    assert 0.99 < need / 2**32 <= 1
    stand_in = memory_estimates.largest_picture(memory_estimates.STAND_IN)
    assert memory_estimates.largest_picture("unknown") == stand_in
    monkeypatch.setenv(memory.VARIABLE, "1M")
    assert memory_estimates.largest_picture("hu2018-filter-jpeg-q20") == 1


def test_a_preset_that_was_never_measured_is_taken_for_another_and_the_refusal_says_so(huge, monkeypatch):
    """As presets of other packages are; standard codecs are no presets."""
    size = (4000, 6000)
    for way in ("compress", "decompress", "evaluate"):
        need = memory_estimates.needed(way, memory_estimates.STAND_IN, *size)
        assert memory_estimates.needed(way, "my-preset", *size) == need
        assert memory_estimates.needed(way, "", *size) == need
    assert memory_estimates.needed("compress", "jpeg", *size) == 0
    monkeypatch.setenv(memory.VARIABLE, "1.5G")
    guess = rf"\(never measured, taken for {memory_estimates.STAND_IN}\) needs about"
    with pytest.raises(MemoryLimitError, match=f"by my-preset {guess}"):
        memory_estimates.workers_for_pictures("compress", [("my.models:my-preset", {})], [huge], 2)
    stream = read(file_of("my-preset", LayerKind.LATENT, 16384, 16384))
    with pytest.raises(MemoryLimitError, match=f"by an unknown model {guess}"):
        memory_estimates.check_stream("a.czoo", stream)


@pytest.mark.slow
@pytest.mark.parametrize("preset", [*sorted(KINDS.keys() - {"jia2019-sae-mse-e1"}), "jia2019-sae-mse-e4"])
def test_the_estimate_is_near_the_real_peak(preset, kodak_paths, experiment, tmp_path):
    """0.9 to 1.6 times the peak for a picture of another size than those that were measured."""
    open_model(preset)  # exported here, which takes memory of its own
    rows = [np.concatenate([np.asarray(Image.open(kodak_paths[i + j])) for j in range(2)], axis=1) for i in (4, 10)]
    picture, file, decoded = (tmp_path / name for name in ("a.png", "a.czoo", "b.png"))
    Image.fromarray(np.concatenate(rows)[:900, :1200]).save(picture)
    for way, command in (
        ("compress", ["compress", picture, "-o", file, "--model", preset]),
        ("decompress", ["decompress", file, "-o", decoded]),
    ):
        status, error, peak = experiment("measure_memory").run_measured(*command)
        assert status == 0, error
        options = {} if way == "compress" else memory_estimates.options_of(read(file.read_bytes()))
        ratio = memory_estimates.needed(way, preset, 900, 1200, options) / peak
        assert 0.9 < ratio < 1.6, (way, ratio)


def test_the_page_says_what_pictures_need():
    """A failure here: `python experiments/measure_memory.py --table` prints the rows."""
    text = (Path(__file__).parents[2] / "docs" / "speed.md").read_text()
    section = text.split("## Memory")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    assert {row[0].strip("`").split("-")[0] for row in rows} == {name.split("-")[0] for name in KINDS} | {
        "balle2018",
        "bpg",
        "jiang2017",
    }
    for name, *cells in rows:
        for size, cell in zip(((3000, 4000), (4000, 6000), (10_000, 10_000)), cells, strict=True):
            needs = [memory_estimates.needed(way, name.strip("`"), *size) for way in ("compress", "decompress")]
            assert cell == " / ".join(f"{need / 2**30:.1f}" for need in needs), name
