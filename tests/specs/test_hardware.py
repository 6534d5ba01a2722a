import csv
import re
from pathlib import Path

import pytest

from pdplan.errors import SpecError
from pdplan.specs import source
from pdplan.specs.base import Spec, validate
from pdplan.specs.catalog import names
from pdplan.specs.hardware import HardwareSpec, load_hardware
from pdplan.specs.source import load_yaml, parse_yaml

FACTS = Path(__file__).parents[2].parent / "shared" / "facts"
NAMES = names("hardware")


def _table(name):
    path = FACTS / name
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


IDS = {row["facts_id"]: row["spec_id"] for row in _table("hardware_ids.csv")}
ROWS = {IDS[row["id"]]: row for row in _table("hardware.csv")}
MEASURED = ("gh200-144gb", "rtx-3090")  # of public measurements only
DESIGNED = ("spad-decode", "spad-prefill")  # published designs, never built
TABLED = [name for name in NAMES if name not in (*MEASURED, *DESIGNED)]
needs_facts = pytest.mark.skipif(not ROWS, reason=f"the table of facts is not at {FACTS}")


def _near(number, scale=1.0):
    return pytest.approx(float(number) * scale, rel=1e-3)  # the tables round to four digits


# Each spec file


@pytest.mark.parametrize("name", NAMES)
def test_every_file_loads(name):
    spec = load_hardware(name)
    assert spec.memory.capacity > 0
    assert spec.memory.bandwidth > 0


@pytest.mark.parametrize("name", NAMES)
def test_every_block_says_where_it_comes_from(name):
    spec = load_hardware(name)
    blocks = [value for _, value in spec if isinstance(value, Spec)]
    for block in (*blocks, *spec.prices):
        assert len(block.source) > 3
        assert not re.search(r"/tmp|/home", block.source)


@pytest.mark.parametrize("name", NAMES)
def test_a_pair_is_never_faster_than_all_links_of_one_accelerator(name):
    fabric = load_hardware(name).scale_up
    if fabric is not None:
        assert fabric.pair_bandwidth <= fabric.bandwidth


@pytest.mark.parametrize("name", NAMES)
def test_a_listed_hardware_has_a_default_price_and_dates_it(name):
    spec = load_hardware(name)
    assert bool(spec.prices) == (spec.default_price is not None)
    assert (spec.price() is None) == (not spec.prices)
    for price in spec.prices:
        assert re.fullmatch(r"\d{4}(-\d\d){0,2}|undated", price.date)
        assert price.date != "undated" or price.kind == "derived"
        assert price.provider.endswith("-spot") == (price.kind == "spot")


# Against the table of facts


@needs_facts
def test_the_ids_are_those_of_the_table():
    assert sorted([*IDS.values(), *MEASURED, *DESIGNED]) == NAMES


@needs_facts
@pytest.mark.parametrize("dtype", ["fp32", "tf32", "bf16", "fp16", "fp8", "int8", "fp4"])
@pytest.mark.parametrize("name", TABLED)
def test_rates_equal_the_table(name, dtype):
    stated, found = ROWS[name][dtype], getattr(load_hardware(name).compute, dtype)
    assert found == (_near(stated, 1e12) if stated else None)


@needs_facts
@pytest.mark.parametrize("name", TABLED)
def test_memory_and_power_equal_the_table(name):
    row, spec = ROWS[name], load_hardware(name)
    assert spec.memory.capacity == int(row["mem_bytes"])
    assert spec.memory.bandwidth == _near(row["mem_bw_gbs"], 1e9)
    assert (spec.power and spec.power.board) == (_near(row["tdp_w"]) if row["tdp_w"] else None)


@needs_facts
@pytest.mark.parametrize("name", TABLED)
def test_links_equal_the_table(name):
    row, spec = ROWS[name], load_hardware(name)
    if row["link_uni_gbs"]:
        assert spec.scale_up.bandwidth == _near(row["link_uni_gbs"], 1e9)
        assert spec.scale_up.bandwidth == _near(row["link_bidi_gbs"], 0.5e9)
        assert spec.scale_up.domain == int(re.match(r"\d+", row["domain"])[0])
    elif spec.scale_up is not None:  # a card without links of its own
        assert spec.scale_up.link.startswith("PCIe")
        assert spec.scale_up.bandwidth == _near(row["pcie_uni_gbs"], 1e9)
    if row["p2p_uni_num"]:
        assert spec.scale_up.pair_bandwidth == _near(row["p2p_uni_num"], 1e9)
    if row["pcie_uni_num"]:
        assert spec.host.bandwidth == _near(row["pcie_uni_gbs"].split()[0], 1e9)


@needs_facts
@pytest.mark.parametrize("name", TABLED)
def test_network_equals_the_table(name):
    stated, spec = ROWS[name]["nic_gbps_num"], load_hardware(name)
    found = spec.scale_out and spec.scale_out.bandwidth
    assert found == (_near(stated, 1e9 / 8) if stated else None)


# Traps


def test_h100_is_dense():
    h100 = load_hardware("h100-sxm")
    assert h100.flops_per_s("bf16") == pytest.approx(989.4e12)
    assert h100.flops_per_s("fp8") == pytest.approx(1978.9e12)


