"""Images by the million: ``codec-zoo compress-corpus`` as an Apache Beam pipeline, on any of Beam's runners.

```
pattern ─▶ match ─▶ what has no file yet ─▶ read ─▶ encode ─▶ OUTPUT/<path below the pattern's fixed part>.czoo
                                             └───────┴──────▶ OUTPUT/dead_letters.jsonl: {"path", "error"} a line
```

Each image gives one file, the same bytes as from ``codec-zoo compress``, or one dead letter.

- **Names.** ``photos/**.png`` has the fixed part ``photos/``: ``photos/a/b.png`` becomes ``OUTPUT/a/b.png.czoo``. The
  image's own suffix stays, so that ``b.png`` and ``b.jpg`` cannot collide, now or when one is added later.
- **Retries.** Beam may run a bundle again, or twice at once. A file is written in ``OUTPUT/.unfinished`` and then
  takes its name, which follows from the input alone: whoever comes last replaces the file with an equal one.
- **A second run** passes over what has its file and tries dead letters again. ``OUTPUT/corpus.json`` says which
  weights and options made the files; a run with others is refused. What exists is asked behind a barrier
  (``Reshuffle``) before any file is written: a retried bundle does not take its own work for an earlier run's.
- **Counters** (namespace ``codec_zoo``): pictures, bytes_in, bytes_out, dead_letters, skipped.

Paths are those of Beam's FileSystems (``gs://``, ``s3://``, ``hdfs://``, … where the installed Beam has them).
Workers need this package; a model given as a folder must be there on every worker.
"""

import contextlib
import importlib.metadata
import io
import json
import os
import posixpath
import re
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.io import fileio
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import create_runner

from codec_zoo.codecs import memory_estimates
from codec_zoo.codecs.image_reader import read_image
from codec_zoo.codecs.model_codec import ModelCodec
from codec_zoo.codecs.specs import codec_for
from codec_zoo.errors import CodecZooError, UsageError
from codec_zoo.export.runtime import open_model
from codec_zoo.files import writing

SUFFIX, DEAD_LETTERS, MANIFEST, SCRATCH = ".czoo", "dead_letters.jsonl", "corpus.json", ".unfinished"
COUNTERS = ("pictures", "bytes_in", "bytes_out", "dead_letters", "skipped")
NAMESPACE = "codec_zoo"
_DEAD = "dead"


def compress_corpus(
    pattern: str,
    output: str,
    model: str,
    options: Mapping[str, Any],
    runner: str = "DirectRunner",
    beam_options: Sequence[str] = (),
    force: bool = False,
    background: tuple[int, int, int] | None = None,
) -> dict[str, int]:
    """Compress the images that ``pattern`` matches; see the module.

    Args:
        pattern: a glob of Beam's: ``*`` stays within a folder, ``**`` does not. Files under ``output`` are left out.
        output: folder; one run at a time.
        model: a trained preset, or the folder of an export.
        options: of its codec.
        runner: of Beam.
        beam_options: more flags of Beam's ``PipelineOptions``.
        force: do finished files again, and take over files of other weights, options or inputs.
        background: RGB behind transparent parts; None makes dead letters of images that have them.

    Returns:
        The counters of this run.

    Raises:
        UsageError: nothing matches, ``output`` holds files made otherwise, or impossible options.
        ModelError: no such model, or one without weights.
        CodecZooError: the pipeline fails; finished files stay.
    """
    pattern, output = _absolute(pattern), _absolute(output).rstrip("/")
    flags = _pipeline_options(runner, beam_options)
    with _translated(f"cannot list {pattern}"):
        if not FileSystems.match([pattern], [1])[0].metadata_list:
            raise UsageError(f"no file matches {pattern}. `*` stays within a folder, `**` does not.")
    codec = open_codec(model, options)  # a mistake shows before the work starts; the model is exported once
    _remove_scratch(output)
    made_with = {**options, **({} if background is None else {"background": background})}
    _check_manifest(output, fixed_part(pattern), codec, made_with, force)
    if os.path.isdir(model):
        model = os.path.abspath(model)

    letters = posixpath.join(output, SCRATCH, DEAD_LETTERS)  # its writer leaves a folder beside it when it is killed
    with _translated("the pipeline failed; what is finished stays, and the same command goes on"):
        pipeline = beam.Pipeline(options=flags)
        paths = (
            pipeline
            | "Match" >> fileio.MatchFiles(pattern, fileio.EmptyMatchTreatment.ALLOW)
            | "Path" >> beam.Map(lambda metadata: metadata.path)
            | "NotOurs" >> beam.Filter(_is_outside, output + "/")
            | "Spread" >> beam.Reshuffle()
        )
        if not force:
            paths = paths | "Unfinished" >> beam.ParDo(Unfinished(pattern, output)) | "Barrier" >> beam.Reshuffle()
        compressed = paths | "Compress" >> beam.ParDo(
            Compress(pattern, output, model, options, background)
        ).with_outputs(_DEAD)
        (
            compressed[_DEAD]
            | "Line" >> beam.Map(json.dumps, ensure_ascii=False)
            | "DeadLetters" >> beam.io.WriteToText(letters, num_shards=1, shard_name_template="")
        )
        result = pipeline.run()
        try:
            state = result.wait_until_finish()
        except KeyboardInterrupt:
            with contextlib.suppress(Exception):
                result.cancel()
            raise
        if state not in (None, "DONE"):
            raise CodecZooError(f"it ended as {state}")
        _replace(letters, posixpath.join(output, DEAD_LETTERS))
        _remove_scratch(output)
        found = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))["counters"]
    counted = {counter.key.metric.name: counter.result for counter in found}
    return {name: int(counted.get(name) or 0) for name in COUNTERS}


