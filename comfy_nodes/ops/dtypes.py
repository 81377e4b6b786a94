"""torch's number formats by the names of ours; the one table of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ..placing import Dtype

DTYPES: Mapping[Dtype, torch.dtype] = {
    Dtype.FP32: torch.float32,
    Dtype.FP16: torch.float16,
    Dtype.BF16: torch.bfloat16,
    Dtype.FP8: torch.float8_e4m3fn,
    Dtype.INT8: torch.int8,
}
