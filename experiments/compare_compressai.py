"""Seconds of a hyperprior here and of the same network in CompressAI, side by side in one run.

    python experiments/compare_compressai.py OTHER_PYTHON [PRESET …]

``OTHER_PYTHON`` is the interpreter of an environment of its own: ``python3.11 -m venv DIR``, then
``DIR/bin/pip install compressai==1.2.8`` (6 GB with the CUDA build of PyTorch; the CPU build will do). A preset is
one of ``balle2018-hyperprior-mse-N``.

Both have the same weights, in ``bmshj2018_hyperprior`` of CompressAI, so both code latents of the same statistics.
PyTorch pads a convolution of stride 2 on the other side than TensorFlow. So CompressAI gets the picture and all
kernels turned by 180 degrees. Its hyper-synthesis ends with our softplus instead of a ReLU, and its prior has our
depth.

``--bfloat16`` adds a third side: our model, exported with ``--precision mixed_bfloat16``.

Each side is a process that stays. They take turns, warm, on as many threads: encode A, encode B, decode A, decode B,
and again. Seconds are from pixels (uint8) to bytes and back. "Networks" are the calls of the transforms. The rest is
entropy coding, checksums and rounding. Let nothing else run meanwhile. Rows are added to ``docs/compressai.jsonl``;
``experiments/readme_tables.py`` makes the table of ``docs/speed.md`` from them.
"""

import argparse
import contextlib
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "datasets" / "kodak" / "kodim23.png"
ROWS = ROOT / "docs" / "compressai.jsonl"
PRESET = "balle2018-hyperprior-mse-3"
WAYS = ("encode", "decode")


class Side:
    """One of the two codecs, in this process: what :func:`serve` measures.

    Attributes:
        library: that runs the networks, with its version.
        networks: seconds in the networks so far.
    """

    library: str
    networks = 0.0

    def encode(self, image: np.ndarray) -> tuple[Any, int]:
        """``uint8 [H, W, 3]`` → what :meth:`decode` takes, and its bytes."""
        raise NotImplementedError

    def decode(self, coded: Any) -> np.ndarray:
        """The image, ``uint8 [H, W, 3]``."""
        raise NotImplementedError


class CodecZoo(Side):
    """Codec Zoo."""

    def __init__(self, preset: str):
        from codec_zoo.codecs.specs import open_codec

        self.codec: Any = open_codec(preset)
        self.library = self.codec.model.library

    def encode(self, image: np.ndarray) -> tuple[bytes, int]:
        """See :class:`Side`."""
        before = self.codec.model.seconds
        data = self.codec.encode(image)
        self.networks += self.codec.model.seconds - before
        return data, len(data)

    def decode(self, coded: bytes) -> np.ndarray:
        """See :class:`Side`."""
        before = self.codec.model.seconds
        image = self.codec.decode(coded)
        self.networks += self.codec.model.seconds - before
        return image