class Unfinished(beam.DoFn):
    """Path of an image → the same, unless its file exists: that is counted as skipped."""

    def __init__(self, pattern: str, output: str):
        self._pattern, self._output = pattern, output
        self._skipped = Metrics.counter(NAMESPACE, "skipped")

    def process(self, path: str) -> Iterator[str]:
        """One image."""
        if FileSystems.exists(target_of(path, self._pattern, self._output)):
            self._skipped.inc()
        else:
            yield path


class Compress(beam.DoFn):
    """Path of an image → nothing, its file is written; or, tagged, a dead letter ``{"path", "error"}``.

    The codec is opened once for each worker. Whatever goes wrong in reading or coding an image (a damaged file, no
    permission, too many pixels for the memory) makes a dead letter; a file that cannot be written stops the pipeline.
    """

    def __init__(
        self,
        pattern: str,
        output: str,
        model: str,
        options: Mapping[str, Any],
        background: tuple[int, int, int] | None = None,
    ):
        self._pattern, self._output = pattern, output
        self._model, self._options, self._background = model, dict(options), background
        self._counters = {name: Metrics.counter(NAMESPACE, name) for name in COUNTERS}

    def setup(self) -> None:
        """Open the codec."""
        self._codec = open_codec(self._model, self._options)

    def process(self, path: str) -> Iterable[Any]:
        """One image."""
        target = target_of(path, self._pattern, self._output)
        try:
            with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
                data = file.read()
            image = read_image(path, data=data, background=self._background)
            memory_estimates.check_size(path, image.shape[0], image.shape[1], self._codec.model.preset, self._options)
            coded = self._codec.encode(image)
        except Exception as error:
            text = str(error) if isinstance(error, CodecZooError) else f"{type(error).__name__}: {error}"
            if FileSystems.exists(target):  # of an earlier run, when the image was another
                FileSystems.delete([target])
            self._counters["dead_letters"].inc()
            yield beam.pvalue.TaggedOutput(_DEAD, {"path": path, "error": text})
            return
        write_whole(target, coded, posixpath.join(self._output, SCRATCH))
        self._counters["pictures"].inc()
        self._counters["bytes_in"].inc(len(data))
        self._counters["bytes_out"].inc(len(coded))


def open_codec(model: str, options: Mapping[str, Any]) -> ModelCodec:
    """The codec around a preset or the folder of an export, as in ``codec-zoo compress``."""
    return codec_for(open_model(model), **options)


def fixed_part(pattern: str) -> str:
    """The fixed part of a glob: the folder above the first wildcard, with its slash."""
    fixed = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    return fixed[: fixed.rfind("/") + 1]


def target_of(path: str, pattern: str, output: str) -> str:
    """The file of the image ``path``, which ``pattern`` matched, in the folder ``output``."""
    return posixpath.join(output, path.removeprefix(fixed_part(pattern)) + SUFFIX)


