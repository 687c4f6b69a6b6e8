"""Training over several processes or machines, through ``tf.distribute.MultiWorkerMirroredStrategy``.

The strategy brings the cluster (a gRPC server in each process, a coordination service in worker 0 that notices lost
ones) and the all-reduce: ring over gRPC on CPUs, NCCL on GPUs. The loop is ours (``codec_zoo.training.loop``), and
so is where the strategy is asked, because Keras 3 and the strategy fit together only in part:

- ``fit`` fails under it ("PerReplica … to a Tensor", keras #20585);
- in a custom loop with variables made in the strategy's scope, a Keras optimizer clips each worker's gradients
  *before* it sums them, which is not what one process does, and the recipes clip.

So variables are ordinary ones, each worker has all of them, and between ``tape.gradient`` and the optimizer the
gradients go through ``strategy.run`` and ``ReplicaContext.all_reduce``, inside the compiled training step. All
workers start from worker 0's variables and apply the same sums, so they stay equal.

Data: each worker makes the whole shuffled stream of batches, as one process does, and takes its rows of every batch.
Patches are small beside the step they cost; nothing has to agree on shards, and the order of the data depends on
neither the number of workers nor where a run was resumed.

A worker uses one device, its first GPU or the CPU: start a worker for each GPU (``CUDA_VISIBLE_DEVICES``).
"""

import json
import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from codec_zoo.errors import CodecZooError, UsageError
from codec_zoo.export.loopback import is_loopback
from codec_zoo.training.workers import Workers

# gRPC reads this name in small letters only.
_NO_PROXY = "no_grpc_proxy"
_LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
)


def find_workers(addresses: str | None, index: int | None) -> tuple[list[str], int] | None:
    """The workers of this run and which of them this process is, from the command line or ``TF_CONFIG``.

    Args:
        addresses: ``HOST:PORT,HOST:PORT…``, the same for all workers; None for what ``TF_CONFIG`` says.
        index: of this process among them.

    Returns:
        Addresses and index, or None for one process alone.

    Raises:
        UsageError: one without the other, impossible ones, or a ``TF_CONFIG`` that cannot be read.
    """
    if addresses is None:
        if index is not None:
            raise UsageError("--cluster-index is of --cluster HOST:PORT,HOST:PORT…: give both.")
        return _from_environment()
    found = [address.strip() for address in addresses.split(",")]
    for address in found:
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal():
            raise UsageError(f"a worker is written HOST:PORT. Received: {address!r}")
    if len(set(found)) < len(found):
        raise UsageError(f"each worker needs an address of its own. Received: {addresses}")
    if index is None or not 0 <= index < len(found):
        raise UsageError(f"--cluster-index must say which of the workers this is, 0 … {len(found) - 1}.")
    return (found, index) if len(found) > 1 else None


def _from_environment() -> tuple[list[str], int] | None:
    """The chief, if there is one, and the workers of ``TF_CONFIG``."""
    try:
        config = json.loads(os.environ.get("TF_CONFIG") or "{}")
        cluster = config.get("cluster", {})
        found = [*cluster.get("chief", []), *cluster.get("worker", [])]
        if len(found) < 2:
            return None
        kind, index = config["task"]["type"], int(config["task"]["index"])
        if kind not in ("chief", "worker"):
            raise ValueError(f"a task of type {kind!r} does not train")
        return find_workers(",".join(found), index + (len(cluster.get("chief", [])) if kind == "worker" else 0))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"TF_CONFIG is not that of a worker ({error!r}). Unset it, or give --cluster.") from error


