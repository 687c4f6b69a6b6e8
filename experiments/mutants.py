"""Damaged and hostile files of every family: a clear error or the right picture, in bounded time and memory.

    python experiments/mutants.py --count 2000 [--family NAME]… [--seed 0] [--keep FOLDER]

Mutant number n of a family depends on the seed, the family and n alone: ``--start N`` goes on where a run ended.
Half of the mutants are damage: the file's own checksums have to find it. For the other half the checksums are made
anew: what only the content contradicts.

A worker process decodes them. Memory of a mutant: the peak of the process (``VmHWM``, reset before each) beyond its
size after the sound files were decoded (``VmRSS``), so that TensorFlow and the model (about 600 MiB) do not count.
The worker's memory limit (``CODEC_ZOO_MEMORY``) is those 600 MiB and the 1.5 GiB that a mutant may take. Linux only.
"""

import argparse
import collections
import contextlib
import multiprocessing
import os
import resource
import zlib
from pathlib import Path

import numpy as np

from codec_zoo.codecs import container
from codec_zoo.codecs.container import Bitstream, Layer, LayerKind
from codec_zoo.errors import CodecZooError

SECONDS, MEMORY, BASE = 10, 3 * 2**29, 600 * 2**20
# Family → codecs, whose mutants take turns.
FAMILIES = {
    "layered": ["balle2018-hyperprior-mse-3", "balle2018-hyperprior-mse-vbr:80"],
    "sae": ["jia2019-sae-mse-e2"],
    "hybrid": ["fu2019-hybrid-s16-prelu:34", "fu2019-hybrid-s16-prelu,residual_codec=bpg-rgb444:38"],
    "mixed": ["zhao2018-mixed,resolution=low:20", "zhao2018-mixed,resolution=high:10"],
    "compact": ["jiang2017-comcnn:20", "zhao2018-jiang,resolution=low:20", "zhao2018-jiang,resolution=high:10"],
    "filter": [
        "hu2018-filter-svac-q48",
        "hu2018-filter-svac-q48,codec=svac-half",
        "hu2018-filter-svac-q48,codec=svac-eighth",
        "hu2018-filter-jpeg-q20",
        "hu2018-filter-bpg-q36",
        "hu2018-filter-bpg444-q34",
        "bpg-filter:34",
        "bpg-filter:44",
    ],
    "blocks": [
        "report2017-cnn-ae-ft",
        "report2017-cnn-ae-ft,overlap=8",
        "report2017-cnn-rnn-ae",
        "report2017-cnn-rnn-ae,coding=fixed",
    ],
    "thumbnail": ["report2017-gan-dc", "report2017-gan-dc,coding=fixed", "report2017-gan-ae-l2-w"],
    "perceptron": ["report2017-mlp", "report2017-mlp,coding=huffman"],
    "codecs": ["bpg-ycbcr444:34", "bpg-ycbcr420:38", "svac:44", "svac-quarter:44", "jxl-lossless", "jpeg-420:20"],
}
SIDES = [1, 2, 15, 16, 17, 63, 64, 65, 255, 1000, 4096, 8192, 16384, 65535, 2**20, 2**24 - 1]


# --- mutants ----------------------------------------------------------------------------------------------------


def flip(data: bytes, random: np.random.Generator) -> bytes:
    """Some bits flipped."""
    mutant = bytearray(data)
    for _ in range(int(random.choice([1, 1, 1, 2, 8]))):
        if mutant:
            mutant[int(random.integers(len(mutant)))] ^= 1 << int(random.integers(8))
    return bytes(mutant)


def cut(data: bytes, random: np.random.Generator) -> bytes:
    """The beginning."""
    return data[: int(random.integers(len(data)))] if data else data


def overwrite(data: bytes, random: np.random.Generator) -> bytes:
    """A run of bytes replaced by zeros or others."""
    start, length = int(random.integers(max(1, len(data)))), int(random.integers(1, 40))
    new = bytes(length) if random.integers(2) else random.bytes(length)
    return (data[:start] + new + data[start + length :])[: len(data)]


def remove(data: bytes, random: np.random.Generator) -> bytes:
    """A run of bytes left out."""
    start = int(random.integers(max(1, len(data))))
    return data[:start] + data[start + int(random.integers(1, 40)) :]


def insert(data: bytes, random: np.random.Generator) -> bytes:
    """Random bytes in between."""
    start = int(random.integers(len(data) + 1))
    return data[:start] + random.bytes(int(random.integers(1, 40))) + data[start:]


