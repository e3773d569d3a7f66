"""TFLite with weights of 8 bits: what may be quantised, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from acclimate.arrays import FloatArray
from acclimate.bundle.manifest import Scheme
from acclimate.errors import UsageError

from acclimate_export.tflite.flatbuffer import products, signature, stripped
from acclimate_export.tflite.quiet import quiet

LEAST = 64  # entries of a matrix: smaller ones gain nothing, and among them is what turns raw readings into features


def quantise(model: bytes, scheme: Scheme, examples: Sequence[Mapping[str, FloatArray]]) -> bytes:
    """`model`, of one signature, with the weights of its larger products in 8 bits, one scale per matrix.

    dynamic: their inputs are brought to 8 bits as they come, by their own largest value.
    int8:    inputs and results are in 8 bits, too, over the range that they have on `examples`.

    All other operators stay float32, as inputs and outputs do. Raises UsageError where there is nothing to quantise.
    """
    names = products(model, LEAST)
    if not names:
        raise UsageError(
            f"--quantize {scheme}: no matrix of this policy has {LEAST} entries; leave it in float32"
        )
    with quiet():
        return _quantise(model, f"^({'|'.join(names)})(;|$)", scheme, examples)


def _quantise(
    model: bytes, names: str, scheme: Scheme, examples: Sequence[Mapping[str, FloatArray]]
) -> bytes:
    """`names` is a pattern of the results of what is quantised."""
    from ai_edge_quantizer import calibrator, quantizer, recipe_manager  # seconds of import
    from ai_edge_quantizer.qtyping import QuantGranularity, TFLOperationName
    from ai_edge_quantizer.utils.qsv_utils import min_max_update

    recipe = recipe_manager.RecipeManager()
    operator, grain = TFLOperationName.FULLY_CONNECTED, QuantGranularity.TENSORWISE
    # One scale per output would be finer, but tflite-runtime 2.14 takes the first for all, and says nothing.
    if scheme == "dynamic":
        recipe.add_dynamic_config(names, operator, num_bits=8, granularity=grain)
    else:
        recipe.add_static_config(names, operator, 8, 8, weight_granularity=grain)
    tool = quantizer.Quantizer(model, recipe.get_quantization_recipe())
    ranges = None
    if tool.need_calibration:
        # The quantizer's own calibration averages over examples, and would cut off all that is rare.
        found = calibrator.Calibrator(model, num_threads=1, qsv_update_func=min_max_update)
        found.calibrate({signature(model): list(examples)}, recipe)
        ranges = found.get_model_qsvs()
    result = tool.quantize(ranges, enable_progress_report=False)
    return stripped(bytes(result.quantized_model))
