"""Converts PyTorch weights of Video Swin to a projector of mpjax; PyTorch is not needed.

  python -m mpjax.convert --checkpoint=FILE --out=DIR

FILE is a .pth or .safetensors of torchvision, of Video Swin or of the Universal Action Space, or
the name of public weights (python -m mpjax.weights list). Weights of a 2D Swin (ImageNet) are
inflated to 3D. LoRA adapters in FILE are merged into the weights; their alpha is not in the file:
set it with --lora_alpha, else their rank is used.

DIR serves as mpjax.load_projector("DIR") and --config.projector.weights=DIR. It holds the weights
and projector.json with their provenance. A .pth can be used there without conversion, too:
converting it keeps its provenance, the names of its classes, and an alpha that is not the rank.
"""

from absl import flags

from mpjax import cli


def main() -> None:
    """Converts the weights that the flags name."""
    from mpjax.models.weights import conversion

    given = flags.FLAGS
    alpha, classes = given.lora_alpha, given.classes
    print(conversion.convert(given.checkpoint, given.out, lora_alpha=alpha, classes=classes))


if __name__ == "__main__":
    flags.DEFINE_string("checkpoint", None, "Weights to convert.", required=True)
    flags.DEFINE_string("out", None, "Directory to write the projector to.", required=True)
    flags.DEFINE_float("lora_alpha", None, "Alpha of the LoRA adapters; default: their rank.")
    flags.DEFINE_string("classes", "", "Text file: a class name per line.")
    cli.start_plain(main)