def append(data: bytes, random: np.random.Generator) -> bytes:
    """Random bytes behind."""
    return data + random.bytes(int(random.integers(1, 40)))


def splice(data: bytes, other: bytes, random: np.random.Generator) -> bytes:
    """The beginning of one and the end of another."""
    return data[: int(random.integers(len(data) + 1))] + other[int(random.integers(len(other) + 1)) :]


BYTES = {"flip": flip, "cut": cut, "overwrite": overwrite, "remove": remove, "insert": insert, "append": append}


def forge(stream: Bitstream, **changes) -> bytes:
    """A file with the fields of ``stream``, but for ``changes``, and checksums that are right."""
    fields = {
        "width": stream.width,
        "height": stream.height,
        "channels": stream.channels,
        "coded": stream.layers_coded,
    }
    fields |= {"layers": stream.layers, **changes}
    head = container.MAGIC + bytes([container.VERSION, fields["coded"] << 4 | fields["channels"]])
    head += stream.preset_id + stream.weights_id
    head += fields["width"].to_bytes(3, "big") + fields["height"].to_bytes(3, "big")
    data = head + zlib.crc32(head).to_bytes(4, "big")
    for number, layer in enumerate(fields["layers"]):
        word = (layer.kind << 28 | len(layer.payload)).to_bytes(4, "big")
        data += word + container._layer_crc(head, number, word, layer.payload) + layer.payload
    return data


def mutate(data: bytes, others: list[bytes], random: np.random.Generator) -> tuple[str, bytes]:
    """A mutant of a ``.czoo`` file, and its kind."""
    other = others[int(random.integers(len(others)))]
    if random.integers(2):
        kind = str(random.choice([*BYTES, "splice"]))
        return kind, splice(data, other, random) if kind == "splice" else BYTES[kind](data, random)
    stream, foreign = container.read(data), container.read(other)
    kind = str(random.choice([*BYTES, "splice", "replace", "sides", "channels", "kinds", "layers"]))
    layers = list(stream.layers)
    place = int(random.integers(len(layers)))
    payload, given = layers[place].payload, foreign.layers[int(random.integers(len(foreign.layers)))].payload
    changes: dict = {}
    if kind == "sides":
        for side in ("width", "height"):
            if random.integers(3):
                near = max(1, getattr(stream, side) + int(random.integers(-20, 20)))
                changes[side] = int(random.choice([near, int(random.choice(SIDES))]))
    elif kind == "channels":
        changes["channels"] = int(random.integers(16))
    elif kind == "kinds":
        layers[place] = Layer(LayerKind(int(random.integers(1, 1 + len(LayerKind)))), payload)
    elif kind == "layers":
        order = random.integers(0, len(layers), int(random.integers(1, 5)))
        layers = [layers[i] for i in order]
        changes["coded"] = len(layers)
    else:
        new = {
            **{name: lambda name=name: BYTES[name](payload, random) for name in BYTES},
            "splice": lambda: splice(payload, given, random),
            "replace": lambda: given if random.integers(2) else random.bytes(int(random.integers(0, 300))),
        }[kind]()
        layers[place] = Layer(layers[place].kind, new)
    return f"{kind}, checksums anew", forge(stream, layers=tuple(layers), **changes)


def mutate_plain(data: bytes, others: list[bytes], random: np.random.Generator) -> tuple[str, bytes]:
    """A mutant of a file without checksums, and its kind."""
    kind = str(random.choice([*BYTES, "splice"]))
    other = others[int(random.integers(len(others)))]
    return f"{kind}, no checksums", splice(data, other, random) if kind == "splice" else BYTES[kind](data, random)


# --- decoding ---------------------------------------------------------------------------------------------------


def pictures() -> list[np.ndarray]:
    """Small pictures of each sort: photographs, gray, flat, of one row."""
    from codec_zoo.codecs.images import read_image
    from codec_zoo.harness.evaluation import find_pictures

    photo = read_image(find_pictures("kodak")[22])
    flat = np.full((48, 64, 3), (20, 130, 77), np.uint8)
    return [photo[100:164, 200:296], photo[300:339, 80:127], photo[64:112, 500:564, :1], flat, photo[9:10, 40:90]]


