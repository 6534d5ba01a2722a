import csv
import io
import json

import pytest
import yaml
from typer.testing import CliRunner

from pdplan.cli import app
from pdplan.specs.catalog import bundled_root, names

KINDS = {"hardware": "hardware", "models": "model", "workloads": "workload", "engines": "engine"}


def run(*args):
    return CliRunner().invoke(app, list(args))


@pytest.mark.parametrize("group", KINDS)
def test_every_bundled_spec_is_listed(group):
    result = run(group, "list", "--format", "csv")
    assert (result.exit_code, result.stderr) == (0, "")
    rows = list(csv.DictReader(io.StringIO(result.stdout, newline="")))
    listed = {row["id"].partition("/")[0] for row in rows}
    assert listed == set(names(KINDS[group]))


@pytest.mark.parametrize("group", KINDS)
@pytest.mark.parametrize("form", ["table", "md", "csv"])
def test_show_has_everything_the_file_says(group, form):
    result = run(group, "show", names(KINDS[group])[0], "--format", form)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "source" in result.stdout


def test_show_json_has_the_keys_of_the_file():
    written = yaml.safe_load((bundled_root() / "hardware_specs" / "h200-sxm.yaml").read_text())
    data = json.loads(run("hardware", "show", "h200-sxm", "--format", "json").stdout)
    assert list(data) == list(written)
    assert data["memory"] == written["memory"]
    shown = yaml.safe_load(run("hardware", "show", "h200-sxm", "--format", "yaml").stdout)
    assert shown == data


def test_unknown_names_are_two():
    result = run("hardware", "show", "h100sxm")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "unknown hardware 'h100sxm'; did you mean 'h100-sxm'?\n"


def test_check_all():
    result = run("engines", "check")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "vllm: ok\n" in result.stdout


def test_check_says_all_problems(tmp_path):
    good = bundled_root() / "hardware_specs" / "l4.yaml"
    bad = tmp_path / "bad.yaml"
    bad.write_text(good.read_text().replace("vendor:", "vender:"))
    result = run("hardware", "check", str(good), str(tmp_path))
    assert (result.exit_code, result.stdout) == (2, f"{good}: ok\n")
    assert sorted(result.stderr.splitlines()) == [
        f"{bad}:1: vendor: missing; it has no default",
        f"{bad}:2: vender: unknown key; did you mean 'vendor'?",
    ]


def test_check_guards_the_roofline(tmp_path):
    path = tmp_path / "mine.yaml"
    data = yaml.safe_load((bundled_root() / "engines" / "vllm.yaml").read_text(encoding="utf-8"))
    data["generations"]["hopper"]["measured"] = ["h100-sxn"]
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    line = path.read_text().splitlines().index("    - h100-sxn") + 1
    result = run("engines", "check", str(path))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"{path}:{line}: generations.hopper.measured[0]: unknown hardware 'h100-sxn'; "
        "did you mean 'h100-sxm'?\n"
    )
    data["generations"]["hopper"]["gemm"]["mfu"]["bf16"] = 1.2
    path = tmp_path / "fast.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    line = path.read_text().splitlines().index("        bf16: 1.2") + 1
    for args in (("engines", "check", str(path)), ("engines", "show", str(path))):
        result = run(*args)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr == (
            f"{path}:{line}: generations.hopper.gemm.mfu.bf16: "
            "must be at most 1: a share of the datasheet peak; got 1.2\n"
        )


def test_engines_show_what_stands_behind_a_generation(tmp_path):
    path = tmp_path / "mine.yaml"
    data = yaml.safe_load((bundled_root() / "engines" / "vllm.yaml").read_text(encoding="utf-8"))
    data["generations"]["hopper"] |= {
        "points": 123,
        "measured": ["h100-sxm", "h200-sxm"],
        "in_sample": {"tpot": 0.04},
        "held_out": {"tpot": 0.083, "ttft": 0.2},
        "intervals": {"gemm.norm": [1, 16]},
    }
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    result = run("engines", "show", str(path), "--format", "md")
    origin = data["generations"]["hopper"]["origin"]
    row = f"| hopper | {origin} | h100-sxm, h200-sxm | 123 | tpot 4 % | tpot 8.3 %, ttft 20 % | 1 |"
    assert row in result.stdout.splitlines()


def test_check_of_an_empty_folder(tmp_path):
    assert run("models", "check", str(tmp_path)).stderr == f"{tmp_path}: holds no YAML files\n"


@pytest.mark.parametrize("group", KINDS)
def test_schema_is_json(group):
    assert json.loads(run(group, "schema").stdout)["additionalProperties"] is False


CONFIG = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "vocab_size": 128256,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
    "max_position_embeddings": 131072, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
    "attention_bias": False, "mlp_bias": False, "rms_norm_eps": 1e-5, "hidden_act": "silu",
}  # fmt: skip


def test_import_makes_a_file_that_check_accepts(tmp_path):
    source, target = tmp_path / "config.json", tmp_path / "mine.yaml"
    source.write_text(json.dumps(CONFIG))
    result = run("models", "import", str(source), "--name", "mine", "-o", str(target))
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    assert result.stderr.endswith(f"wrote {target}\n")
    assert yaml.safe_load(target.read_text())["name"] == "mine"
    assert run("models", "check", str(target)).exit_code == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", ":1: is not valid JSON: Expecting property name enclosed in double quotes"),
        ("[1]", ": expected a JSON object"),
    ],
)
def test_import_of_rubbish(tmp_path, text, message):
    source = tmp_path / "config.json"
    source.write_text(text)
    result = run("models", "import", str(source), "-o", str(tmp_path / "x.yaml"))
    assert (result.exit_code, result.stderr) == (2, f"{source}{message}\n")
    assert not (tmp_path / "x.yaml").exists()
