"""A torch whose device is a clock: shapes are real, values are not, times come from constants."""

import sys
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from math import prod
from types import ModuleType, SimpleNamespace

import numpy as np

from pdplan.physics.attention import (
    attention_s,
    cached_attention_s,
    causal_pairs,
    padded_head_dim,
    prefill_bytes,
)
from pdplan.physics.collectives import pipelined_s
from pdplan.physics.products import product_s
from pdplan.stages.machine import Shape, machines

BYTES = {"bf16": 2, "fp16": 2, "fp8": 1, "fp32": 4}
LAYER_NORM_BYTES, ROTATION_BYTES = 8, 4


class Tensor:
    def __init__(self, device, shape, dtype):
        self.device, self.shape, self.dtype = device, tuple(shape), dtype

    def like(self, *shape):
        if -1 in shape:
            known = -prod(shape)
            assert prod(self.shape) % known == 0
            shape = tuple(prod(self.shape) // known if n == -1 else n for n in shape)
        assert prod(shape) == prod(self.shape)
        return Tensor(self.device, shape, self.dtype)

    view = reshape = like

    def to(self, dtype):
        return Tensor(self.device, self.shape, dtype)

    def t(self):
        return Tensor(self.device, self.shape[::-1], self.dtype)

    def transpose(self, a, b):
        shape = list(self.shape)
        shape[a], shape[b] = shape[b], shape[a]
        return Tensor(self.device, shape, self.dtype)

    def unbind(self, axis):
        shape = self.shape[:axis] + self.shape[axis + 1 :]
        return [Tensor(self.device, shape, self.dtype) for _ in range(self.shape[axis])]

    def chunk(self, n, axis):
        assert axis == -1
        shape = (*self.shape[:-1], self.shape[-1] // n)
        return [Tensor(self.device, shape, self.dtype) for _ in range(n)]

    def narrow(self, axis, start, length):
        return Tensor(self.device, (self.shape[0], length), self.dtype)

    def mul_(self, other):
        if not isinstance(other, Tensor):  # the rotation; a gate is fused with its activation
            self.device.stream(ROTATION_BYTES * prod(self.shape))
        return self

    def copy_(self, other):
        self.device.do(2 * 2 * prod(self.shape) / (self.device.copy_share * self.device.bandwidth))


class Device:
    """Runs everything at once and keeps the time of it."""

    def __init__(self, engine, hardware, spec, copy_share=0.9):
        self.tables = {}
        for dtype in ("bf16", "fp8"):
            for ranks in (1, 2, 4):
                shape = Shape("x", tp=ranks, weight_dtype=dtype)
                self.tables[dtype, ranks] = machines([shape], {"x": spec}, engine)
        self.bandwidth, self.copy_share = spec.memory.bandwidth, copy_share
        self.clock, self.recorded, self.eager, self.ranks, self.calls = 0.0, None, False, 1, 0
        self.before_call = lambda calls: None
        self.factor = 1.0

    def rate(self, name, dtype="bf16", ranks=1):
        return float(getattr(self.tables[dtype, ranks], name)[0, 0])

    def do(self, seconds):
        self.calls += 1
        self.before_call(self.calls)
        seconds = float(seconds) * self.factor
        if self.recorded is not None:
            self.recorded.append(seconds)
        else:
            self.clock += seconds

    def stream(self, count):
        self.do(count / self.rate("elementwise_bytes_per_s"))

    def product(self, m, k, n, dtype="bf16", floor=True):
        self.do(product_s(
            m, k, n, weight_bytes=BYTES[dtype], input_bytes=BYTES[dtype],
            flops_per_s=self.rate("flops_per_s", dtype),
            bytes_per_s=self.rate("stream_bytes_per_s", dtype),
            step_s=0.0, floor_s=self.rate("product_floor_s") * floor, norm=2.0,
        ))  # fmt: skip

    def attend(self, q, k, _v, is_causal=False, enable_gqa=False):
        batch, heads, new, width = q.shape
        _, kv_heads, seen, _ = k.shape
        assert enable_gqa == (heads != kv_heads)
        rates = ["prefill_attention_flops_per_s", "prefill_attention_bytes_per_s"]
        rates += ["prefill_attention_fill", "prefill_attention_floor_s"]
        if is_causal:
            flops = 4 * width * heads * batch * causal_pairs(new, 0, np.inf)
            moved = batch * prefill_bytes(new, 0, heads * width, 4 * kv_heads * width)
            self.do(attention_s(flops, 4 * width * new, moved, *map(self.rate, rates)))
        elif new == seen:
            row = 4 * padded_head_dim(width) * seen
            names = "encoder_attention_flops_per_s", "encoder_attention_fill", "encoder_floor_s"
            rate, fill, floor = map(self.rate, names)
            self.do(attention_s(row * heads * new * batch, row, 0.0, rate, 1.0, fill, floor))
        else:
            read = batch * kv_heads * seen * width
            names = "decode_attention_bytes_per_s", "decode_attention_floor_s"
            bandwidth, floor = map(self.rate, names)
            flops = 4 * new * read
            self.do(cached_attention_s(flops, 4 * read, self.rate(rates[0]), bandwidth, floor))
        return Tensor(self, q.shape, q.dtype)


def install(monkeypatch, device, *, name="NVIDIA H100 80GB HBM3", count=1, fp8=True):
    """Put a fake torch in the place of the real one."""

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            self.at = device.clock

        def elapsed_time(self, later):
            return 1e3 * (later.at - self.at)

    class Graph:
        def __init__(self):
            self.times = []

        def replay(self):
            device.clock += sum(self.times)

    @contextmanager
    def graph(captured):
        device.recorded = captured.times
        yield
        device.recorded = None

    @contextmanager
    def nothing(*_):
        yield

    def tensor(*shape, dtype, device):
        return Tensor(made, shape[0] if shape and isinstance(shape[0], tuple) else shape, dtype)

    made = device

    def mm(a, b, out):
        assert out.shape == (a.shape[0], b.shape[1])
        made.product(a.shape[0], *b.shape, dtype=a.dtype)

    def scaled_mm(a, b, *, scale_a, scale_b, out_dtype, use_fast_accum):
        assert (a.dtype, scale_a.dtype, out_dtype) == ("fp8", "fp32", "bf16")
        if not fp8:
            raise RuntimeError("torch._scaled_mm is only supported on newer devices\nat a.cpp")
        made.product(a.shape[0], *b.shape, dtype="fp8")

    def linear(x, w):
        assert x.shape[-1] == w.shape[1]
        made.product(x.shape[0], *w.shape[::-1], floor=False)
        return Tensor(made, (x.shape[0], w.shape[0]), x.dtype)

    def addmm(residual, x, w):
        assert residual.shape == (x.shape[0], w.shape[1])
        made.product(x.shape[0], *w.shape, floor=False)
        return residual

    def layer_norm(x, shape):
        made.stream(LAYER_NORM_BYTES * prod(x.shape))
        made.do(made.rate("encoder_layer_s") / 2)
        return x

    def activation(width):
        def run(x):
            made.stream(width * prod(x.shape))
            return x

        return run

    def attend(backend, *args, **kwargs):
        return made.attend(*args, **kwargs)

    def module(name, **attributes):
        found = ModuleType(name)
        found.__spec__ = ModuleSpec(name, None)
        found.__dict__.update(attributes)
        monkeypatch.setitem(sys.modules, name, found)
        return found

    functional = SimpleNamespace(
        scaled_dot_product_attention=lambda *a, **k: made.attend(*a, **k),
        linear=linear, layer_norm=layer_norm, gelu=activation(4), silu=activation(6),
    )  # fmt: skip
    backends = SimpleNamespace(FLASH_ATTENTION=1, EFFICIENT_ATTENTION=2)
    nn = SimpleNamespace(
        functional=functional,
        attention=SimpleNamespace(sdpa_kernel=nothing, SDPBackend=backends),
    )
    cuda = SimpleNamespace(
        is_available=lambda: count > 0, device_count=lambda: count,
        get_device_name=lambda i: name, synchronize=lambda: None, empty_cache=lambda: None,
        set_device=lambda i: None, Event=Event, CUDAGraph=Graph, graph=graph,
        get_device_properties=lambda i: SimpleNamespace(gcnArchName=""),
    )  # fmt: skip
    torch = module(
        "torch", Tensor=Tensor, __version__="2.8.0", version=SimpleNamespace(hip=None),
        cuda=cuda, nn=nn,
        bfloat16="bf16", float16="fp16", float32="fp32", float8_e4m3fn="fp8",
        randn=tensor, empty=tensor, zeros=tensor, ones=tensor, mm=mm, _scaled_mm=scaled_mm,
        addmm=addmm, inference_mode=nothing,
    )  # fmt: skip

    def init_process_group(backend, *, init_method, world_size, rank):
        assert backend == "nccl"
        assert init_method.startswith("file:///")
        made.ranks = world_size

    def all_reduce(buffer):
        ranks, size = made.ranks, 2 * prod(buffer.shape)
        rates = (made.rate(f"library_{name}", ranks=ranks) for name in ("latency_s", "bytes_per_s"))
        made.do(pipelined_s(2 * (ranks - 1) / ranks * size, *rates))

    module(
        "torch.distributed", init_process_group=init_process_group, all_reduce=all_reduce,
        destroy_process_group=lambda: None,
    )  # fmt: skip
    module(
        "torch.multiprocessing",
        spawn=lambda worker, args, nprocs: worker(0, *args),
        ProcessRaisedException=KeyError, ProcessExitedException=KeyError,
    )  # fmt: skip
    return torch