def test_b300_fp4_is_not_half_of_its_sparse_rate():
    assert load_hardware("b300-sxm").flops_per_s("nvfp4") == pytest.approx(14e15)


def test_amd_pair_is_a_seventh_of_the_mesh():
    for name in ("mi300x", "mi325x", "mi355x"):
        mesh = load_hardware(name).scale_up
        assert mesh.pair_bandwidth * 7 == pytest.approx(mesh.bandwidth)


def test_capacity_is_what_software_sees_and_not_the_label():
    assert load_hardware("a100-80gb-sxm").memory.capacity == 80 * 2**30
    assert load_hardware("h200-sxm").memory.capacity == 143771 * 2**20
    assert load_hardware("groq-lpu-v1").memory.capacity == 230e6


def test_prices_by_provider():
    h100 = load_hardware("h100-sxm")
    assert h100.price().provider == "aws"
    assert h100.price().price == 6.88
    assert h100.price("verda-spot").kind == "spot"
    assert h100.price("nobody") is None
    assert load_hardware("h800").price() is None


def test_fp16_stands_in_for_bf16_but_not_for_fp8():
    v100 = load_hardware("v100-32gb")
    assert v100.flops_per_s("bf16") == pytest.approx(125e12)
    assert v100.flops_per_s("fp8") is None


def test_an_unknown_hardware_names_a_near_one():
    with pytest.raises(SpecError) as error:
        load_hardware("h100-smx")
    assert str(error.value) == "unknown hardware 'h100-smx'; did you mean 'h100-sxm'?"


# Errors, to the letter

GOOD = """\
name: X
vendor: V
generation: g
compute: {bf16: 100 TFLOP/s, source: a datasheet}
memory:
  capacity: 80 GB
  bandwidth: 1 TB/s
  source: a datasheet
"""


def _error(text, schema=HardwareSpec):
    with pytest.raises(SpecError) as error:
        validate(parse_yaml(text, "x.yaml"), schema)
    return str(error.value)


def test_a_hardware_without_price_is_legal():
    assert validate(parse_yaml(GOOD, "x.yaml"), HardwareSpec).price() is None


def test_a_byte_order_mark_is_ignored():
    assert validate(parse_yaml("\ufeff" + GOOD, "x.yaml"), HardwareSpec).name == "X"


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ("80", "needs a number and a unit, for example '80 GB'; got 80"),
        ("80 GBs", "unknown unit 'GBs'; expected for example '80 GB'"),
        ("80 TFLOP/s", "unknown unit 'TFLOP/s'; expected for example '80 GB'"),
        ("-80 GB", "must be a finite number of at least 0; got -80 GB"),
        ("0 GB", "must be greater than 0; got '0 GB'"),
        (".nan", "needs a number and a unit, for example '80 GB'; got nan"),
        ("nan GB", "needs a number and a unit, for example '80 GB'; got 'nan GB'"),
        (".inf", "needs a number and a unit, for example '80 GB'; got inf"),
        ("1e999 GB", "must be a finite number of at least 0; got 1e999 GB"),
        ("[80, GB]", "needs a number and a unit, for example '80 GB'; got [80, 'GB']"),
    ],
)
def test_bad_quantities(found, message):
    text = GOOD.replace("80 GB", found)
    assert _error(text) == f"x.yaml:6: memory.capacity: {message}"


def test_an_unknown_key_names_a_near_one_and_the_missing_key_is_told_with_it():
    assert _error(GOOD.replace("capacity", "capcity")) == (
        "x.yaml:5: memory.capacity: missing; it has no default\n"
        "x.yaml:6: memory.capcity: unknown key; did you mean 'capacity'?"
    )


def test_an_unknown_key_near_none():
    assert _error(GOOD + "zzz: 1\n") == "x.yaml:9: zzz: unknown key"


def test_wrong_kinds_are_told_in_the_words_of_yaml():
    text = "name: 3\nvendor: true\ngeneration:\nmemory: 3\ncompute: [1]\nprices: {}\nnotes: {}\n"
    assert _error(text) == (
        "x.yaml:1: name: expected text (quote it if it looks like a number); got 3\n"
        "x.yaml:2: vendor: expected text (quote it if it looks like a number); got true\n"
        "x.yaml:3: generation: expected text (quote it if it looks like a number); got nothing\n"
        "x.yaml:4: memory: expected a mapping of keys; got 3\n"
        "x.yaml:5: compute: expected a mapping of keys; got a list\n"
        "x.yaml:6: prices: expected a list; got a mapping\n"
        "x.yaml:7: notes: expected text (quote it if it looks like a number); got a mapping"
    )


def test_a_choice_lists_what_may_be_chosen():
    price = PRICE.replace("source", "kind: rented, source")
    assert _error(GOOD + f"prices:\n- {price}\n") == (
        "x.yaml:10: prices[0].kind: must be 'on_demand', 'spot', 'reserved' or 'derived'; "
        "got 'rented'"
    )


