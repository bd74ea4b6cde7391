"""Backbones of timm (Wightman 2019, PyTorch Image Models): convolutional networks and transformers, DINOv2 and CLIP.

Shapes: B images of C × H × W; L places of the last maps with F features each.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from siamese_lab.devices import processes
from siamese_lab.errors import ResourceError, UserError
from siamese_lab.networks.siamese import Backbone, register
from siamese_lab.networks.standardize import Standardize
from siamese_lab.registry import did_you_mean

Pooling = Literal["default", "avg", "max", "gem"]
POOLINGS = ("default", "avg", "max", "gem")
COLORS = (1, 3)
"""Numbers of channels of images that are standardized to three colors."""
SMALLEST = 1e-6
HEAD = "siamese_lab_head"
"""Name of a layer after the model that no rule of timm matches."""
STATISTICS = ("running_mean", "running_var")
"""Ends of the names of the statistics of batch norm."""
RESIZED = ("pos_embed", "rel_pos", "relative_position")
"""Parts of the names of weights that timm adapts to the image size."""


@register("timm")
class TimmBackbone(Backbone):
    """Wraps a model of timm without its classifier.

    Images of one or three channels become three channels, standardized by the mean and deviation of the model's own
    weights. Images with another number of channels stay as they are, and have no pretrained weights.

    Args:
        channels: number of channels of the input images.
        image_size: height and width of the input images. Transformers adapt their position embedding to it.
        model_name: one of `timm.list_models()`.
        pretrained: start from timm's weights, which are downloaded once.
        weights: file with weights of this model (.safetensors, or a state dict in .pth or .bin) to start from, without
            a download. It takes precedence over `pretrained`.
        pooling: "default" is the model's own; "avg" and "max" are over all places; "gem" is the generalized mean
            with a learnt exponent (Radenović et al. 2018, arXiv:1711.02512, eq. 3).
        freeze: True trains only the layers after the backbone. A number N freezes the backbone for the first N steps
            only, which warms up new layers. A frozen backbone is in evaluation mode, so its batch norm keeps its
            statistics.
        freeze_batch_norm: keep statistics, scale and shift of batch norm, as usual for small batches.
        gradient_checkpointing: compute activations again in the backward pass, which saves memory and takes longer.

    Raises:
        UserError: if the model is unknown, does not accept the image size or an option.
        ResourceError: if timm is not installed.
    """

    def __init__(
        self,
        channels: int = 3,
        image_size: int = 224,
        model_name: str = "tf_efficientnet_lite0",
        pretrained: bool = False,
        weights: str | None = None,
        pooling: Pooling = "default",
        freeze: bool | int = False,
        freeze_batch_norm: bool = False,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise UserError(f"pooling must be one of {', '.join(POOLINGS)}, but is {pooling!r}.")
        check_freeze(freeze)
        self.options: dict[str, Any] = {"num_classes": 0, "in_chans": 3 if channels in COLORS else channels}
        self.model_name, self.pretrained, self.weights, self.freeze = model_name, pretrained, weights, freeze
        about = described(model_name)
        if about.fixed_input_size:
            self.options["img_size"] = image_size
        if pooling != "default":
            self.options["global_pool"] = ""  # the model then returns its places
        if (pretrained or weights) and channels not in COLORS:
            raise UserError(
                f"Pretrained weights see images of 1 or 3 channels, but these have {channels}. "
                "Set network.pretrained=false network.weights=null."
            )
        self.standardize = Standardize(channels, about.mean, about.std) if channels in COLORS else nn.Identity()
        self.model = created(model_name, **self.options)
        self.pool = POOLS[pooling]()
        self.features = getattr(self.model, "head_hidden_size", None) or self.model.num_features
        check_patches(self.model, model_name, image_size)
        if gradient_checkpointing:
            use_checkpointing(self.model, model_name)
        if freeze_batch_norm:
            self.model = import_timm().layers.freeze_batch_norm_2d(self.model)
        self.is_frozen = freeze is True or freeze > 0
        if freeze is True:
            self.requires_grad_(False)
        if self.is_frozen:
            self.train(False)

    def load_initial_weights(self) -> None:
        """Load the weights of the file, or timm's own.

        Raises:
            UserError: if the file holds weights of another model.
            ResourceError: if the file does not exist, or the weights cannot be downloaded.
        """
        if self.weights is None and not self.pretrained:
            return
        filled = pretrained_model(self.model_name, self.weights, self.options)
        missing, unexpected = self.model.load_state_dict(filled.state_dict(), strict=False)
        assert not missing and all(name.endswith("num_batches_tracked") for name in unexpected)

    def layer_depths(self) -> dict[str, int]:
        """Return how many layer groups lie between each weight and the embedding layer, by timm's rules.

        The embedding layer takes the place of timm's classifier. A learnt pool belongs to it.
        """
        matcher = getattr(self.model, "group_matcher", None)
        if matcher is None:
            return {}
        with_head = nn.Module()
        for name, weight in self.model.named_parameters(recurse=False):
            with_head.register_parameter(name, weight)
        for name, child in self.model.named_children():
            with_head.add_module(name, child)
        with_head.add_module(HEAD, nn.Linear(1, 1, bias=False))
        groups = import_timm().models.group_parameters(with_head, matcher(coarse=False), reverse=True)
        last = groups.pop(f"{HEAD}.weight")
        return {f"model.{name}": last - number for name, number in groups.items()} | {
            f"pool.{name}": 0 for name, _ in self.pool.named_parameters()
        }

    def before_step(self, step: int) -> None:
        """Freeze the backbone before step N of `freeze`, and train it from there on."""
        frozen = self.freeze is True or step < self.freeze
        if frozen != self.is_frozen:
            self.is_frozen = frozen
            self.train(not frozen)

    def train(self, mode: bool = True) -> "TimmBackbone":
        """Change between training and evaluation; a frozen backbone stays in evaluation."""
        return super().train(mode and not self.is_frozen)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return features (B, `features`)."""
        if not (self.is_frozen and torch.is_grad_enabled()):
            return self.features_of(images_BCHW)
        with torch.no_grad():
            features = self.features_of(images_BCHW)
        if processes.count() == 1:
            return features
        trained_later = (each for each in self.parameters() if each.requires_grad)
        with_zeros: Tensor = WithZeroGradients.apply(features, *trained_later)
        return with_zeros

    def features_of(self, images_BCHW: Tensor) -> Tensor:
        """Return features (B, `features`), with gradients."""
        outputs: Tensor = self.model(self.standardize(images_BCHW))
        features: Tensor = outputs if isinstance(self.pool, nn.Identity) else self.pool(self.places(outputs))
        return features

    def places(self, maps: Tensor) -> Tensor:
        """Return the features of each place (B, L, F), without class and register tokens, in float32."""
        if maps.ndim == 3:
            return maps[:, getattr(self.model, "num_prefix_tokens", 0) :].float()
        channels_last = getattr(self.model, "output_fmt", "NCHW") == "NHWC"
        return (maps if channels_last else maps.movedim(1, -1)).flatten(1, 2).float()


