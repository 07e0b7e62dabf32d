"""The worker step `Autoscaler`: as many pool children as the work needs, within a range."""

from bootsteps_autoscaler.scaler import AUTOSCALER, Autoscaler

__all__ = ["AUTOSCALER", "Autoscaler"]