def test_compute_needs_a_rate():
    assert _error(GOOD.replace("bf16: 100 TFLOP/s, ", "")) == (
        "x.yaml:4: compute: needs at least one dense rate, for example 'bf16: 989 TFLOP/s'"
    )


PRICE = "{provider: gcp, price: 2 USD/h, date: 2026-09-06, source: a price list}"


def test_an_unlisted_default_price():
    assert _error(GOOD + "default_price: aws\n") == (
        "x.yaml:9: default_price: 'aws' is not among prices; listed: none"
    )
    assert _error(GOOD + f"prices:\n- {PRICE}\ndefault_price: aws\n") == (
        "x.yaml:11: default_price: 'aws' is not among prices; listed: gcp"
    )


def test_a_provider_listed_twice():
    assert _error(GOOD + f"prices:\n- {PRICE}\n- {PRICE}\n") == (
        "x.yaml:9: prices: provider 'gcp' is listed twice"
    )


def test_errors_inside_a_list_are_numbered():
    bad = PRICE.replace("2 USD/h", "2").replace("source", "sorce")
    assert _error(GOOD + f"prices:\n- {PRICE}\n- {bad}\n") == (
        "x.yaml:11: prices[1].price: needs a number and a unit, for example '2.95 USD/h'; got 2\n"
        "x.yaml:11: prices[1].source: missing; it has no default\n"
        "x.yaml:11: prices[1].sorce: unknown key; did you mean 'source'?"
    )


def test_a_key_given_twice():
    assert _error(GOOD + "name: Y\n") == "x.yaml:9: name: is given twice"


def test_a_self_referencing_alias():
    assert _error(GOOD + "a: &a [*a]\n") == "x.yaml:9: a[0]: refers to itself"
    assert _error(GOOD + "a: &a {b: *a}\n") == "x.yaml:9: a.b: refers to itself"


def test_an_alias_bomb():
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert _error("\n".join(lines)) == (
        "x.yaml:1: a5: holds more than 200000 values, aliases counted each time"
    )


def test_too_many_values_are_refused_before_they_are_built(monkeypatch):
    monkeypatch.setattr(source, "MAX_NODES", 10)
    assert _error("a:\n" + "- 1\n" * 30) == (
        "x.yaml:19: holds more than 10 values, aliases counted each time"
    )


@pytest.mark.parametrize("depth", [60, 200_000])
def test_a_too_deep_file(depth):
    text = "a:\n  " + "[" * depth + "]" * depth
    assert _error(text) == "x.yaml:2: is nested deeper than 50 levels"


def test_aliases_may_not_add_up_to_a_too_deep_file():
    lines = ["a0: &a0 [1]"] + [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 80)]
    assert _error("\n".join(lines)) == "x.yaml:1: a49: is nested deeper than 50 levels"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.yaml: is empty; expected a mapping of keys"),
        ("# nothing\n", "x.yaml: is empty; expected a mapping of keys"),
        ("- 1\n", "x.yaml:1: expected a mapping of keys; got a list"),
        ("\n3\n", "x.yaml:2: expected a mapping of keys; got 3"),
        ("a: *b", "x.yaml:1: is not valid YAML: found undefined alias"),
        ("\ta: 3", "x.yaml:1: is not valid YAML: while scanning for the next token, "
         "found character that cannot start any token"),
        ("a: 1\n---\nb: 2\n", "x.yaml:2: is not valid YAML: expected a single document in the "
         "stream, but found another document"),
        ("[1, 2]: 3", "x.yaml:1: a key must be plain text"),
        ("a: 0x_", "x.yaml:1: a: '0x_' is not a number"),
        ("a: !!python/object:os.x 3", "x.yaml:1: a: has the unsupported YAML tag "
         "'tag:yaml.org,2002:python/object:os.x'"),
    ],
)  # fmt: skip
def test_what_is_no_spec_at_all(text, message):
    assert _error(text) == message


def test_merge_keys_are_no_keys():
    assert "x.yaml:10: <<: unknown key" in _error(GOOD + "vendors: &v {a: 1}\n<<: *v\n")


# Files that cannot be read


def _file_error(path):
    with pytest.raises(SpecError) as error:
        load_yaml(path)
    return str(error.value)


def test_a_missing_file(tmp_path):
    path = tmp_path / "x.yaml"
    assert _file_error(path) == f"{path}: no such file"


def test_a_folder(tmp_path):
    assert _file_error(tmp_path) == f"{tmp_path}: is a folder; expected a file"


def test_a_file_that_is_not_text(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"name: \xff\xfe\n")
    assert _file_error(path) == f"{path}: is not UTF-8 text"


def test_a_huge_file(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "MAX_FILE_BYTES", 20)
    path = tmp_path / "x.yaml"
    path.write_text("name: " + "x" * 15)
    assert _file_error(path) == f"{path}: is 21 bytes; at most 20 are read"


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs an endless device")
def test_an_endless_file(monkeypatch):
    monkeypatch.setattr(source, "MAX_FILE_BYTES", 1000)
    message = "/dev/zero: is larger than 1000 bytes; no more are read"
    assert _file_error(Path("/dev/zero")) == message