class CompressAI(Side):
    """CompressAI, with the weights that :func:`write_weights` wrote."""

    def __init__(self, weights: Path, threads: int):
        import torch
        from compressai.entropy_models import EntropyBottleneck
        from compressai.models import ScaleHyperprior

        torch.set_num_threads(threads)
        self.torch, self.library = torch, f"PyTorch {torch.__version__}, CompressAI {version('compressai')}"
        arrays = np.load(weights)
        self.gray = float(arrays["gray"])
        latent_channels, channels = arrays["g_a.6.weight"].shape[:2]
        net = ScaleHyperprior(channels, latent_channels)
        net.h_s[-1] = torch.nn.Softplus()
        net.entropy_bottleneck = EntropyBottleneck(channels, filters=(3, 3, 3))
        with torch.no_grad():
            for name, values in net.state_dict().items():
                if name in arrays:
                    values.copy_(torch.from_numpy(arrays[name]))
            for layer in (*net.g_a, *net.g_s):
                if hasattr(layer, "beta_reparam"):
                    layer.beta.copy_(layer.beta_reparam.init(layer.beta))
                    layer.gamma.copy_(layer.gamma_reparam.init(layer.gamma))
        net.entropy_bottleneck.update(force=True, update_quantiles=True)
        net.update(force=True)
        self.net = net.eval()
        for part in (net.g_a, net.h_a, net.h_s, net.g_s):
            part.register_forward_pre_hook(lambda *_: self._start())
            part.register_forward_hook(lambda *_: self._stop())

    def _start(self) -> None:
        self._started = time.perf_counter()

    def _stop(self) -> None:
        self.networks += time.perf_counter() - self._started

    def encode(self, image: np.ndarray) -> tuple[Any, int]:
        """See :class:`Side`."""
        with self.torch.inference_mode():
            pixels = self.torch.from_numpy(image).permute(2, 0, 1)[None].float()
            coded = self.net.compress((pixels - self.gray) / 255)
        return coded, sum(len(string) for (string,) in coded["strings"])

    def decode(self, coded: Any) -> np.ndarray:
        """See :class:`Side`."""
        with self.torch.inference_mode():
            net, (y, z), shape = self.net, coded["strings"], coded["shape"]
            # As ScaleHyperprior.decompress, which would clip to 0 … 1.
            scales = net.h_s(net.entropy_bottleneck.decompress(z, shape))
            indexes = net.gaussian_conditional.build_indexes(scales)
            shown = net.g_s(net.gaussian_conditional.decompress(y, indexes))
            pixels = (255 * shown + self.gray).round().clamp(0, 255).byte()
            return pixels[0].permute(1, 2, 0).contiguous().numpy()


def write_weights(preset: str, path: Path) -> None:
    """Write the published weights of a preset as CompressAI names and turns them."""
    from codec_zoo import weights
    from codec_zoo.models.balle2018 import ScaleHyperprior

    model = weights.create(preset)
    if type(model) is not ScaleHyperprior:
        raise SystemExit(f"{preset} is no balle2018-hyperprior-mse-N, which CompressAI has.")
    arrays: dict[str, np.ndarray] = {"gray": np.array(model.GRAY)}

    def add(name: str, layer: Any) -> None:
        if hasattr(layer, "beta"):
            arrays[f"{name}.beta"] = np.asarray(layer.beta)
            arrays[f"{name}.gamma"] = np.asarray(layer.gamma).T
        else:  # [h, w, in, out], transposed ones [h, w, out, in] → [out, in, h, w], transposed ones [in, out, h, w]
            arrays[f"{name}.weight"] = np.asarray(layer.kernel)[::-1, ::-1].transpose(3, 2, 0, 1).copy()
            arrays[f"{name}.bias"] = np.asarray(layer.bias)

    for name, network in (("g_a", model.analysis.layers), ("g_s", model.synthesis.layers)):
        for i, layer in enumerate(network):
            add(f"{name}.{i}", layer)
    for name, network in (("h_a", model.hyper_analysis.layers), ("h_s", model.hyper_synthesis.stages)):
        for i, layer in enumerate(network):
            add(f"{name}.{2 * i}", layer)  # a ReLU between two
    for name in ("matrices", "biases", "factors"):
        for i, value in enumerate(getattr(model.prior, name)):
            arrays[f"entropy_bottleneck.{name}.{i}"] = np.asarray(value)
    np.savez(path, **arrays)  # type: ignore[arg-type]  # no array is called allow_pickle


def serve(side: Side, turned: bool) -> None:
    """Answer each way on standard input with a line of seconds, bytes and PSNR; first one that says the library."""
    image = np.asarray(Image.open(PICTURE).convert("RGB"))
    image = np.ascontiguousarray(image[::-1, ::-1]) if turned else image
    print(json.dumps({"library": side.library}), flush=True)
    coded: Any = None
    for way in map(str.strip, sys.stdin):
        before, started = side.networks, time.perf_counter()
        if way == "encode":
            coded, size = side.encode(image)
            found: dict[str, Any] = {"bytes": size}
        else:
            shown = side.decode(coded)
            found = {}
        seconds = {"seconds": time.perf_counter() - started, "networks": side.networks - before}
        if way == "decode":
            found["psnr"] = 20 * np.log10(255) - 10 * np.log10(np.mean(np.square(shown.astype(float) - image)))
        print(json.dumps({**seconds, **found}), flush=True)


