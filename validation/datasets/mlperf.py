"""MLPerf Inference v4.1 (2024): LLM server runs, Poisson arrivals near an instance's limit.

Answers are as long as the run's own, which for Llama-2 is 1.33 times those of the data set: its
table holds the reference answers of another model. Near saturation TPOT follows the rate so
steeply that a few per cent of speed decide it, so TPOT is also scored at the number of requests
that were in service, by Little's law: rate x (tokens - 1) x TPOT.
"""

from dataclasses import replace
from pathlib import Path

from pdplan.calibration.formats.row import Measured
from pdplan.calibration.observations import Observations
from pdplan.errors import InfeasibleError
from pdplan.planner.evaluation import evaluate, max_rate
from pdplan.specs.engine import load_engine
from pdplan.specs.hardware import load_hardware
from pdplan.specs.model import load_model
from pdplan.specs.plan_file import PlanSpec, PoolOptions, PoolSpec
from pdplan.specs.traffic import Traffic, traffic
from pdplan.specs.workload import WorkloadSpec
from validation.datasets.scored import GroupScore, Pair, grouped
from validation.datasets.tables import DATA, Row, measured, table

PATH = "mlperf/server_v41_grouped.csv"
LOGS = "mlperf/logs_v41.csv"
LENGTHS = DATA / "traces" / "lengths"
MODELS = {"llama2-70b": "llama-2-70b", "mixtral-8x7b": "mixtral-8x7b"}
TRACES = {"llama2-70b": "llama2-70b-99.csv", "mixtral-8x7b": "mixtral-8x7b.csv"}
HARDWARE = {
    "AMD Instinct MI300X-NPS1-SPX-192GB-750W": "mi300x",
    "AMD MI300X-NPS1-SPX-192GB-750W": "mi300x",
    "NVIDIA B200-SXM-180GB": "b200-sxm",
    "NVIDIA GH200 Grace Hopper Superchip 144GB": "gh200-144gb",
    "NVIDIA GH200 Grace Hopper Superchip 96GB": "gh200",
    "NVIDIA H100-NVL-94GB": "h100-nvl",
    "NVIDIA H100-SXM-80GB": "h100-sxm",
    "NVIDIA H200-SXM-141GB": "h200-sxm",
    "NVIDIA H200-SXM-141GB-CTS": "h200-sxm",
}
LARGEST_BATCH = 1024
"""Where a run does not say: more than the 385 in service of AMD's."""
LONGEST = 1024.0
"""Tokens of an answer that the benchmark allows."""


def runs() -> list[Row]:
    """One row a configuration."""
    return table(PATH)


def engine_of(r: Row) -> str:
    """Profile of a run's engine."""
    return "vllm-2024" if HARDWARE[r["accelerator"]] == "mi300x" else "trtllm-2024"


def group_of(r: Row) -> str:
    """Model and accelerator of a run."""
    return f"{MODELS[r['bench']]} on {HARDWARE[r['accelerator']]}"


def _shape(r: Row) -> Row:
    """What one instance is."""
    return {
        "model": MODELS[r["bench"]],
        "hardware": HARDWARE[r["accelerator"]],
        "engine": engine_of(r),
        "tp": str(int(float(r["tp"]))),
        "weight_dtype": {"fp4": "nvfp4"}.get(r["precision"], r["precision"]),
        "kv_dtype": "fp8",
    }


def _traffic(r: Row, rate: WorkloadSpec) -> Traffic:
    """Requests of the data set, their answers as long on average as the run's."""
    found = traffic(rate, float(r["rate_per_replica"]), LENGTHS)
    tokens = found.output_tokens * (float(r["osl"]) / found.output_mean)
    return replace(found, output_tokens=tokens.clip(max=LONGEST))


def plan(r: Row, specs_dir: Path | None = None) -> PlanSpec:
    """One instance at its share of the rate, with the benchmark's objectives."""
    shape = _shape(r)
    engine = load_engine(shape["engine"], specs_dir)
    trace = {"trace": TRACES[r["bench"]]}
    workload = WorkloadSpec.model_validate(
        {
            "rate": f"{r['rate_per_replica']} req/s",
            "isl": trace,
            "osl": trace,
            "ttft": f"{r['slo_ttft_ms']} ms",
            "tpot": f"{r['slo_tpot_ms']} ms",
            "percentile": 99,
        }
    )
    pool = PoolSpec.model_validate(
        {
            "name": "all",
            "stages": "PD",
            "instances": 1,
            "max_batch": int(float(r["max_batch"] or LARGEST_BATCH)),
            "options": PoolOptions(scheduler=engine.defaults.scheduler),
            "tp": int(shape["tp"]),
            **{key: shape[key] for key in ("hardware", "weight_dtype", "kv_dtype")},
        }
    )
    return PlanSpec(
        placement="PD",
        system=None,
        model_id=shape["model"],
        model=load_model(shape["model"], specs_dir),
        engine_id=shape["engine"],
        engine=engine,
        speculation=None,
        workload=workload,
        workload_id=r["bench"],
        traffic=_traffic(r, workload),
        pools=(pool,),
        hardware={pool.hardware: load_hardware(pool.hardware, specs_dir)},
        workload_folder=LENGTHS,
        alternatives=(),
    )


