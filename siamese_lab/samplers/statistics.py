"""What a step's selection looked like, as scalars on the device, computed when they are asked for.

Shapes: C images that could be chosen, D embedding dimensions, T pairs, M negatives per pair, Q quantiles.
"""

import math

import torch
from torch import Tensor

from siamese_lab import distances
from siamese_lab.batch import Triplets

QUANTILES = (0.1, 0.5, 0.9)


def describe(triplets: Triplets, fell_back: Tensor, z_CD: Tensor) -> dict[str, Tensor]:
    """Shares of fallbacks (bool, of all negatives), of violations, of distinct negatives; how d_ap and d_an spread."""
    anchor_TD = z_CD[triplets.anchor_T]
    d_ap_T = distances.rowwise(anchor_TD, z_CD[triplets.positive_T])
    d_an_TM = distances.rowwise(anchor_TD[:, None], z_CD[triplets.negative_TM])
    chosen_C = torch.zeros(len(z_CD), device=z_CD.device).index_fill_(0, triplets.negative_TM.flatten(), 1.0)
    return {
        "fallback_share": fell_back.float().mean(),
        "violating_share": (d_an_TM < d_ap_T[:, None]).float().mean(),
        "distinct_negatives": chosen_C.mean(),
        **spread("d_ap", d_ap_T),
        **spread("d_an", d_an_TM.flatten()),
    }


def spread(name: str, values_T: Tensor) -> dict[str, Tensor]:
    """Mean and quantiles, these with linear interpolation as `torch.quantile`, which is slow where T is large."""
    ordered_T = values_T.sort().values
    named = {f"{name}_mean": values_T.mean()}
    for share in QUANTILES:
        place = share * (len(values_T) - 1)
        below, above = ordered_T[math.floor(place)], ordered_T[math.ceil(place)]
        named[f"{name}_q{share * 100:.0f}"] = below.lerp(above, place - math.floor(place))
    return named