def write_whole(path: str, data: bytes, scratch: str) -> None:
    """Write a file that appears whole, and replaces an older one, on any of Beam's file systems.

    Args:
        path: of the file.
        data: its content.
        scratch: a folder on the same file system, for the file while it is unfinished.

    Raises:
        CodecZooError: it cannot be written.
    """
    temporary, folder = f"{scratch}/{uuid.uuid4().hex}", path.rpartition("/")[0]
    if FileSystems.get_scheme(path) is None:
        with writing(path):
            os.makedirs(scratch, exist_ok=True)
            os.makedirs(folder, exist_ok=True)
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())  # or a power cut leaves an empty file that passes for finished
            os.replace(temporary, path)
        return
    with _translated(f"cannot write {path}"):
        for needed in (scratch, folder):
            with contextlib.suppress(OSError):
                FileSystems.mkdirs(needed)  # raises where it exists
        with FileSystems.create(temporary, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            file.write(data)
        _replace(temporary, path)


def _replace(temporary: str, path: str) -> None:
    if FileSystems.get_scheme(path) is not None:
        with contextlib.suppress(OSError):
            FileSystems.delete([path])  # HDFS does not rename onto a file
    FileSystems.rename([temporary], [path])


def _remove_scratch(output: str) -> None:
    """Of this run, or left by one that was killed."""
    scratch = posixpath.join(output, SCRATCH)
    with contextlib.suppress(Exception):
        if FileSystems.exists(scratch):
            FileSystems.delete([scratch])


def _absolute(path: str) -> str:
    """A local path made independent of the working directory; others as they are.

    Raises:
        UsageError: on a file system that this Beam lacks.
    """
    try:
        FileSystems.get_filesystem(path)
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error
    if FileSystems.get_scheme(path) is None:
        return os.path.abspath(os.path.expanduser(path))
    return path


def _is_outside(path: str, folder: str) -> bool:
    return not path.startswith(folder)


def _pipeline_options(runner: str, flags: Sequence[str]) -> PipelineOptions:
    """Flags as Beam's options; unknown ones are refused where no job server could know them."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            options = PipelineOptions([f"--runner={runner}", *flags])
            known = options.get_all_options(drop_default=True)
            unknown = options.get_all_options(drop_default=True, retain_unknown_options=True).keys() - known.keys()
    except SystemExit as error:  # argparse's way
        raise UsageError(f"options for Beam: {complaint.getvalue().strip().splitlines()[-1]}") from error
    stray = [flag for flag in flags[:1] if not flag.startswith("--")]
    if stray or (unknown and runner == "DirectRunner"):
        raise UsageError(
            f"Beam has no option {', '.join(stray or sorted(unknown))}. Options for Beam stand behind `--`, as "
            "--NAME=VALUE; a pattern is quoted, lest the shell replace it."
        )
    try:
        create_runner(runner)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return options


def _check_manifest(output: str, inputs: str, codec: ModelCodec, options: Mapping[str, Any], force: bool) -> None:
    """Write the record of the options of ``output``; refuse options that differ from an earlier record."""
    card = codec.model.card
    wanted = {
        "inputs": inputs,
        "preset": card["preset"],
        "weights_sha256": card["weights_sha256"],
        "options": {name: str(value) for name, value in sorted(options.items())},
    }
    path = posixpath.join(output, MANIFEST)
    with _translated(f"cannot read {path}"):
        known = None
        if FileSystems.exists(path):
            with FileSystems.open(path) as file:
                known = json.loads(file.read())
    if known and not force:
        for name, value in wanted.items():
            if known.get(name) != value:
                raise UsageError(
                    f"{output} holds files made with {name} {known.get(name)!r}, now it is {value!r}. "
                    "Name another --output, or --force."
                )
    made = {"version": importlib.metadata.version("codec-zoo"), "time": time.strftime("%Y-%m-%dT%H:%M:%S")}
    if not known or any(known.get(name) != value for name, value in wanted.items()):
        write_whole(
            path,
            json.dumps({**wanted, **made}, indent=1, ensure_ascii=False).encode(),
            posixpath.join(output, SCRATCH),
        )


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turn what Beam raises in the block into one line that starts with ``what``."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        if os.environ.get("CODEC_ZOO_DEBUG"):
            raise
        lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise CodecZooError(f"{what}: {lines[-1].strip()}") from error
