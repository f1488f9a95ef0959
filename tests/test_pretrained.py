"""Networks saved as a folder, and loaded from folders and hub repositories."""

import copy
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from spnn import SPNN
from spnn.data import CELEBA_ATTRIBUTES
from spnn.errors import InputError
from spnn.sampling.models import readout_of


@pytest.fixture
def net() -> SPNN:
    plan = [{"unshuffle": 4, "channels": 6, "mixing": "householder"}, {"unshuffle": 2}]
    return SPNN((3, 8, 8), plan, outputs=5, hidden=8, scale_bound=1.5).eval()


@pytest.fixture
def folder(net, tmp_path) -> Path:
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    net.save_pretrained(tmp_path / "net")
    return tmp_path / "net"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub's cache, as it lies on disk after downloads, and no way to the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def add(repository: str, **files: Path) -> None:
        root = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
        snapshot = root / "snapshots" / "0123456789012345678901234567890123456789"
        snapshot.mkdir(parents=True)
        (root / "refs").mkdir()
        (root / "refs/main").write_text(snapshot.name)
        for name, path in files.items():
            (snapshot / name.replace("__", ".")).write_bytes(path.read_bytes())

    return add


def test_a_saved_network_is_the_same_when_loaded(net, folder):
    loaded = SPNN.from_pretrained(folder)
    x, y = torch.randn(2, 3, 8, 8), torch.randn(2, 5)
    assert not loaded.training
    torch.testing.assert_close(loaded(x), net(x), rtol=0, atol=0)
    torch.testing.assert_close(loaded.pinv(y), net.pinv(y), rtol=0, atol=0)
    again = folder.with_name("again")
    loaded.save_pretrained(again)
    assert (again / "config.json").read_text() == (folder / "config.json").read_text()
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]


def test_a_published_network_can_be_saved_as_our_own(reference, tmp_path):
    case = reference["householder"]
    SPNN.from_published(case["state_dict"]).save_pretrained(tmp_path / "net")
    torch.testing.assert_close(SPNN.from_pretrained(tmp_path / "net")(case["x"]), case["y"], rtol=0, atol=1e-4)


def test_networks_come_from_the_hub(net, folder, reference, hub, tmp_path):
    hub("someone/net", config__json=folder / "config.json", model__safetensors=folder / "model.safetensors")
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(SPNN.from_pretrained("someone/net")(x), net(x))

    case = reference["cayley"]
    torch.save(case["state_dict"], tmp_path / "weights.pth")
    hub("yamitehr/SPNN", spnn_celebahq_256__pth=tmp_path / "weights.pth", other__pth=tmp_path / "weights.pth")
    for source in ("yamitehr/SPNN", "yamitehr/SPNN/other.pth"):
        torch.testing.assert_close(SPNN.from_published(source)(case["x"]), case["y"], rtol=0, atol=1e-4)


def test_names_of_outputs_are_those_that_a_network_is_saved_with(net, folder):
    assert SPNN.from_pretrained(folder).names == () and readout_of(net).names[0] == "output_0"
    net.names = names = ("Lächeln", "Hat", "a/b", "true", "5")
    net.save_pretrained(folder)
    loaded = SPNN.from_pretrained(folder)
    assert loaded.names == copy.deepcopy(loaded).names == names == readout_of(loaded).names
    with pytest.raises(InputError, match="expected 5 different names of the outputs, got"):
        loaded.names = ["a", "b"]


def test_forty_outputs_are_celebas_attributes_only_of_published_weights_that_say_no_other(tmp_path):
    forty = SPNN((3, 8, 8), [{"unshuffle": 8}], outputs=40, hidden=8)
    assert forty.names == () and readout_of(forty).names[-1] == "output_39"

    widths = {"s": (8, 16, 40), "t": (8, 16, 40), "r": (40, 16, 8)}
    state = {"pinn.blocks.1.mix.A_unconstrained": torch.zeros(48, 48)}
    for part, (before, between, after) in widths.items():
        for place, rows, columns in ((0, between, before), (2, after, between)):
            state[f"pinn.blocks.1.{part}.net.{place}.weight"] = torch.zeros(rows, columns, 1, 1)
            state[f"pinn.blocks.1.{part}.net.{place}.bias"] = torch.zeros(rows)
    assert SPNN.from_published(state).names == CELEBA_ATTRIBUTES

    torch.save(state, tmp_path / "weights.pth")
    assert SPNN.from_published(tmp_path / "weights.pth").names == CELEBA_ATTRIBUTES
    own = [f"own {i}" for i in range(40)]
    (tmp_path / "config.json").write_text(json.dumps({"names": own}))
    assert SPNN.from_published(tmp_path / "weights.pth").names == tuple(own)
    (tmp_path / "config.json").write_text(json.dumps({"names": own[1:]}))
    with pytest.raises(InputError, match="expected 40 different names of the outputs"):
        SPNN.from_published(tmp_path / "weights.pth")


def test_what_can_not_be_loaded_is_named(folder, hub, tmp_path):
    def refused(source, message, load=SPNN.from_pretrained):
        with pytest.raises(InputError, match=message) as error:
            load(source)
        assert str(source) in str(error.value)

    refused("someone/missing", "can't load a network from")
    refused("someone/missing", "can't load a network from", SPNN.from_published)
    refused("not/a/valid/name", "can't load a network from")
    refused(tmp_path / "missing", "can't load a network from")

    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", r"no config\.json.*save_pretrained")

    config = json.loads((folder / "config.json").read_text())
    tensors = load_file(folder / "model.safetensors")
    wider = {**config, "plan": [{**config["plan"][0], "channels": 7}, *config["plan"][1:]]}
    (folder / "config.json").write_text(json.dumps(wider))
    refused(folder, "size mismatch")
    (folder / "config.json").write_text(json.dumps({**config, "image_shape": [3, 9, 9]}))
    with pytest.raises(InputError, match="block 0 of the plan: 9x9 pixels"):
        SPNN.from_pretrained(folder)
    (folder / "config.json").write_text("{")
    refused(folder, "can't load a network from")
    (folder / "config.json").write_text(json.dumps(config))
    save_file(dict(list(tensors.items())[1:]), folder / "model.safetensors")
    refused(folder, "Missing key")
    (folder / "model.safetensors").write_bytes(b"no tensors")
    refused(folder, "SafetensorError")
    (folder / "model.safetensors").unlink()
    refused(folder, r"model\.safetensors")
