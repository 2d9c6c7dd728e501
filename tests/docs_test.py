"""Pages and launch files say only what the program understands."""

import math
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import yaml

import main
from ema_jax import EMAU, MODELS, Classes
from ema_jax.classes import voc_palette
from ema_jax.models import Network
from ema_jax.segmenter import init_variables
from ema_jax.weights import Description, save_model
from tests.micro import NANO
from tests.pages import python
from tests.quick import whole_modules
from train.ablation.grid import load_ablation
from train.configuration.config import load_config
from train.configuration.limits import check_limits

ROOT = Path(__file__).parents[1]
LAUNCH = ROOT / "docs/launch"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("docs/**/*.md")),
]


def blocks(page: Path) -> str:
    """The shell code of a page: fenced, or indented by four."""
    text = page.read_text()
    fenced = re.findall(r"^```\n(.*?)^```", text, re.M | re.S)
    return "\n".join([*fenced, *re.findall(r"(?:^    .*\n)+", text, re.M)])


def written(text: str) -> list[list[str]]:
    """The arguments of each `main.py` in shell code."""
    lines = re.sub(r"\\\n", " ", text).splitlines()
    found = (re.search(r"main\.py ([^|&<>;']*)", line) for line in lines)
    return [shlex.split(match[1]) for match in found if match]


def manifest() -> tuple[dict, dict]:
    """The Service and the Job of gke.yaml."""
    service, job = yaml.safe_load_all((LAUNCH / "gke.yaml").read_text())
    return service, job


def commands() -> list[list[str]]:
    """The arguments of every `main.py` in the pages and files."""
    container = manifest()[1]["spec"]["template"]["spec"]["containers"][0]
    program, script, *arguments = container["command"]
    assert (program, script) == ("python", "main.py")
    shell = [blocks(page) for page in PAGES] + [(LAUNCH / "slurm.sh").read_text()]
    return [arguments, *(found for text in shell for found in written(text))]


def test_no_command_is_overlooked():
    script = (LAUNCH / "slurm.sh").read_text()
    for text in [script, *map(blocks, PAGES)]:
        assert len(written(text)) == text.count("main.py ")
    assert len(commands()) > len(written(script)) > 0
    assert len(written(blocks(ROOT / "README.md"))) > 10


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_commands_are_understood(arguments, monkeypatch):
    monkeypatch.chdir(ROOT)
    options, overrides = main.parser().parse_known_args(arguments)
    config = getattr(options, "config", None)
    if options.command == "ablate":
        assert load_ablation(config, overrides).runs
    elif config and config != "…":
        check_limits(load_config(config, overrides))
    elif overrides:  # of the config that a workdir or a file of weights has
        assert load_config("configs/default.py", overrides)


def test_the_job_has_a_pod_for_each_host():
    service, job = manifest()
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    topology = pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"]
    resources = pod["containers"][0]["resources"]
    chips = resources["limits"]["google.com/tpu"]
    hosts = math.prod(map(int, topology.split("x"))) // chips
    assert spec["completions"] == spec["parallelism"] == hosts
    assert resources["requests"] == resources["limits"]
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}


def test_a_saved_training_is_started_again():
    rules = manifest()[1]["spec"]["podFailurePolicy"]["rules"]
    codes = [rule["onExitCodes"]["values"] for rule in rules if "onExitCodes" in rule]
    assert codes == [[main.PREEMPTED]]
    script = (LAUNCH / "slurm.sh").read_text()
    assert f"$status -eq {main.PREEMPTED} " in script


def test_bash_reads_the_script():
    done = subprocess.run(["bash", "-n", LAUNCH / "slurm.sh"], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_that_are_named_exist(page):
    folders = "configs|tests|benchmarks|train|ema_jax"
    text = re.sub(r"https?://\S+", "", page.read_text())
    for name in re.findall(rf"\b(?:{folders})/[\w/.*]+", text):
        assert any(ROOT.glob(name.rstrip("./"))), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    text = re.sub(r"`[^`]*`", "", page.read_text())  # calls in code are no links
    links = re.findall(r"\]\(([^)#]+)", text)
    for link in links:
        assert "://" in link or (page.parent / link).exists(), link


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    """In an empty folder, with a model of three convolutions and an input for it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(MODELS, "nano", NANO)
    description = Description(Network("nano", 3, {}), Classes((), voc_palette(3)))
    save_model("model.safetensors", init_variables(NANO(3), seed=0), description)
    names: dict[str, Any] = {"image": np.zeros((30, 40, 3), np.uint8)}
    with whole_modules():
        for block in python(ROOT / "README.md"):
            if "Net().apply" in block:
                x, net = jnp.ones((1, 9, 9, 3)), names["Net"]()
                variables = net.init(jax.random.key(0), x, train=False)
                names |= {"x": x, "variables": variables}
            exec(block, names)
    assert names["y"].shape == (1, 5, 5, 10)
    assert names["prediction"].probabilities.shape == (30, 40, 3)


def test_the_python_of_the_page_on_em_attention_runs():
    names: dict[str, Any] = {"jax": jax, "jnp": jnp, "optax": optax}
    key, x = jax.random.key(0), jnp.ones((2, 5, 8))
    with whole_modules():
        params = EMAU(num_bases=4).init(key, x, train=False)["params"]
        names |= {"key": key, "x": x, "following": x}
        names["network"] = {"params": {"EMAU_0": params}}
        for block in python(ROOT / "docs/em_attention.md"):
            exec(block, names)
    decays = names["mask"]["EMAU_0"]
    assert decays["conv2"] == {"kernel": True}
    assert decays["conv1"] == {"kernel": False, "bias": False}
    assert names["bases"].shape == (2, 64, 8)
    assert names["logits"].shape == (2, 5, 3)
    assert names["updates"]["batch_stats"]["bases"].shape == (64, 16)