class WithZeroGradients(torch.autograd.Function):
    """Returns features of frozen weights, and gradients of 0 for the weights.

    DistributedDataParallel waits for a gradient of each weight that required one when the run started.
    """

    @staticmethod
    def forward(context: Any, features: Tensor, *weights: Tensor) -> Tensor:
        """Return the features."""
        context.save_for_backward(*weights)
        return features.view_as(features)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return no gradient of the features, and zeros for the weights."""
        return None, *map(torch.zeros_like, context.saved_tensors)


class Average(nn.Module):
    """Averages over places."""

    def forward(self, places_BLF: Tensor) -> Tensor:
        """Return features (B, F)."""
        return places_BLF.mean(1)


class Maximum(nn.Module):
    """Takes the maximum over places."""

    def forward(self, places_BLF: Tensor) -> Tensor:
        """Return features (B, F)."""
        return places_BLF.amax(1)


class GeneralizedMean(nn.Module):
    """Pools by (mean of xᵖ over places)^(1/p) with a learnt p, which begins at 3 (Radenović et al. 2018, §3.2).

    Values below 1e-6 count as 1e-6. p = 1 is the average, and p → ∞ the maximum.
    """

    def __init__(self) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor(3.0))

    def forward(self, places_BLF: Tensor) -> Tensor:
        """Return features (B, F)."""
        return places_BLF.clamp(min=SMALLEST).pow(self.exponent).mean(1).pow(1 / self.exponent)


POOLS: dict[str, type[nn.Module]] = {"default": nn.Identity, "avg": Average, "max": Maximum, "gem": GeneralizedMean}


def check_freeze(freeze: bool | int) -> None:
    """Raise UserError unless `freeze` is true, false or a number of steps."""
    if not isinstance(freeze, int) or freeze < 0:
        raise UserError(
            f"network.freeze must be true, false or a number of steps of at least 0, but is {freeze!r}. A number "
            "freezes the backbone for the first steps only."
        )


def import_timm() -> Any:
    """Return the module timm. Raise ResourceError if it is not installed."""
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ResourceError(
            f"network=timm needs {error.name}, which is not installed: pip install 'siamese_lab[timm]'."
        ) from error
    return timm


def described(model_name: str) -> Any:
    """Return timm's description of a model: mean, deviation and whether its image size is fixed.

    Raises:
        UserError: if the model is unknown.
    """
    timm = import_timm()
    if not isinstance(model_name, str) or not timm.is_model(model_name):
        raise UserError(
            f"timm {timm.__version__} has no model {model_name!r}.{did_you_mean(str(model_name), timm.list_models())} "
            f"`python -c \"import timm; print(*timm.list_models('*resnet*'))\"` lists models."
        )
    try:
        return timm.get_pretrained_cfg(model_name)
    except RuntimeError as error:
        name, _, tag = model_name.partition(".")
        tags = timm.list_pretrained(f"{name}.*")
        raise UserError(
            f"timm {timm.__version__} has no weights {tag!r} of {name}. Set network.model_name to {name}"
            f"{' or one of ' if tags else ''}{', '.join(tags)}."
        ) from error


def created(model_name: str, **options: Any) -> Any:
    """Return a model of timm.

    Raises:
        UserError: if the model refuses an option, such as the image size.
    """
    try:
        return import_timm().create_model(model_name, **options)
    except (AssertionError, TypeError, ValueError) as error:
        given = ", ".join(f"{name}={each}" for name, each in options.items())
        raise UserError(f"timm cannot build {model_name} with {given}: {error}.") from error


def use_checkpointing(model: Any, model_name: str) -> None:
    """Switch gradient checkpointing on. Raise UserError if the model cannot compute activations again."""
    try:
        model.set_grad_checkpointing(True)
    except (AssertionError, AttributeError, NotImplementedError) as error:
        raise UserError(
            f"{model_name} has no gradient checkpointing. Set network.gradient_checkpointing=false."
        ) from error


def check_patches(model: Any, model_name: str, image_size: int) -> None:
    """Raise UserError if a transformer would cut off the border of images, because patches do not divide their side."""
    side, _ = getattr(getattr(model, "patch_embed", None), "patch_size", (1, 1))
    if image_size % side:
        lower = image_size // side * side
        raise UserError(
            f"{model_name} divides images into patches of {side}×{side} pixels, but {image_size} is no multiple of "
            f"{side}. Set data.image_size={lower or side} or {lower + side}."
        )


def pretrained_model(model_name: str, weights: str | None, options: dict[str, Any]) -> Any:
    """Return a model of timm with the weights of a file or with timm's own: see `TimmBackbone.load_initial_weights`."""
    timm = import_timm()
    if weights is None:
        try:
            return timm.create_model(model_name, pretrained=True, **options)
        except Exception as error:  # whatever the download raises; its libraries share no base class
            raise ResourceError(
                f"The pretrained weights of {model_name} could not be loaded ({type(error).__name__}: "
                f"{str(error)[:200]}). Set network.weights=FILE to use a local copy, or network.pretrained=false."
            ) from error
    if not Path(weights).is_file():
        raise ResourceError(f"network.weights={weights} does not exist or is no file.")
    state = stored_weights(weights)
    wrong = f"The weights in {weights} cannot be loaded into {model_name}"
    advice = "Set network.model_name to the model that they belong to."
    try:
        with only_errors("timm"):  # its warning lists each weight of another model
            model = timm.create_model(model_name, pretrained=True, pretrained_cfg_overlay={"file": weights}, **options)
        unknown = not_from(state, model)
    except Exception as error:  # whatever weights of another model raise
        raise UserError(f"{wrong}: {str(error)[:300]}. {advice}") from error
    if unknown:
        raise UserError(f"{wrong}: the file lacks {len(unknown)} of its weight tensors, such as {unknown[0]}. {advice}")
    return model


