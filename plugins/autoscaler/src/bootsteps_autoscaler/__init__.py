"""The worker step `Autoscaler`: as many pool children as the work needs, within a range."""

from typing import TYPE_CHECKING

from bootsteps.lazy import lazily
from bootsteps_autoscaler.keys import AUTOSCALER

if TYPE_CHECKING:
    from bootsteps_autoscaler.scaler import Autoscaler

__all__ = ["AUTOSCALER", "Autoscaler"]

__getattr__ = lazily(__name__, {"Autoscaler": "scaler"})
