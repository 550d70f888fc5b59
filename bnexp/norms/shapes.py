"""Shapes of what a normalization works on."""

Shape = tuple[int, ...]
"""An input without its batch: (F,) for features (B, F), (C, H, W) for feature maps (B, C, H, W)."""