@contextlib.contextmanager
def process(python: str, *arguments: str | Path, threads: int) -> Iterator[Callable[[str], dict[str, Any]]]:
    """A process of this script that stays; what is given sends it a way and returns its answer, "" the first."""
    environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment |= {"OMP_NUM_THREADS": str(threads)}
    command = [python, str(Path(__file__).resolve()), *map(str, arguments), "--threads", str(threads)]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdin and running.stdout

        def ask(way: str) -> dict[str, Any]:
            assert running.stdin and running.stdout
            if way:
                print(way, file=running.stdin, flush=True)
            line = running.stdout.readline()
            if not line:
                raise SystemExit(f"{python} ended.")
            return json.loads(line)

        yield ask
        running.stdin.close()


def compare(preset: str, python: str, threads: int, rounds: int, bfloat16: bool) -> Iterator[dict[str, Any]]:
    """A row of medians for each side."""
    from codec_zoo.harness.evaluation import describe

    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        weights = Path(scratch) / "weights.npz"
        subprocess.run([sys.executable, __file__, preset, "--write", weights], check=True)
        here = {"codec-zoo": preset}
        if bfloat16:
            command = [sys.executable, "-m", "codec_zoo.cli.main", "export", preset, scratch]
            subprocess.run([*command, "--precision", "mixed_bfloat16"], check=True, stdout=subprocess.DEVNULL)
            here["codec-zoo, bfloat16"] = f"{scratch}/{preset}"
        sides = {
            name: stack.enter_context(process(sys.executable, model, "--serve", "here", threads=threads))
            for name, model in here.items()
        }
        sides["compressai"] = stack.enter_context(process(python, weights, "--serve", "there", threads=threads))
        libraries = {name: ask("")["library"] for name, ask in sides.items()}
        answers: dict[tuple[str, str], list[dict[str, Any]]] = {(s, way): [] for s in sides for way in WAYS}
        for number in range(2 + rounds):  # the first two warm up
            for way in WAYS:
                for side, ask in sides.items():
                    answer = ask(way)
                    if number >= 2:
                        answers[side, way].append(answer)
        conditions = {"load": os.getloadavg()[0], "date": datetime.date.today().isoformat(), **describe()}
    for side in sides:
        row: dict[str, Any] = {"preset": preset, "side": side, "library": libraries[side]}
        for way in WAYS:
            found = answers[side, way]
            row |= {f"{way}_s": statistics.median(answer["seconds"] for answer in found)}
            row |= {f"{way}_networks_s": statistics.median(answer["networks"] for answer in found)}
        row |= {"bytes": answers[side, "encode"][0]["bytes"], "psnr": answers[side, "decode"][0]["psnr"]}
        yield {**row, "image": PICTURE.name, "threads": threads, "rounds": rounds, **conditions}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    # With --serve and --write it is the model or the weights instead.
    parser.add_argument("subject", metavar="PYTHON", help="of an environment with CompressAI")
    parser.add_argument("presets", nargs="*", metavar="PRESET", help=f"default: {PRESET}")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--bfloat16", action="store_true", help="also our export with products in bfloat16")
    parser.add_argument("--output", type=Path, default=ROWS, help="rows are added to this file")
    parser.add_argument("--serve", choices=("here", "there"), help=argparse.SUPPRESS)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write_weights(options.subject, options.write)
    elif options.serve == "here":
        serve(CodecZoo(options.subject), turned=False)
    elif options.serve == "there":
        serve(CompressAI(Path(options.subject), options.threads), turned=True)
    else:
        for preset in options.presets or [PRESET]:
            for row in compare(preset, options.subject, options.threads, options.rounds, options.bfloat16):
                with open(options.output, "a") as file:
                    print(json.dumps(row), file=file)
                print(json.dumps(row))


if __name__ == "__main__":
    main()
