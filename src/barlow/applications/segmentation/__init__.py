"""Segmentation with few masks: a pretrained encoder, a fresh decoder, all of it fine-tuned, beside honest bars."""
