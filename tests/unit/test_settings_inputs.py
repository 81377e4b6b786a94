import pytest

from comfy_nodes.errors import BadInput
from comfy_nodes.settings import SETTINGS, LoaderSettings, Scope
from comfy_nodes.settings_inputs import loader_inputs, optimize_inputs, settings_of
from orchestrator.engine import host

host.install()


def test_there_is_an_input_for_each_setting_the_four_known_ones_first() -> None:
    inputs = loader_inputs()
    names = [one.id for one in inputs]
    assert names[:4] == ["precision", "attention", "vae_tiling", "offload"]
    assert set(names) == set(LoaderSettings.model_fields) == set(SETTINGS)
    assert [one.id for one in inputs if not one.optional] == names[:4]


@pytest.mark.parametrize("name", ["CheckpointLoader", "DiffusersLoader", "StableDiffusionLoader"])
@pytest.mark.usefixtures("no_models")
def test_a_loader_folds_all_but_its_model(name: str) -> None:
    from comfy_nodes.extension import NODES

    node = next(one for one in NODES if one.__name__ == name)
    shown = [one.id for one in node.define_schema().inputs if not one.as_dict().get("advanced")]
    assert len(shown) == 1
    assert shown[0] in ("ckpt_name", "model_name", "version")


def test_the_inputs_defaults_are_those_of_the_settings() -> None:
    defaults = {one.id: one.default for one in loader_inputs()}
    assert settings_of(defaults) == LoaderSettings()
    for one in loader_inputs():
        told = one.as_dict()["default"]
        assert told == LoaderSettings.model_fields[one.id].default


def test_optimise_nodes_take_what_concerns_their_part() -> None:
    model = {one.id: one for one in optimize_inputs(Scope.MODEL)}
    vae = {one.id: one for one in optimize_inputs(Scope.VAE)}
    assert set(model) | set(vae) == set(LoaderSettings.model_fields)
    assert all(one.optional for one in (*model.values(), *vae.values()))
    assert model["offload"].as_dict()["options"] == ["auto", "none", "model", "sequential"]
    assert vae["offload"].as_dict()["options"] == ["auto", "none", "model"]
    assert settings_of({name: one.default for name, one in model.items()}) == LoaderSettings()


def test_a_graph_may_leave_out_settings() -> None:
    old = {"precision": "fp16", "attention": "auto", "vae_tiling": "on", "offload": "auto"}
    assert settings_of(old) == LoaderSettings(precision="fp16", vae_tiling="on")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"precision": "fp4"}, "Setting precision cannot be 'fp4'"),
        ({"vae_tile": 100}, "Setting vae_tile cannot be 100"),
        ({"step_cache": 2.0}, "Setting step_cache cannot be 2.0"),
        ({"tilling": "on"}, "There is no setting 'tilling'."),
        ({"precision": "fp8", "quantization": "int8"}, "precision fp8 and quantization both"),
        ({"vae_tile": 256, "vae_overlap": 128}, "vae_overlap 128 is more than a quarter"),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_the_setting(
    values: dict[str, object], sentence: str
) -> None:
    with pytest.raises(BadInput) as caught:
        settings_of(values)
    assert str(caught.value).startswith(sentence)
    assert "pydantic" not in str(caught.value)