def status(field: str) -> int:
    """Bytes of a field of ``/proc/self/status``."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def work(family: str, connection) -> None:
    """Send the family's sound files, and their pictures' hashes, then answer mutants."""
    os.environ["CODEC_ZOO_MEMORY"] = f"{BASE + MEMORY}B"
    from codec_zoo.codecs.specs import open_codec

    def digest(picture: np.ndarray) -> tuple:
        return picture.shape, zlib.crc32(np.ascontiguousarray(picture).tobytes())

    codecs, sound = [], []
    for spec in FAMILIES[family]:
        codec = open_codec(spec)
        for picture in pictures():
            if picture.shape[2] == 1 and not codec.takes_gray:
                continue
            data = codec.encode(picture)
            right = [digest(codec.decode(data))]
            if data[:4] == container.MAGIC:
                stream = container.read(data)
                right += [
                    digest(codec.decode(container.truncate(data, k + 1))) for k in range(len(stream.layers) - 1)
                ]
            codecs.append(codec)
            sound.append((data, right))
    connection.send(sound)
    base = status("VmRSS")
    resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") + 8 * 2**30, resource.RLIM_INFINITY))
    while True:
        try:
            number, data = connection.recv()
        except EOFError:
            return
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
        try:
            picture = codecs[number].decode(data)
            outcome = ("picture", digest(picture))
        except CodecZooError as error:
            outcome = ("error", str(error))
        except Exception as error:
            outcome = ("traceback", f"{type(error).__name__}: {error}")
        connection.send((*outcome, status("VmHWM") - base))


class Worker:
    """A worker process, which is ended when it takes too long."""

    def __init__(self, family: str):
        self._family = family
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=work, args=(self._family, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self.sound = self._connection.recv()

    def decode(self, number: int, data: bytes) -> tuple[str, object, int]:
        """The outcome, what belongs to it, and bytes of memory."""
        self._connection.send((number, data))
        with contextlib.suppress(EOFError, ConnectionError):
            if self._connection.poll(SECONDS):
                return self._connection.recv()
            outcome = "hang"
            self._end()
            return outcome, None, 0
        self._end()
        return "crash", None, 0

    def _end(self) -> None:
        self._process.kill()
        self._process.join()
        self._start()


def judge(outcome: str, found: object, memory: int, right: list, kind: str) -> str:
    """What a mutant comes to."""
    if memory > MEMORY:
        return "too much memory"
    if outcome != "picture":
        return outcome
    if found in right:
        return "right picture"
    return "other picture" if "checksums" in kind else "WRONG PICTURE"


def run(family: str, count: int, start: int, seed: int, keep: Path | None) -> dict[str, collections.Counter]:
    """Outcomes by the mutants' kind."""
    worker = Worker(family)
    files = [data for data, _ in worker.sound]
    table: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    most = 0
    for number in range(start, start + count):
        random = np.random.default_rng([seed, zlib.crc32(family.encode()), number])
        which = number % len(files)
        make = mutate if files[which][:4] == container.MAGIC else mutate_plain
        kind, mutant = make(files[which], files, random)
        outcome, found, memory = worker.decode(which, mutant)
        verdict = judge(outcome, found, memory, worker.sound[which][1], kind)
        most = max(most, memory)
        table[kind][verdict] += 1
        if keep and verdict not in ("error", "right picture"):
            keep.mkdir(parents=True, exist_ok=True)
            name = f"{family}-{number}-{kind}-{verdict}".replace(", ", "_").replace(" ", "-")
            (keep / name).write_bytes(mutant)
            if outcome != "picture":
                (keep / f"{name}.txt").write_text(str(found))
    print(f"\n{family}: {count} mutants from {start}, seed {seed}; at most {most / 2**20:.0f} MiB")
    return table


VERDICTS = [
    "error",
    "right picture",
    "other picture",
    "WRONG PICTURE",
    "traceback",
    "crash",
    "hang",
    "too much memory",
]


def show(table: dict[str, collections.Counter]) -> None:
    """Print outcomes as a table in Markdown."""
    print(f"| mutant | {' | '.join(VERDICTS)} |\n|---|{'---:|' * len(VERDICTS)}")
    total: collections.Counter = sum(table.values(), collections.Counter())
    for kind in [*sorted(table), "all"]:
        row = total if kind == "all" else table[kind]
        print(f"| {kind} | {' | '.join(str(row[verdict]) for verdict in VERDICTS)} |", flush=True)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="mutants a family")
    parser.add_argument("--family", action="append", choices=list(FAMILIES))
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the mutants that are not refused")
    arguments = parser.parse_args()
    for family in arguments.family or FAMILIES:
        show(run(family, arguments.count, arguments.start, arguments.seed, arguments.keep))


if __name__ == "__main__":
    main()