class MirroredWorkers(Workers):
    """Workers joined by ``MultiWorkerMirroredStrategy``; see the module. Make it before TensorFlow does anything.

    Args:
        addresses: of all workers, ``HOST:PORT`` each, the same list everywhere.
        index: of this process.

    Raises:
        UsageError: the port is taken, or the address is not of this machine.
        CodecZooError: the others do not come.
    """

    def __init__(self, addresses: Sequence[str], index: int):
        self.index, self.count = index, len(addresses)
        self._addresses = addresses
        self._sum_now = tf.function(self._sum)
        os.environ["TF_CONFIG"] = json.dumps(
            {"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": index}}
        )
        here = [address.rpartition(":")[0] for address in addresses if is_loopback(f"grpc://{address}")]
        if here:  # gRPC would ask a proxy for workers on this machine
            elsewhere = [os.environ[name] for name in (_NO_PROXY, "no_proxy") if os.environ.get(name)]
            os.environ[_NO_PROXY] = ",".join([*elsewhere[:1], *dict.fromkeys(here)])
        tf.config.set_visible_devices(tf.config.list_physical_devices("GPU")[:1], "GPU")
        try:
            self._strategy = tf.distribute.MultiWorkerMirroredStrategy()
        except tf.errors.UnknownError as error:
            raise UsageError(
                f"worker {index} cannot listen at {addresses[index]}: {error.message.splitlines()[0]}. Is the port "
                "taken, or --cluster-index that of another machine?"
            ) from error
        except _LOST as error:
            raise CodecZooError(
                f"the workers {', '.join(addresses)} did not all come: {error.message.splitlines()[0]}. Start the "
                "same command on each, and let their ports through."
            ) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """A lost worker as a :class:`CodecZooError`."""
        if isinstance(error, _LOST):
            raise CodecZooError(
                f"worker {self.index} of {self.count} lost the others ({', '.join(self._addresses)}): "
                f"{type(error).__name__}. One ended or cannot be reached; its own last lines say why. Start all of "
                "them again with --resume."
            ) from error

    def attach(self, optimizer: keras.optimizers.Optimizer, whole: int) -> None:
        """Sum gradients over the workers before ``optimizer`` clips and applies them."""
        apply, weight = optimizer.apply, self._weight(whole)

        def apply_sum(
            gradients: Sequence[tf.Tensor | None], trainable_variables: Sequence[keras.Variable] | None = None
        ) -> Any:
            known = [i for i, gradient in enumerate(gradients) if gradient is not None]
            summed = list(gradients)
            sums = self._sum([weight * tf.convert_to_tensor(gradients[i]) for i in known])
            for i, gradient in zip(known, sums, strict=True):
                summed[i] = gradient
            return apply(summed, trainable_variables)

        optimizer.apply = apply_sum

    def mean(self, values: Mapping[str, float], whole: int) -> dict[str, float]:
        """Means over whole batches; see the base class."""
        weighted = tf.constant([self._weight(whole) * value for value in values.values()], tf.float64)
        return dict(zip(values, map(float, self._sum_now([weighted])[0]), strict=True))

    def follow_first(self, variables: Sequence[keras.Variable]) -> None:
        """Worker 0's values in all; see the base class."""
        # The strategy packs tensors of one type; float64 holds all of float32 and whole numbers below 2^53.
        mine = [keras.ops.convert_to_numpy(variable).astype(np.float64) for variable in variables]
        sums = self._sum_now([tf.constant(array if self.index == 0 else np.zeros_like(array)) for array in mine])
        if self.index:
            for variable, value in zip(variables, sums, strict=True):
                variable.assign(value.numpy().astype(keras.backend.standardize_dtype(variable.dtype)))

    def number_of_first(self, number: int) -> int:
        """Worker 0's number; see the base class."""
        return int(self._sum_now([tf.constant(number if self.index == 0 else 0, tf.int64)])[0])

    def _weight(self, whole: int) -> float:
        share = self.share(whole)
        return (share.stop - share.start) / whole

    def _sum(self, tensors: list[tf.Tensor]) -> list[tf.Tensor]:
        """Sums over the workers; to be traced, since the strategy is slow outside a function."""

        def replica(tensors: list[tf.Tensor]) -> list[tf.Tensor]:
            here = [tf.identity(tensor) for tensor in tensors]  # on the replica's device, which the strategy asks for
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, here)

        return self._strategy.run(replica, args=(tensors,)) if tensors else []
