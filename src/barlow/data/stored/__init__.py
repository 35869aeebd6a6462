"""Samples as bytes beside a name and perhaps a label, wherever they are stored; a modality decodes them."""
