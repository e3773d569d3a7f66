"""TFLite with weights of 8 bits: what may be quantised, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from acclimate.arrays import FloatArray
from acclimate.manifest import Scheme

from acclimate_export.flatbuffer import products, signature, stripped
from acclimate_export.quiet import quiet

LEAST = 64  # entries of a matrix: smaller ones gain nothing, and among them is what turns raw readings into features


def quantise(model: bytes, scheme: Scheme, examples: Sequence[Mapping[str, FloatArray]]) -> bytes:
    """`model`, of one signature, with the weights of its larger products in 8 bits, one scale per output.

    dynamic: their inputs are brought to 8 bits as they come, by their own largest value.
    int8:    inputs and results are in 8 bits, too, over the range that they have on `examples`.

    All other operators stay float32, as inputs and outputs do.
    """
    with quiet():
        return _quantise(model, scheme, examples)


def _quantise(model: bytes, scheme: Scheme, examples: Sequence[Mapping[str, FloatArray]]) -> bytes:
    from ai_edge_quantizer import calibrator, quantizer, recipe_manager  # seconds of import
    from ai_edge_quantizer.qtyping import TFLOperationName
    from ai_edge_quantizer.utils.qsv_utils import min_max_update

    recipe = recipe_manager.RecipeManager()
    names = f"^({'|'.join(products(model, LEAST))})(;|$)"
    if scheme == "dynamic":
        recipe.add_dynamic_config(names, TFLOperationName.FULLY_CONNECTED, num_bits=8)
    else:
        recipe.add_static_config(names, TFLOperationName.FULLY_CONNECTED, 8, 8)
    tool = quantizer.Quantizer(model, recipe.get_quantization_recipe())
    ranges = None
    if tool.need_calibration:
        # The quantizer's own calibration averages over examples, and would cut off all that is rare.
        found = calibrator.Calibrator(model, num_threads=1, qsv_update_func=min_max_update)
        found.calibrate({signature(model): list(examples)}, recipe)
        ranges = found.get_model_qsvs()
    result = tool.quantize(ranges, enable_progress_report=False)
    return stripped(bytes(result.quantized_model))