def stored_weights(file: str) -> dict[str, Tensor]:
    """Return the tensors of a file by name.

    Raises:
        UserError: if the file holds no weights.
    """
    try:
        content = import_timm().models.load_state_dict(file)
        state = {name: each for name, each in content.items() if isinstance(each, Tensor)}
        reason = "" if state else "it holds no tensors"
    except Exception as error:  # whatever reading a wrong file raises
        state, reason = {}, " ".join(f"{type(error).__name__}: {error}".split())[:200]
    if reason:
        raise UserError(
            f"network.weights={file} holds no weights that can be read ({reason}). Use a .safetensors file, or a "
            "file that torch.save(model.state_dict(), FILE) wrote."
        )
    return state


@contextmanager
def only_errors(name: str) -> Iterator[None]:
    """Silence warnings of a logger of the standard library within the block."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def not_from(state: Mapping[str, Tensor], model: nn.Module) -> list[str]:
    """Return the names of the weights, and of the statistics of batch norm, of a model that are not in a file.

    timm leaves missing weights at their initial values. It may rename, reshape and resize weights, so tensors are
    compared by value, without position embeddings.
    """
    of_size: dict[int, list[Tensor]] = {}
    for each in state.values():
        of_size.setdefault(each.numel(), []).append(each)
    statistics = [(name, each) for name, each in model.named_buffers() if name.endswith(STATISTICS)]
    return [
        name
        for name, weight in (*model.named_parameters(), *statistics)
        if weight.ndim
        and not any(part in name for part in RESIZED)
        and not any(
            torch.equal(weight.flatten(), each.to(weight.dtype).flatten()) for each in of_size.get(weight.numel(), [])
        )
    ]
