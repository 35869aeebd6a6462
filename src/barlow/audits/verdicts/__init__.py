"""The sentences of an audit: what each figure means, when it warns."""
