"""What does a recording show besides behaviour: light, cage, animal, timers and captions?"""

from mpjax.data.scene import backgrounds, measure, pixels

__all__ = ["backgrounds", "measure", "pixels"]
