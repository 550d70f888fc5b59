"""The pages one plays with, in a real browser: every number shown is that of the reference formulas."""

import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from bnexp.document.page import to_html
from bnexp.document.values import Heading, Play
from bnexp.lessons import saturation
from bnexp.lessons.played import batch_norm_play
from bnexp.norms import reference
from in_a_browser import errors, measured, view

Keys = pytest.importorskip("selenium.webdriver", reason="selenium is not installed").Keys
pytestmark = pytest.mark.long

READ = """
const found = {};
for (const node of document.querySelectorAll("[data-number]")) found[node.dataset.number] = node.dataset.value;
for (const node of document.querySelectorAll("[data-numbers]")) found[node.dataset.numbers] = node.dataset.values;
return found;
"""
SET = """
for (const [name, place] of Object.entries(arguments[0])) {
    const input = document.getElementById(`play-${name}`);
    if (Number(input.value) === place) continue;
    input.value = place;
    input.dispatchEvent(new Event("input"));
}
"""


@pytest.fixture(scope="module")
def plays() -> dict[str, Play]:
    return {"batchnorm": batch_norm_play(), "saturation": saturation.play(saturation.draw(0))}


@pytest.fixture(scope="module")
def pages(plays: dict[str, Play], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the addresses of pages that hold what is played alone."""
    folder = tmp_path_factory.mktemp("pages")
    for topic, play in plays.items():
        (folder / f"{topic}.html").write_text(to_html([Heading(topic, 1), play]))
    return {topic: (folder / f"{topic}.html").as_uri() for topic in plays}


def numbers_after(browser: Any, play: Play, **chosen: float | str) -> dict[str, Any]:
    """Set these controls, the others as they begin, and return all numbers that the page shows."""
    settings = {control.name: chosen.get(control.name, control.start) for control in play.controls}
    places = {control.name: list(control.values).index(settings[control.name]) for control in play.controls}
    browser.execute_script(SET, places)
    return {key: json.loads(value, parse_constant=float) for key, value in browser.execute_script(READ).items()}


def test_pages_open_at_the_numbers_of_their_still(browser: Any, plays: dict[str, Play], pages: dict[str, str]) -> None:
    for topic, keys in (("batchnorm", ["x", "training", "inference"]), ("saturation", ["1", "8"])):
        browser.get(pages[topic])
        shown = browser.execute_script(READ)
        name = "{}_shares" if topic == "batchnorm" else "shares_{}"
        shares = [json.loads(shown[name.format(key)]) for key in keys]
        assert shares == [list(series) for series in plays[topic].still.series.values()]


def one(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


def batch_norm_numbers(
    play: Play, batch_size: int, scale: float, gamma: float, beta: float, eps: float, momentum: float, batches: int
) -> dict[str, Any]:
    draws = torch.tensor(play.values["draws"], dtype=torch.float64)[:batches, :batch_size, None]
    mean, var, means, variances = one(0), one(1), [], []
    for x in 3 + scale * draws:
        y = reference.batch_norm_train(x, one(gamma), one(beta), eps)
        mean, var = reference.batch_norm_running(mean, var, y, batch_size, momentum)
        means.append(mean.item())
        variances.append(var.item())
    at_inference = reference.batch_norm_inference(x, one(gamma), one(beta), mean, var, eps)
    numbers: dict[str, Any] = {"running_means": means, "running_variances": variances}
    for name, values in (("x", x), ("training", y.y), ("inference", at_inference)):
        numbers[f"{name}_mean"] = values.mean().item()
        numbers[f"{name}_variance"] = values.var(correction=0).item()
        numbers[f"{name}_first"] = values[0].item()
        binned = torch.bucketize(values.clamp(-10, 9.9), torch.arange(-10, 10.5, 0.5, dtype=torch.float64), right=True)
        numbers[f"{name}_shares"] = [(binned == number).double().mean().item() for number in range(1, 41)]
    for name, (own_mean, own_var) in (("training", (y.mean, y.var)), ("inference", (mean, var))):
        numbers[f"{name}_by_mean"], numbers[f"{name}_by_variance"] = own_mean.item(), own_var.item()
        numbers[f"{name}_slope"] = gamma / math.sqrt(own_var.item() + eps)
    return {**numbers, "x_unbiased": x.var().item()}


START = {"batch_size": 32, "scale": 2.0, "gamma": 1.0, "beta": 0.0, "eps": 1e-5, "momentum": 0.1, "batches": 10}


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"batch_size": 2},
        {"batch_size": 2, "gamma": -1.5, "momentum": 1.0},
        {"batch_size": 64, "batches": 50, "gamma": -2.3, "beta": 1.7},
        {"eps": 100.0, "scale": 0.1},
        {"eps": 1e-8, "scale": 5.0, "gamma": 3.0, "beta": -3.0},
        {"momentum": 0.0, "scale": 4.9, "beta": 0.3},
        {"momentum": 1.0, "batches": 50, "batch_size": 7},
        {"scale": 0.0, "beta": 0.7},
        {"scale": 0.0, "momentum": 1.0, "eps": 1e-8, "batch_size": 2, "gamma": 3.0},
        {"gamma": 0.0, "beta": -1.2, "batches": 1},
    ],
    ids=str,
)
def test_batch_normalization_is_the_reference(
    chosen: dict[str, Any], browser: Any, plays: dict[str, Play], pages: dict[str, str]
) -> None:
    if browser.current_url != pages["batchnorm"]:
        browser.get(pages["batchnorm"])
    shown = numbers_after(browser, plays["batchnorm"], **chosen)
    expected = batch_norm_numbers(plays["batchnorm"], **{**START, **chosen})
    assert shown.keys() == expected.keys()
    for key, value in expected.items():
        assert shown[key] == pytest.approx(value, rel=1e-9, abs=1e-9), key


def saturation_numbers(play: Play, std: float, norm: str, activation: str) -> dict[str, Any]:
    x, weights, arriving = (
        torch.tensor(play.values[name], dtype=torch.float64) for name in ("x", "weights", "arriving")
    )
    ones, activated = torch.ones(x.shape[1], dtype=torch.float64), getattr(torch, activation)
    h = [x.requires_grad_()]
    for weight in std * weights:
        z = h[-1] @ weight
        h.append(activated(reference.batch_norm_train(z, ones, 0 * ones).y if norm == "bn" else z))
    gradients = torch.autograd.grad((h[-1] * arriving).sum(), h)
    numbers: dict[str, Any] = {}
    for layer, output in enumerate(h[1:], start=1):
        placed = (output if activation == "tanh" else 2 * output - 1).detach()
        edges = torch.tensor([-0.99, *(number / 10 for number in range(-9, 10)), 0.99], dtype=torch.float64)
        binned = torch.bucketize(placed, edges, right=True)
        numbers[f"shares_{layer}"] = [(binned == number).double().mean().item() for number in range(22)]
        numbers[f"saturated_{layer}"] = (placed.abs() > 0.99).double().mean().item()
        numbers[f"std_{layer}"] = output.std(correction=0).item()
        numbers[f"factor_{layer}"] = (gradients[layer - 1].norm() / gradients[layer].norm()).item()
    return numbers


@pytest.mark.parametrize(
    ("std", "norm", "activation"),
    [
        *((std, norm, "tanh") for norm in ("none", "bn") for std in (0, 0.01, 1, 3)),
        *((std, norm, "sigmoid") for norm in ("bn", "none") for std in (0, 3)),
    ],
)
def test_saturation_is_the_reference(
    std: float, norm: str, activation: str, browser: Any, plays: dict[str, Play], pages: dict[str, str]
) -> None:
    if browser.current_url != pages["saturation"]:
        browser.get(pages["saturation"])
    shown = numbers_after(browser, plays["saturation"], std=std, norm=norm, activation=activation)
    expected = saturation_numbers(plays["saturation"], std, norm, activation)
    assert shown.keys() == expected.keys()
    for key, value in expected.items():
        assert shown[key] == pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True), key


def test_keys_move_a_control_and_what_follows_is_announced(browser: Any, pages: dict[str, str]) -> None:
    view(browser, 1280)
    browser.get(pages["batchnorm"])
    words = browser.find_element("css selector", ".words")
    assert words.get_attribute("aria-live") == "polite"
    before, start = words.text, browser.execute_script(READ)
    slider = browser.find_element("id", "play-batch_size")
    assert slider.accessible_name == "batch size B"
    slider.send_keys(Keys.HOME)
    assert slider.get_attribute("aria-valuetext") == "2"
    assert "Of two examples" in words.text
    slider.send_keys(Keys.ARROW_RIGHT)
    assert browser.find_element("css selector", "output[for=play-batch_size]").text == "3"
    eps = browser.find_element("id", "play-eps")
    eps.send_keys(Keys.END)
    assert eps.get_attribute("aria-valuetext") == "100"
    assert "eps is not small" in words.text
    browser.find_element("css selector", ".reset").send_keys(Keys.ENTER)
    assert (words.text, browser.execute_script(READ)) == (before, start)
    assert errors(browser) == []


@pytest.mark.parametrize("topic", ["batchnorm", "saturation"])
def test_paper_and_a_page_without_scripts_show_the_figure(topic: str, browser: Any, pages: dict[str, str]) -> None:
    view(browser, 1280)
    browser.get(pages[topic])
    figure, played = browser.find_element("css selector", ".still"), browser.find_element("css selector", ".play")
    assert (figure.is_displayed(), played.is_displayed()) == (False, True)
    view(browser, 700, "print")
    assert (figure.is_displayed(), played.is_displayed()) == (True, False)
    view(browser, 1280)
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.get(pages[topic])
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    figure, played = browser.find_element("tag name", "figure"), browser.find_element("css selector", ".play")
    assert (figure.is_displayed(), played.is_displayed()) == (True, False)


@pytest.mark.parametrize("topic", ["batchnorm", "saturation"])
def test_nothing_is_cut_on_a_phone(topic: str, browser: Any, pages: dict[str, str]) -> None:
    view(browser, 400, dark=True)
    browser.get(pages[topic])
    assert measured(browser)[1] == []
    assert errors(browser) == []