def in_service() -> list[Measured]:
    """Server runs as closed loops of the requests that were in service."""
    found = []
    for i, r in enumerate(runs(), 2):
        seconds = float(r["tpot_mean"]) / 1e3
        running = float(r["rate_per_replica"]) * (float(r["osl"]) - 1) * seconds
        row = _shape(r) | _lengths(r) | {"phase": "serve", "concurrency": f"{running:.0f}"}
        found.append(measured(PATH, i, row, tpot_mean_s=seconds))
    return found


def offline() -> list[Measured]:
    """Offline runs of the same configurations: everything queued at the start, nothing streamed."""
    lengths = {(r["bench"], r["accelerator"], r["n_accel"]): r for r in runs()}
    found = []
    for i, r in enumerate(table(LOGS), 2):
        bench = r["model"].removesuffix("-99")
        of = lengths.get((bench, r["accelerator"], r["n_accel"]))
        if of is None or r["scenario"] != "Offline" or not _comparable(r):
            continue
        batch = r["max_batch"] or of["max_batch"] or str(LARGEST_BATCH)
        row = _shape(of) | _lengths(of) | {"phase": "serve", "concurrency": batch}
        each = float(r["samples_per_s"]) / float(r["n_accel"]) * float(of["osl"])
        found.append(measured(LOGS, i, row, output_tokens_per_s_per_gpu=each))
    return found


def _comparable(r: Row) -> bool:
    """Whether a run is of the harness and power of the others, and says its parallelism."""
    return bool(r["tp"]) and r["submitter"] != "NeuralMagic" and "MaxQ" not in r["system"]


def _lengths(r: Row) -> Row:
    """Mean prompt and answer."""
    prompts = [float(one["input_length"]) for one in table(f"traces/lengths/{TRACES[r['bench']]}")]
    return {"isl": f"{sum(prompts) / len(prompts):.1f}", "osl": r["osl"]}


def loop_pairs(specs_dir: Path | None = None) -> list[Pair]:
    """Server TPOT at the number in service, and offline throughput."""
    found = []
    for label, rows in (("tpot_s in service", in_service()), ("offline tokens/s", offline())):
        data = Observations(rows, specs_dir)
        found += [
            Pair(label, f"{m.row['model']} on {m.row['hardware']}", float(value), float(t))
            for m, value, t in zip(data.measured, data.values, data.predicted(), strict=True)
        ]
    return found


def pairs(specs_dir: Path | None = None) -> list[Pair]:
    """TPOT and TTFT at the published rate, and the largest rate within the objectives.

    An instance that the model calls overloaded has no TTFT.
    """
    found = []
    for r in runs():
        spec, group, what = plan(r, specs_dir), group_of(r), f"{r['n_accel']} GPUs"
        at = evaluate(spec)
        assert at.prediction is not None
        rate, tpot = float(r["rate_per_replica"]), float(r["tpot_mean"]) / 1e3
        found.append(Pair("tpot_mean_s", group, tpot, float(at.prediction.tpot_s.mean), what))
        if at.pools[0].utilization < 1:
            late = float(at.prediction.ttft_s.p99)
            found.append(Pair("ttft_p99_s", group, float(r["ttft_p99"]) / 1e3, late, what))
        found.append(Pair("largest_rate_rps", group, rate, _largest_rate(spec), what))
    return found


def _largest_rate(spec: PlanSpec) -> float:
    """Largest rate within the objectives [1/s]; 0 where there is none."""
    try:
        best = max_rate(spec).prediction
    except InfeasibleError:
        return 0.0
    return best.rate_rps if best is not None else 0.0


def scored(specs_dir: Path | None = None) -> list[GroupScore]:
    """Errors by model and accelerator, and over all runs."""
    both = [*pairs(specs_dir), *loop_pairs(specs_dir)]
    return [*grouped(both), *grouped(both, "all")]
