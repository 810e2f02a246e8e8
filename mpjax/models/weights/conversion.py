"""Converts PyTorch weights of Video Swin to a projector."""

import importlib.metadata
from typing import Any

from etils import epath

from mpjax.io import files


def convert(
    checkpoint: str, out: epath.PathLike, *, lora_alpha: float | None = None, classes: str = ""
) -> str:
    """Converts a checkpoint, and returns lines on what was found in it.

    Args:
        checkpoint: path, or name of public weights that are downloaded.
        out: directory of the projector; new, or empty.
        lora_alpha: of the adapters; None: their rank.
        classes: path of a text file with the names of the head's classes, one per line, if known.

    Raises:
        ValueError: the file is no such checkpoint, or the names are not as many as the classes.
        OSError: the file is absent, or `out` exists already or cannot be written.
    """
    from mpjax.models.swin import checkpoint as swin_files
    from mpjax.models.weights import public, torch_port

    path = public.locate(checkpoint)
    if path.is_dir():
        raise ValueError(
            f"{path}: a directory; give a .pth or .safetensors file. What mpjax.convert wrote "
            "needs no conversion"
        )
    swin_files.check_free(out)
    converted = torch_port.load_checkpoint(path, lora_alpha=lora_alpha)
    names = _read_classes(classes, converted.config.num_classes) if classes else None
    digest = files.sha256(path)
    known = public.recognise(digest)
    provenance = {
        "source": path.name,
        "sha256": digest,
        "bytes": path.stat().length,
        "layout": converted.layout,
        "public_weights": known.name if known else None,
        "merged_lora": converted.lora,
        "mpjax": importlib.metadata.version("mpjax"),
    }
    swin_files.save(out, converted.config, converted.params, provenance=provenance, classes=names)
    lines = _describe(converted, provenance, names)
    lines |= {"projector": str(out), "next": f"--config.projector.weights={out}"}
    return "\n".join(f"{label:<11} {text}" for label, text in lines.items())


def _read_classes(path: epath.PathLike, number: int | None) -> tuple[str, ...]:
    """Reads the names of a head's classes (`number` of them, None: no head), one per line."""
    try:
        lines = epath.Path(path).read_text().splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file of class names ({error})") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if len(names) != number:
        head = f"a head of {number} classes" if number else "no classification head"
        raise ValueError(
            f"{path}: names {len(names)} classes, but the checkpoint has {head}; "
            "give one name per line, in the head's order"
        )
    return names


def _describe(
    converted: Any, provenance: dict[str, Any], names: tuple[str, ...] | None
) -> dict[str, str]:
    """Returns what a checkpoint (a `torch_port.Converted`) holds, by label."""
    import jax

    from mpjax.models.swin import SwinConfig

    config, lora = converted.config, converted.lora
    published = {"Swin-T": SwinConfig.tiny(), "Swin-S": SwinConfig.small()}
    published["Swin-B"] = SwinConfig.base()
    sizes = (config.embed_dim, config.depths, config.num_heads)
    called = [n for n, c in published.items() if (c.embed_dim, c.depths, c.num_heads) == sizes]
    window, patch = ("x".join(map(str, size)) for size in (config.window, config.patch))
    classes = "no head"
    if config.num_classes:
        known = f"{', '.join(names[:3])}, …" if names else "names not known (see --classes)"
        classes = f"{config.num_classes}: {known}"
    adapters = "none"
    if lora:
        adapters = f"{lora.targets}, rank {lora.rank}, alpha {lora.alpha:g}, "
        adapters += f"in stages: {lora.stages}; merged into the weights"
    return {
        "checkpoint": f"{provenance['source']}, {provenance['bytes']:,} bytes, "
        f"layout: {provenance['layout']}",
        "sha256": f"{provenance['sha256'][:16]}…, "
        f"{provenance['public_weights'] or 'not of the public weights known here'}",
        "network": f"{', '.join(called) or 'Video Swin'}: width {config.embed_dim}, "
        f"depths {'-'.join(map(str, config.depths))}, "
        f"heads {'-'.join(map(str, config.num_heads))}, window {window}, patch {patch} (t x h x w)",
        "parameters": f"{sum(leaf.size for leaf in jax.tree.leaves(converted.params)):,}",
        "embedding": f"{config.embedding_dim} numbers",
        "classes": classes,
        "LoRA": adapters,
    }
